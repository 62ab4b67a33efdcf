"""An Evidently report over a model's data, posted: `drift.py same` or `drift.py drifted`."""

import sys

import pandas
from evidently import Report
from evidently.presets import DataDriftPreset
from evidently_post import post

reference = pandas.DataFrame({"age": [20 + n % 40 for n in range(400)], "income": [1000.0 + n % 97 for n in range(400)]})
current = reference.copy() if sys.argv[1] == "same" else reference.assign(age=reference["age"] + 30)
snapshot = Report([DataDriftPreset()], include_tests=True).run(current, reference)
print(post(snapshot, report="churn-drift", model="churn"))
