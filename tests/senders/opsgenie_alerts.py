"""Opsgenie's own client, pointed at us: `opsgenie_alerts.py COMMAND` acts on the alert `disk` and prints what it was told."""

import json
import os
import sys

import opsgenie_sdk
from opsgenie_sdk.exceptions import OpenApiException

configuration = opsgenie_sdk.Configuration()
configuration.host = os.environ["WATCHKEEPER_URL"]
configuration.api_key["Authorization"] = "og-key"
configuration.retry_enabled = False
alerts = opsgenie_sdk.AlertApi(opsgenie_sdk.ApiClient(configuration))
of = {"identifier": "disk", "identifier_type": "alias"}


def create():
    return alerts.create_alert(opsgenie_sdk.CreateAlertPayload(
        message="disk full on db1", alias="disk", priority="P2", tags=["db"], details={"host": "db1"}))


def get():
    shown = alerts.get_alert(**of).data
    return f"{shown.alias} {shown.status} {shown.priority} acknowledged={shown.acknowledged} count={shown.count}"


def find(query):
    return " ".join(alert.alias for alert in alerts.list_alerts(query=query).data)


commands = {
    "create": create,
    "acknowledge": lambda: alerts.acknowledge_alert(**of),
    "unacknowledge": lambda: alerts.un_acknowledge_alert(**of),
    "note": lambda: alerts.add_note(add_note_to_alert_payload=opsgenie_sdk.AddNoteToAlertPayload(note="n"), **of),
    "escalate": lambda: alerts.escalate_alert(
        escalate_alert_to_next_payload=opsgenie_sdk.EscalateAlertToNextPayload(
            escalation=opsgenie_sdk.EscalationRecipient(name="all")), **of),
    "raise": lambda: alerts.update_alert_priority(
        update_alert_priority_payload=opsgenie_sdk.UpdateAlertPriorityPayload(priority="P1"), **of),
    "snooze": lambda: alerts.snooze_alert(
        snooze_alert_payload=opsgenie_sdk.SnoozeAlertPayload(end_time="2030-01-01T00:00:00Z"), **of),
    "close": lambda: alerts.close_alert(**of),
    "get": get,
    "open": lambda: find("status:open"),
    "closed": lambda: find("status:closed"),
}
try:
    answer = commands[sys.argv[1]]()
except OpenApiException as refused:
    body = refused.body if isinstance(refused.body, dict) else json.loads(refused.body)
    sys.exit(f"{refused.status} {body['message']}")
if isinstance(answer, str):
    print(answer)
else:
    done = alerts.get_request_status(answer.request_id).data
    print(f"{done.action}: {done.status}, {done.is_success}, {done.alias}")
