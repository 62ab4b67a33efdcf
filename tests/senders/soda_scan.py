"""A scan of Soda Core 3 over orders in DuckDB, posted: `soda_scan.py bad`, `soda_scan.py broken` or `soda_scan.py good`."""

import logging
import sys

import duckdb
from soda.scan import Scan
from soda_post import post_scan

logging.disable(logging.CRITICAL)
amounts = {"bad": "10.0, -3.0", "good": "10.0, 3.0", "broken": "10.0, 3.0"}[sys.argv[1]]
column = "nothing" if sys.argv[1] == "broken" else "amount"
connection = duckdb.connect()
connection.execute(f"create table orders as select unnest([1, 2]) as id, unnest([{amounts}]) as amount")
scan = Scan()
scan.disable_telemetry()
scan.set_scan_definition_name("orders_daily")
scan.set_data_source_name("duckdb")
scan.add_duckdb_connection(connection)
scan.add_sodacl_yaml_str(f"""
checks for orders:
  - row_count:
      warn: when < 5
      fail: when < 1
  - min({column}) >= 0:
      name: amounts are not negative
      attributes:
        priority: high
""")
print("exit", scan.execute(), post_scan(scan))
