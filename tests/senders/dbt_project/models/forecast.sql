select amount * 2 as amount from {{ ref("revenue") }}
{% if var("forecast", "whole") == "of nothing" %}
union all select amount from {{ ref("nowhere") }}
{% endif %}
