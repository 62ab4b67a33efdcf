#!/bin/sh
# A notification command for Nagios and Icinga 2: a problem opens, a recovery resolves. Values come by the environment, never by the
# shell's line, so that no output of a plugin is run.
#
# Icinga 2:
#   object NotificationCommand "watchkeeper" {
#     command = [ "/usr/local/bin/nagios.sh" ]
#     env = { HOSTNAME = "$host.name$", SERVICEDESC = "$service.name$", STATE = "$service.state$",
#             OUTPUT = "$service.output$", LASTCHANGE = "$service.last_state_change$" }
#   }
# WATCHKEEPER_URL (default http://127.0.0.1:9095), WATCHKEEPER_TOKEN.
: "${WATCHKEEPER_URL:=http://127.0.0.1:9095}" "${WATCHKEEPER_TOKEN:=}"
python3 - <<'PY' | curl --silent --show-error --fail-with-body --output /dev/null --max-time 10 --retry 4 --retry-all-errors \
    --header "Authorization: Bearer $WATCHKEEPER_TOKEN" --header "Content-Type: application/json" \
    --data-binary @- "$WATCHKEEPER_URL/hooks/check" || echo "watchkeeper: the notification was not delivered" >&2
import json
import os

said = os.environ.get
host, service, state = said("HOSTNAME", ""), said("SERVICEDESC", ""), said("STATE", "UNKNOWN")
statuses = {"OK": "pass", "UP": "pass", "WARNING": "warn", "CRITICAL": "fail", "DOWN": "fail", "UNREACHABLE": "fail"}
print(json.dumps({
    "version": "1", "source": "nagios", "run": {"finished_at_epoch": float(said("LASTCHANGE") or 0) or None},
    "checks": [{
        "check_id": service or "host", "status": statuses.get(state, "error"), "message": said("OUTPUT"),
        "subject": {"kind": "host", "name": host, "part": service or None}, "labels": {"state": state},
    }],
}))
PY
