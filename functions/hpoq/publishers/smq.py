"""Events on a topic of SMQ."""

from __future__ import annotations

import json
from collections.abc import Mapping

from fcruntime.jsonvalue import JsonValue
from hpoq.cloud.smq import Smq


class SmqTopicPublisher:
    """Publishes each event as compact ASCII JSON, plain: any subscription format hands it over readable."""

    def __init__(self, smq: Smq, topic: str) -> None:
        self._smq = smq
        self._topic = topic

    def publish(self, event: Mapping[str, JsonValue], *, give_up_at: float | None = None) -> None:
        """Publish `event`; raises CallError, Invalid if it is larger than a message may be."""
        body = json.dumps(event, separators=(",", ":"), allow_nan=False)
        self._smq.publish_message(self._topic, body, give_up_at=give_up_at)
