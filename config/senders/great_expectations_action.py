"""An action for a checkpoint of Great Expectations 1.x. Copy it and watchkeeper.py beside the job.

    Checkpoint(name="orders", validation_definitions=[...], actions=[WatchkeeperAction(name="watchkeeper")])

Every result is posted, also those that passed: what passes resolves what failed before. Whatever happens to the post, the
checkpoint goes on.
"""

from typing import Literal

from great_expectations.checkpoint.actions import ValidationAction

import watchkeeper


class WatchkeeperAction(ValidationAction):
    type: Literal["watchkeeper"] = "watchkeeper"
    # The source's name at Watchkeeper.
    hook: str = "great_expectations"

    def run(self, checkpoint_result, action_context=None) -> dict:
        answer = watchkeeper.post(self.hook, body_of(checkpoint_result))
        return {"watchkeeper": answer}


def body_of(result) -> dict:
    """A checkpoint's result as JSON: it has no such form of its own that keeps severities and batches."""
    run = result.run_id
    return {
        "checkpoint": result.name,
        "success": result.success,
        "run_id": {"run_name": run.run_name, "run_time": run.run_time.isoformat()},
        "validation_results": [
            {"validation_result_id": list(identity.to_tuple()), **validation.to_json_dict()}
            for identity, validation in result.run_results.items()
        ],
    }
