"""The minimal request, and requests made from it."""

import json
from pathlib import Path

REQUEST_FILE = Path(__file__).parents[2] / "events" / "requests" / "minimal.json"
REQUEST = REQUEST_FILE.read_text()


def make_document(key=None, **members):
    """Return a new request document with the producer's key `key`, if any.

    `members` replace those of its experiment.
    """
    document = json.loads(REQUEST)
    document["experiment"].update(members)
    return document if key is None else {**document, "idempotencyKey": key}


def request(key=None, **members):
    """Return the request that `make_document` makes as text."""
    return json.dumps(make_document(key, **members))
