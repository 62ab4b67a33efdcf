"""PagerDuty's own client, pointed at us: `pagerduty_events.py trigger|acknowledge|resolve` of the key `disk`."""

import os
import sys

import pdpyras

events = pdpyras.EventsAPISession("pd-key")
events.url = os.environ["WATCHKEEPER_URL"]
if sys.argv[1] == "trigger":
    print(events.trigger("disk full on db1", "db1", dedup_key="disk", severity="error", custom_details={"free": "1 %"}))
else:
    print(getattr(events, sys.argv[1])("disk"))
