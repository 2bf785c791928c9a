"""Experiments and errors as they are on the wire.

Forms: https://www.alibabacloud.com/help/en/pai/developer-reference/api-paiautoml-2022-08-28-gethpoexperiment;
List and Get write times differently there, and so it is here.
"""

from __future__ import annotations

import json
import time
from collections import Counter

from alilocal.core.jsonvalue import JsonObject, JsonValue
from alilocal.paiautoml.model import Experiment
from alilocal.paiautoml.secrets import masked

# The map of an experiment's trials calls by another name what ListHpoTrials calls SUCCEEDED.
_ENDED = {"SUCCEEDED": "FINISHED"}


def list_item(experiment: Experiment, *, with_configuration: bool) -> JsonObject:
    """A row of ListHpoExperiments."""
    return _members(experiment, "%Y-%m-%dT%H:%M:%SZ", with_configuration=with_configuration)


def whole(experiment: Experiment, *, mask: bool) -> JsonObject:
    """The answer of GetHpoExperiment."""
    members = _members(experiment, "%Y-%m-%d %H:%M:%S", with_configuration=True)
    configuration = experiment.configuration
    members["HpoExperimentConfiguration"] = masked(configuration) if mask else dict(configuration)
    return members


def _members(experiment: Experiment, time_form: str, *, with_configuration: bool) -> JsonObject:
    trials = experiment.trials
    counts = Counter(_ENDED.get(trial.status, trial.status) for trial in trials)
    members: JsonObject = {
        "ExperimentId": experiment.experiment_id,
        "Name": experiment.name,
        "Description": experiment.description,
        "Creator": experiment.creator,
        "WorkspaceId": experiment.workspace_id,
        "Accessibility": experiment.accessibility,
        "Status": experiment.status,
        "JobType": "1",
        "GmtCreateTime": time.strftime(time_form, time.gmtime(experiment.gmt_create_time)),
        "GmtModifiedTime": time.strftime(time_form, time.gmtime(experiment.gmt_modified_time)),
        "TrialCount": len(trials),
        "TrialStatus": {status: str(count) for status, count in sorted(counts.items())},
        "Deleted": experiment.deleted,
        "Tags": [{"Key": key, "Value": value} for key, value in experiment.tags],
    }
    if with_configuration:
        members |= _rendered(masked(experiment.configuration))
    return {name: value for name, value in members.items() if value is not None}


def _rendered(configuration: JsonObject) -> JsonObject:
    space = configuration.get("search_space")
    sections = [
        f"[{section}]\n" + "".join(f"{name}={_plain(member)}\n" for name, member in value.items())
        for section, value in configuration.items()
        if isinstance(value, dict) and section not in ("search_space", "yml_config")
    ]
    return {
        "SearchSpace": None if space is None else _plain(space),
        "ConfigIni": "\n".join(sections),
        # JSON is YAML.
        "ConfigYml": json.dumps(configuration.get("yml_config") or {}, ensure_ascii=False, indent=2),
    }


def _plain(value: JsonValue) -> str:
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
