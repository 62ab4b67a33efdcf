"""A DAG of Airflow with our callbacks, for `airflow dags test nightly`; ORDERS is bad or good."""

import os
from datetime import datetime, timezone

from airflow.sdk import DAG, task
from airflow_callbacks import failed, succeeded

amounts = {"bad": [10, -3], "good": [10, 3]}[os.environ["ORDERS"]]

with DAG("nightly", schedule=None, start_date=datetime(2026, 1, 1, tzinfo=timezone.utc),
         default_args={"on_failure_callback": failed, "on_success_callback": succeeded}):

    @task
    def extract():
        return amounts

    @task
    def load(amount):
        if amount < 0:
            raise ValueError("a negative amount")

    load.expand(amount=extract())
