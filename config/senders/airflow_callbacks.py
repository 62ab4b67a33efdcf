"""Callbacks for Airflow 2 and 3. Copy it and watchkeeper.py into the folder of the DAGs.

    DAG(..., default_args={"on_failure_callback": failed, "on_success_callback": succeeded})

A task that fails opens, the same task that succeeds later resolves. A task that will be tried again has not failed yet: that is
`on_retry_callback`, which is left alone.
"""

import watchkeeper


def failed(context):
    _post(context, "fail")


def succeeded(context):
    _post(context, "pass")


def _post(context, status):
    task = context["ti"]
    mapped = getattr(task, "map_index", -1)
    part = task.task_id if mapped is None or mapped < 0 else f"{task.task_id}[{mapped}]"
    why = context.get("exception")
    result = watchkeeper.check(f"{task.dag_id}.{part}", status, pipeline=task.dag_id, part=part,
                               message=repr(why)[:2000] if why else None)
    ended = getattr(task, "end_date", None)
    watchkeeper.report("airflow", [result], run_id=task.run_id, run_url=getattr(task, "log_url", None),
                       attempt=task.try_number, finished_at=ended.isoformat() if ended else None)
