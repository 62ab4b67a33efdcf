{{ config(materialized="table") }}
select order_id, status, amount from {{ ref("raw_orders") }}
{% if var("amounts", "good") == "bad" %}
union all select 2, 'lost', -5
{% endif %}
