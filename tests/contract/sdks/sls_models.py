"""Reads the files for Simple Log Service as the vendor's SDK does; prints what it does not know of them."""

import json
import runpy
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


def of_api(value):
    """Return a part of the ROS template as the service's API takes it, with any text for a reference."""
    if isinstance(value, list):
        return [of_api(one) for one in value]
    if not isinstance(value, dict):
        return value
    if value.keys() <= {"Ref", "Fn::Sub"}:
        return "text"
    return {name[0].lower() + name[1:]: of_api(one) for name, one in value.items()}


folder = Path(sys.argv[1])
documents = [(name, kind, json.loads((folder / f"{name}.json").read_text())) for name, kind in KINDS.items()]
documents += [
    (name, models.CreateAlertRequest, of_api(one["Properties"]["Detail"]))
    for name, one in runpy.run_path(str(folder / "template.py"))["template"]()["Resources"].items()
    if one["Type"] == "ALIYUN::SLS::Alert"
]
found = []
for name, kind, document in documents:
    model = kind().from_map(document)
    model.validate()
    found += unknown(document, model.to_map(), name)
sys.stdout.write(json.dumps(found))
