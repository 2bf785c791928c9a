#!/usr/bin/env python3
"""Write template.json: log, index, dashboard and alerts as resources of Resource Orchestration Service.

The index, the dashboard and the alerts come from the JSON files in this folder, which have the form of Simple Log
Service's own API. ROS takes the same members under other names.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import TypeAlias, cast

Json: TypeAlias = "str | int | float | bool | list[Json] | dict[str, Json] | None"

HERE = Path(__file__).resolve().parent
LOGSTORE = "hpoq"
RETENTION_DAYS = 30
LINE = 118
_VALUES: dict[str, Json] = {
    "${project}": {"Ref": "Project"},
    "${region}": {"Ref": "ALIYUN::Region"},
    "${action_policy}": {"Ref": "ActionPolicy"},
    "${function}": {"Fn::Sub": "hpoq${Suffix}"},
}


def read(name: str) -> Json:
    """Return the content of a file, with the name of the log filled in."""
    text = (HERE / name).read_text(encoding="utf-8")
    text = text.replace("${logstore}", LOGSTORE)
    return cast("Json", json.loads(text))


def as_ros(value: Json) -> Json:
    """Return `value` with the member names of ROS, and with references to the parameters of the stack."""
    if isinstance(value, dict):
        return {_capital(name): as_ros(one) for name, one in value.items()}
    if isinstance(value, list):
        return [as_ros(one) for one in value]
    return _VALUES.get(value, value) if isinstance(value, str) else value


def _capital(name: str) -> str:
    return name[0].upper() + name[1:]


def index() -> Json:
    document = cast("dict[str, dict[str, Json]]", read("index.json"))
    keys = cast("dict[str, dict[str, Json]]", document["keys"])
    return {
        "ProjectName": {"Ref": "Project"},
        "LogstoreName": LOGSTORE,
        "FullTextIndex": {"Enable": True, **_text(document["line"])},
        "KeyIndices": [
            {
                "Name": name,
                "Type": key["type"],
                "EnableAnalytics": key["doc_value"],
                **_text(key),
                "JsonKeyIndices": [
                    {"Name": inner, "Type": field["type"], "EnableAnalytics": field["doc_value"]}
                    for inner, field in cast("dict[str, dict[str, Json]]", key["json_keys"]).items()
                ],
            }
            for name, key in keys.items()
        ],
    }


def _text(described: Mapping[str, Json]) -> dict[str, Json]:
    return {
        "CaseSensitive": described["caseSensitive"],
        "IncludeChinese": described["chn"],
        "Delimiter": "".join(cast("list[str]", described["token"])),
    }


def dashboard() -> Json:
    document = cast("dict[str, Json]", read("dashboard.json"))
    names = ("dashboardName", "displayName", "description", "charts")
    # ROS passes charts on unchanged.
    properties = {_capital(name): document[name] for name in names}
    return {"ProjectName": {"Ref": "Project"}, **properties}


def template() -> dict[str, Json]:
    """Return the whole template."""
    resources: dict[str, Json] = {
        "Project": _resource("Project", {"Name": {"Ref": "ProjectName"}, "Description": "Log of hpoq"}),
        "Logstore": _resource(
            "Logstore",
            {"ProjectName": {"Ref": "Project"}, "LogstoreName": LOGSTORE, "TTL": RETENTION_DAYS},
            after="Project",
        ),
        "Index": _resource("Index", index(), after="Logstore"),
        "Dashboard": _resource("Dashboard", dashboard(), after="Index"),
    }
    for alert in cast("list[dict[str, Json]]", read("alerts.json")):
        name = "".join(part.capitalize() for part in str(alert["name"]).split("-"))
        properties: Json = {"Project": {"Ref": "Project"}, "Detail": as_ros(alert)}
        resources[name] = _resource("Alert", properties, after="Dashboard")
    return {
        "ROSTemplateFormatVersion": "2015-09-01",
        "Description": "The log of the function hpoq, with its index, dashboard and alerts. Written by template.py.",
        "Parameters": {
            "ProjectName": {
                "Type": "String",
                "Description": "Name of the log project to create; unique in all of Alibaba Cloud.",
            },
            "ActionPolicy": {"Type": "String", "Description": "The action policy that sends alerts."},
            "Suffix": {
                "Type": "String",
                "Default": "",
                "Description": "The end of every name, so that one account can have several deployments.",
            },
        },
        "Resources": resources,
    }


def _resource(kind: str, properties: Json, after: str | None = None) -> Json:
    depends: dict[str, Json] = {} if after is None else {"DependsOn": after}
    return {"Type": f"ALIYUN::SLS::{kind}", **depends, "Properties": properties}


def dump(value: Json, indent: str = "", before: int = 0) -> str:
    """Return `value` as JSON, in which a list or object has one line if that fits behind `before` characters."""
    line = json.dumps(value)
    if not isinstance(value, (list, dict)) or before + len(line) <= LINE:
        return line
    inner = f"{indent}  "
    if isinstance(value, dict):
        items = [(f"{inner}{json.dumps(name)}: ", one) for name, one in value.items()]
    else:
        items = [(inner, one) for one in value]
    rows = ",\n".join(head + dump(one, inner, len(head)) for head, one in items)
    return f"{line[0]}\n{rows}\n{indent}{line[-1]}"


def main() -> None:
    (HERE / "template.json").write_text(dump(template()) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
