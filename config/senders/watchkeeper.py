"""Posts to Watchkeeper from any Python job: the standard library is enough. Copy it beside the job.

    from watchkeeper import check, report
    report("nightly-load", [check("rows_today", "fail", message="0 rows", dataset="orders")], run_id="2026-03-02")

Where to and as whom is said by the environment: WATCHKEEPER_URL (default http://127.0.0.1:9095), WATCHKEEPER_TOKEN.
A report that cannot be delivered is said on standard error and fails no job: `report` and `post` then return None.
"""

import json
import math
import os
import random
import sys
import time
import urllib.error
import urllib.request
from datetime import datetime, timezone

TIMEOUT_SECONDS = 10
ATTEMPTS = 5
LONGEST_WAIT_SECONDS = 30.0
STATUSES = ("pass", "warn", "fail", "error", "skip")


def strict(value):
    """The value as JSON allows it: what is not finite, and what json does not know, becomes a text."""
    if isinstance(value, dict):
        return {str(key): strict(item) for key, item in value.items()}
    if isinstance(value, (list, tuple, set)):
        return [strict(item) for item in value]
    if hasattr(value, "item") and not isinstance(value, (str, bytes)):
        value = value.item()  # a number of numpy
    if isinstance(value, float) and not math.isfinite(value):
        return str(value)
    return value if isinstance(value, (str, int, float, bool, type(None))) else str(value)


def check(check_id, status, *, dataset=None, model=None, pipeline=None, part=None, message=None, severity=None,
          observed=None, expected=None, owner=None, labels=None, version=None, name=None):
    """One result. `check_id` and what was looked at are its identity: no values, no dates, no random ids in them. Where people would
    not know it by that, `name` says what it is."""
    if status not in STATUSES:
        raise ValueError(f"a status of {', '.join(STATUSES)} is wanted, found {status!r}")
    subjects = {"dataset": dataset, "model": model, "pipeline": pipeline}
    kind, subject = next(((kind, subject) for kind, subject in subjects.items() if subject), ("other", None))
    if name and subject:
        labels = {"title": f"{name}: {subject}", **(labels or {})}
    return {"check_id": check_id, "check_name": name, "status": status, "message": message, "severity": severity, "owner": owner,
            "subject": {"kind": kind, "name": subject, "part": part, "version": version},
            "observed": observed, "expected": expected, "labels": labels or {}}


def report(source, checks, *, run_id=None, run_url=None, attempt=None, finished_at=None, owner=None, labels=None,
           complete_for=None, hook="check"):
    """Posts the results of one run of `source`.

    The same `run_id` posted again is counted once. `complete_for` names what the report is complete for: checks that were in
    the last such report and are not in this one are no longer heard of, which is not the same as passed.
    """
    run = {"id": run_id, "url": run_url, "attempt": attempt,
           "finished_at": finished_at or datetime.now(timezone.utc).isoformat()}
    return post(hook, {"version": "1", "source": source, "run": run, "owner": owner, "labels": labels or {},
                       "scope": complete_for, "checks": checks})


def post(hook, body, *, query=""):
    """Posts a body to a source of Watchkeeper's by its name. What it answered, or None."""
    base = os.environ.get("WATCHKEEPER_URL", "http://127.0.0.1:9095").rstrip("/")
    data = json.dumps(strict(body), allow_nan=False).encode()
    headers = {"Content-Type": "application/json", "User-Agent": "watchkeeper-sender"}
    if token := os.environ.get("WATCHKEEPER_TOKEN"):
        headers["Authorization"] = f"Bearer {token}"
    request = urllib.request.Request(f"{base}/hooks/{hook}{query}", data, headers)
    why = ""
    for attempt in range(ATTEMPTS):
        if attempt:
            time.sleep(wait)
        wait = min(2.0**attempt, LONGEST_WAIT_SECONDS) * random.uniform(0.8, 1.2)
        try:
            with urllib.request.urlopen(request, timeout=TIMEOUT_SECONDS) as answer:
                return json.loads(answer.read() or b"{}")
        except urllib.error.HTTPError as error:
            why = f"HTTP {error.code}: {error.read(2000).decode(errors='replace')}"
            if error.code not in (408, 429) and error.code < 500:
                break  # It would be refused again.
            try:
                wait = min(float(error.headers.get("Retry-After", "")), LONGEST_WAIT_SECONDS)
            except ValueError:
                pass
        except OSError as error:
            why = str(error)
        except ValueError as error:
            why = f"the answer is no JSON: {error}"
            break
    print(f"watchkeeper: the report was not delivered: {why}", file=sys.stderr)
    return None
