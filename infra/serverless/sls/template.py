#!/usr/bin/env python3
"""Write template.json: log, index, dashboard and alerts as resources of Resource Orchestration Service.

`release.py` runs this before it deploys the log.

The index and the dashboard come from JSON files in this folder, which have the form of Simple Log Service's own API;
alerts.json has what differs between the alerts.
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


def read(name: str) -> Json:
    """Return the content of a file, with the name of the log filled in."""
    text = (HERE / name).read_text(encoding="utf-8")
    text = text.replace("${logstore}", LOGSTORE)
    return cast("Json", json.loads(text))


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


def alert(described: Mapping[str, Json]) -> Json:
    """Return an alert: what `described` says, and what all alerts have in common, as log.tf does for Terraform."""
    condition = {"Condition": described["condition"], "CountCondition": ""}
    return {
        "Name": described["name"],
        "DisplayName": described["title"],
        "Description": described["description"],
        "Schedule": {"Type": "FixedRate", "Interval": "5m", "Delay": 30, "RunImmediately": True},
        "Configuration": {
            "Version": "2.0",
            "Type": "default",
            "Dashboard": "hpoq",
            "QueryList": [
                {
                    "StoreType": "log",
                    "Region": {"Ref": "ALIYUN::Region"},
                    "Project": {"Ref": "Project"},
                    "Store": LOGSTORE,
                    "Query": described["query"],
                    "TimeSpanType": "Relative",
                    "Start": described["start"],
                    "End": "now",
                    "PowerSqlMode": "disable",
                }
            ],
            "GroupConfiguration": {"Type": "no_group", "Fields": []},
            "JoinConfigurations": [],
            "SeverityConfigurations": [{"Severity": described["severity"], "EvalCondition": condition}],
            "Labels": [{"Key": "function", "Value": {"Fn::Sub": "hpoq${Suffix}"}}],
            "Annotations": [
                {"Key": "title", "Value": described["title"]},
                {"Key": "desc", "Value": described["description"]},
            ],
            "AutoAnnotation": True,
            "SendResolved": True,
            "Threshold": 1,
            "NoDataFire": False,
            "NoDataSeverity": 6,
            "PolicyConfiguration": {
                "AlertPolicyId": "sls.builtin.dynamic",
                "ActionPolicyId": {"Ref": "ActionPolicy"},
                "RepeatInterval": "1h",
            },
        },
    }


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
    for described in cast("list[dict[str, Json]]", read("alerts.json")):
        name = "".join(part.capitalize() for part in str(described["name"]).split("-"))
        properties: Json = {"Project": {"Ref": "Project"}, "Detail": alert(described)}
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


def main() -> None:
    (HERE / "template.json").write_text(json.dumps(template(), indent=2) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
