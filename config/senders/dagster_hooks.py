"""Hooks and asset checks of Dagster. Copy it and watchkeeper.py beside the definitions.

    @job(hooks={watchkeeper_failure, watchkeeper_success})
    post_asset_checks(materialize([...], raise_on_error=False))
"""

import dagster

import watchkeeper


@dagster.failure_hook
def watchkeeper_failure(context: dagster.HookContext):
    _post_op(context, "fail", repr(context.op_exception)[:2000])


@dagster.success_hook
def watchkeeper_success(context: dagster.HookContext):
    _post_op(context, "pass", None)


def _post_op(context, status, message):
    result = watchkeeper.check(f"{context.job_name}.{context.op.name}", status, pipeline=context.job_name,
                               part=context.op.name, message=message)
    watchkeeper.report("dagster", [result], run_id=context.run_id)


def post_asset_checks(result, *, owner=None):
    """The asset checks of a run: one that did not pass warns or fails by its own severity."""
    checks = []
    for found in result.get_asset_check_evaluations():
        asset = found.asset_key.to_user_string()
        warns = found.severity == dagster.AssetCheckSeverity.WARN
        status = "pass" if found.passed else "warn" if warns else "fail"
        checks.append(watchkeeper.check(f"{asset}.{found.check_name}", status, dataset=asset, severity=found.severity.value,
                                        message=found.description))
    return watchkeeper.report("dagster", checks, run_id=result.run_id, owner=owner)
