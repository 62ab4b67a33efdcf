"""Posts the metrics of a model against their thresholds, as MLflow's evaluate gives them. Copy it and watchkeeper.py beside the job.

    result = mlflow.evaluate(...)
    post("churn", result.metrics, {"accuracy_score": (">=", 0.9), "log_loss": ("<=", 0.4)}, version="7", run_id=run.info.run_id)

A metric that is missing or no number is an error of its own: the check could not be made.
"""

import operator

import watchkeeper

HOLDS = {">=": operator.ge, ">": operator.gt, "<=": operator.le, "<": operator.lt}


def post(model, metrics, thresholds, *, version=None, run_id=None, owner=None):
    checks = []
    for name, (than, limit) in thresholds.items():
        try:
            value = float(metrics[name])
        except (KeyError, TypeError, ValueError):
            status, message = "error", f"{name}: a number is wanted, found {metrics.get(name)!r}"
            value = None
        else:
            # What is not a number holds for nothing.
            status = "pass" if HOLDS[than](value, limit) else "fail"
            message = f"{name} is {value}, wanted {than} {limit}"
        checks.append(watchkeeper.check(name, status, model=model, version=version, message=message, observed=value,
                                        expected=f"{than} {limit}"))
    return watchkeeper.report("mlflow", checks, run_id=run_id, owner=owner, complete_for=model)
