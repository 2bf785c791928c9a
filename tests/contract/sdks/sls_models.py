"""Reads the files for Simple Log Service as the vendor's SDK does; prints what it does not know of them."""

import json
import sys
from pathlib import Path

from alibabacloud_sls20201230 import models

KINDS = {"index": models.Index, "dashboard": models.Dashboard}


def unknown(given, kept, place):
    if isinstance(given, dict):
        for name, value in given.items():
            yield from unknown(value, kept.get(name) if isinstance(kept, dict) else None, f"{place}/{name}")
    elif isinstance(given, list):
        for index, value in enumerate(given):
            inner = kept[index] if isinstance(kept, list) and index < len(kept) else None
            yield from unknown(value, inner, f"{place}/{index}")
    elif given != kept:
        yield place


folder = Path(sys.argv[1])
documents = [(name, kind, json.loads((folder / f"{name}.json").read_text())) for name, kind in KINDS.items()]
documents += [
    (alert["name"], models.CreateAlertRequest, alert)
    for alert in json.loads((folder / "alerts.json").read_text())
]
found = []
for name, kind, document in documents:
    model = kind().from_map(document)
    model.validate()
    found += unknown(document, model.to_map(), name)
sys.stdout.write(json.dumps(found))
