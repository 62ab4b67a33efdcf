"""A checkpoint of Great Expectations over orders, by our action: `checkpoint.py good` or `checkpoint.py bad`."""

import sys

import great_expectations as gx
import great_expectations.expectations as gxe
import pandas
from great_expectations_action import WatchkeeperAction

amounts = {"good": [10.0, 3.5, 12.0], "bad": [10.0, -3.5, 12.0]}[sys.argv[1]]
context = gx.get_context(mode="ephemeral")
context.variables.progress_bars = {"globally": False}
asset = context.data_sources.add_pandas("warehouse").add_dataframe_asset("orders")
batch = asset.add_batch_definition_whole_dataframe("daily")
suite = context.suites.add(gx.ExpectationSuite(name="orders", expectations=[
    gxe.ExpectColumnValuesToBeBetween(column="amount", min_value=0, max_value=1000, severity="warning"),
    gxe.ExpectColumnValuesToNotBeNull(column="amount", meta={"owner": "team-data"}),
    # Of a column that is there only where all is well, so that the check itself cannot be made where it is not.
    gxe.ExpectColumnValuesToBeUnique(column="order_id" if sys.argv[1] == "good" else "order_nr"),
]))
validation = context.validation_definitions.add(gx.ValidationDefinition(name="orders", data=batch, suite=suite))
checkpoint = context.checkpoints.add(gx.Checkpoint(
    name="orders", validation_definitions=[validation], actions=[WatchkeeperAction(name="watchkeeper")],
    result_format="COMPLETE"))
result = checkpoint.run(batch_parameters={"dataframe": pandas.DataFrame({"order_id": [1, 2, 3], "amount": amounts})})
print("success", result.success)
