"""A contract of Soda Core 4 over orders in DuckDB, posted: `soda_contract.py bad`, `soda_contract.py broken` or
`soda_contract.py good`. Its files are made where it runs."""

import sys

import duckdb
from soda_core.contracts import verify_contract_locally
from soda_post import post_contract

amounts = "10.0, 3.0" if sys.argv[1] == "good" else "10.0, -3.0"
least = 0 if sys.argv[1] == "good" else 5
database = "nowhere/shop.duckdb" if sys.argv[1] == "broken" else "shop.duckdb"
with duckdb.connect("shop.duckdb") as connection:
    connection.execute(f"create or replace table orders as select unnest([1, 2]) as id, unnest([{amounts}]) as amount")
with open("source.yml", "w") as file:
    file.write(f"type: duckdb\nname: shop\nconnection:\n  database: {database}\n")
with open("orders.yml", "w") as file:
    file.write(f"""
dataset: shop/main/orders
columns:
  - name: id
    checks:
      - duplicate:
      - missing:
  - name: amount
    valid_min: 0
    checks:
      - invalid:
checks:
  - row_count:
      threshold:
        must_be_greater_than: {least}
      attributes:
        priority: high
        owner: team-data
""")
print(post_contract(verify_contract_locally(data_source_file_path="source.yml", contract_file_path="orders.yml")))
