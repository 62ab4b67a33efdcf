"""A registry of MLflow that tells us: `mlflow_registry.py hook URL SECRET`, `mlflow_registry.py tag VERSION VALUE`."""

import sys

from mlflow import MlflowClient
from mlflow.entities.webhook import WebhookEvent

client = MlflowClient()
if sys.argv[1] == "hook":
    events = [WebhookEvent.from_str(name) for name in
              ("registered_model.created", "model_version.created", "model_version_tag.set", "model_version_tag.deleted")]
    hook = client.create_webhook("watchkeeper", sys.argv[2], events, secret=sys.argv[3])
    tried = client.test_webhook(hook.webhook_id, WebhookEvent.from_str("model_version_tag.set"))
    print(tried.success, tried.response_status)
    if not tried.success:
        client.delete_webhook(hook.webhook_id)
elif sys.argv[1] == "model":
    client.create_registered_model("churn")
    print(client.create_model_version("churn", "s3://models/churn").version)
elif sys.argv[1] == "tag":
    client.set_model_version_tag("churn", sys.argv[2], "validation_status", sys.argv[3])
