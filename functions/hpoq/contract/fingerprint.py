"""Whether two requests under one key are the same request."""

from __future__ import annotations

import hashlib
import json
from typing import TYPE_CHECKING

from fcruntime.jsonvalue import JsonValue

if TYPE_CHECKING:
    from hpoq.contract.request import ExperimentRequest


def fingerprint(request: ExperimentRequest) -> str:
    """SHA-256, in hexadecimal, of the canonical JSON of the experiment alone.

    Canonical: names sorted, no white space, UTF-8 escaped to ASCII, numbers by value, so that 1 and 1.0 are
    the same. Key, trace and schema version do not count: they are of the message, not of the experiment.
    """
    text = json.dumps(_by_value(request.experiment.wire()), sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(text.encode()).hexdigest()


def _by_value(value: JsonValue) -> JsonValue:
    if isinstance(value, float) and value.is_integer():
        return int(value)
    if isinstance(value, list):
        return [_by_value(item) for item in value]
    if isinstance(value, dict):
        return {name: _by_value(member) for name, member in value.items()}
    return value
