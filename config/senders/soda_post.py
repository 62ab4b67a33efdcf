"""Posts a scan of Soda Core 3, or a contract of Soda Core 4. Copy it and watchkeeper.py beside the job.

    scan.execute(); post_scan(scan)                       # 3.x: also a scan that ended in an error, without any check
    post_contract(verify_contract_locally(...))           # 4.x
"""

import json

import watchkeeper

OUTCOMES = {"PASSED": "pass", "FAILED": "fail", "WARN": "warn", "NOT_EVALUATED": "error", "EXCLUDED": "skip"}


def post_scan(scan, *, hook="soda"):
    return watchkeeper.post(hook, json.loads(json.dumps(scan.get_scan_results(), default=str)))


def post_contract(session, *, owner=None):
    answers = []
    for result in session.contract_verification_results:
        dataset = result.check_collection.soda_qualified_dataset_name
        checks = [_contract_check(found, dataset, result.has_errors) for found in result.check_results]
        # That it could be verified is a check of its own, which the next one that can be resolves.
        verified = bool(checks) and not result.has_errors
        checks.append(watchkeeper.check(
            "contract", "pass" if verified else "error", dataset=dataset,
            message=None if verified else "it had errors, and checks without a result say nothing"))
        answers.append(watchkeeper.report(
            "soda", checks, run_id=f"{dataset}@{result.started_timestamp.isoformat()}",
            finished_at=result.ended_timestamp.isoformat(), owner=owner, complete_for=dataset if verified else None))
    return answers


def _contract_check(found, dataset, had_errors):
    check = found.check
    attributes = {str(name): str(value) for name, value in (check.attributes or {}).items()}
    status = OUTCOMES[found.outcome.name]
    if status == "error" and had_errors:
        status = "skip"  # The contract itself is the error; one for each of its checks would say no more.
    # Its identity is a hash: people know it by its name.
    return watchkeeper.check(
        check.identity, status, dataset=dataset, part=check.column_name, name=check.name, observed=found.threshold_value,
        expected=", ".join(str(check.threshold).split("\n")) if check.threshold else None,
        severity=attributes.get("severity") or attributes.get("priority"), owner=attributes.get("owner"), labels=attributes)
