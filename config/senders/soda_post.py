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
        checks = []
        for found in result.check_results:
            checks.append(watchkeeper.check(
                found.check.identity, OUTCOMES[found.outcome.name], dataset=dataset, part=found.check.column_name,
                message=found.check.name, observed=found.threshold_value,
                expected=str(found.check.threshold) if found.check.threshold else None))
        if not checks:
            checks.append(watchkeeper.check("contract", "error", dataset=dataset, message="nothing of it was verified"))
        answers.append(watchkeeper.report(
            "soda", checks, run_id=f"{dataset}@{result.started_timestamp.isoformat()}",
            finished_at=result.ended_timestamp.isoformat(), owner=owner, complete_for=dataset))
    return answers
