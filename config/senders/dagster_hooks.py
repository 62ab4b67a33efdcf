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
    result = _step(context.job_name, context.op.name, status, message)
    watchkeeper.report("dagster", [result], run_id=context.run_id)


def _step(job, step, status, message=None):
    return watchkeeper.check(f"{job}.{step}", status, pipeline=job, part=step, message=message)


def post_asset_checks(result, *, owner=None):
    """The asset checks of a run: one that did not pass warns or fails by its own severity.

    So do its steps: where an asset was not made, or a check raised, there is no evaluation that would tell.
    """
    checks = []
    for found in result.get_asset_check_evaluations():
        asset = found.asset_key.to_user_string()
        warns = found.severity == dagster.AssetCheckSeverity.WARN
        status = "pass" if found.passed else "warn" if warns else "fail"
        checks.append(watchkeeper.check(f"{asset}.{found.check_name}", status, dataset=asset, severity=found.severity.value,
                                        message=found.description))
    for event in result.all_events:
        if event.is_step_success:
            checks.append(_step(result.job_def.name, event.step_key, "pass"))
        elif event.is_step_failure:
            error = event.step_failure_data.error
            message = (error.cause or error).message.strip() if error else None
            checks.append(_step(result.job_def.name, event.step_key, "fail", message and message[:2000]))
    return watchkeeper.report("dagster", checks, run_id=result.run_id, owner=owner)
