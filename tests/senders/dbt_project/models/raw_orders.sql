{{ config(materialized="table") }}
{% set loaded = "now()" if var("loaded", "now") == "now" else "timestamp '2020-01-01'" %}
select *, cast({{ loaded }} as timestamp) as loaded_at
from (values (1, 'paid', 10), (2, 'open', 20)) as t (order_id, status, amount)
