select sum({{ "no_such_column" if var("revenue", "whole") == "broken" else "amount" }}) as amount from {{ ref("raw_orders") }}
