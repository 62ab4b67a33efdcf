"""A job of Dagster with our hooks, and checks of its assets: `dagster_job.py bad`, `dagster_job.py broken` or
`dagster_job.py good`."""

import sys

import dagster
from dagster_hooks import post_asset_checks, watchkeeper_failure, watchkeeper_success

good = sys.argv[1] == "good"


@dagster.op
def extract():
    return [10, 3 if good else -3]


@dagster.op
def load(amounts):
    if min(amounts) < 0:
        raise ValueError("a negative amount")


@dagster.job(hooks={watchkeeper_failure, watchkeeper_success})
def nightly():
    load(extract())


@dagster.asset
def orders():
    return 1


@dagster.asset_check(asset=orders)
def not_negative():
    found = None if good else "1 negative row"
    return dagster.AssetCheckResult(passed=good, severity=dagster.AssetCheckSeverity.WARN, description=found)


@dagster.asset_check(asset=orders)
def not_empty():
    if sys.argv[1] == "broken":
        raise KeyError("rows")
    return dagster.AssetCheckResult(passed=good, metadata={"rows": 0})


print(nightly.execute_in_process(raise_on_error=False).success)
print(post_asset_checks(dagster.materialize([orders, not_negative, not_empty], raise_on_error=False)))
