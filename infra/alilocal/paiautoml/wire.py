"""Answers and experiments as they are on the wire, with secrets masked.

Forms: https://www.alibabacloud.com/help/en/pai/developer-reference/api-paiautoml-2022-08-28-gethpoexperiment (List
and Get write times differently) and ...-listhpoexperiments (List replaces secrets by asterisks).
"""

from __future__ import annotations

import json
import time
from collections import Counter
from collections.abc import Iterator

from alilocal.core.gateway import json_response
from alilocal.core.http import Response
from alilocal.core.jsonvalue import MASK, JsonObject, JsonValue, mask_members
from alilocal.core.secretnames import is_secret_name
from alilocal.core.service import Call
from alilocal.core.world import World
from alilocal.paiautoml.model import Experiment
from alilocal.paiautoml.switches import PaiAutoMlSwitches

# TrialStatus of an experiment says FINISHED where ListHpoTrials says SUCCEEDED.
_ENDED = {"SUCCEEDED": "FINISHED"}


def success(world: World[PaiAutoMlSwitches], call: Call, members: JsonObject) -> Response:
    """Return an answer without error."""
    code: JsonObject = {"Code": "SUCCESS"} if world.behaviour.success_code else {}
    return json_response(200, {"RequestId": call.request_id, **code, **members}, call.request_id)


def list_item(experiment: Experiment, *, with_configuration: bool) -> JsonObject:
    """Return a row of ListHpoExperiments."""
    return _members(experiment, "%Y-%m-%dT%H:%M:%SZ", with_configuration=with_configuration)


def whole(experiment: Experiment, *, mask: bool) -> JsonObject:
    """Return the answer of GetHpoExperiment."""
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
        members |= _render_configuration(masked(experiment.configuration))
    return {name: value for name, value in members.items() if value is not None}


def _render_configuration(configuration: JsonObject) -> JsonObject:
    space = configuration.get("search_space")
    sections = [
        f"[{section}]\n" + "".join(f"{name}={_render_member(member)}\n" for name, member in value.items())
        for section, value in configuration.items()
        if isinstance(value, dict) and section not in ("search_space", "yml_config")
    ]
    return {
        "SearchSpace": None if space is None else _render_member(space),
        "ConfigIni": "\n".join(sections),
        # Every JSON document is a YAML document.
        "ConfigYml": json.dumps(configuration.get("yml_config") or {}, ensure_ascii=False, indent=2),
    }


def _render_member(value: JsonValue) -> str:
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)


_DOCUMENTED = frozenset({"accesskeysecret", "access_key", "access_key_secret"})
_ALERTS = "monitor_config"
# A shorter secret is left alone in texts: masking it would garble them.
_SHORTEST = 4


def masked(configuration: JsonObject) -> JsonObject:
    """Return a copy of `configuration` as the service shows it.

    The service hides fewer members than the local cloud hides from logs and snapshots.
    """
    return {section: _mask_section(section, value) for section, value in configuration.items()}


def without_secrets(configuration: JsonObject) -> JsonObject:
    """Return a copy of `configuration` for a snapshot. Numbers in it stay, whatever they are named: `tokens=(.*)`."""
    kept = mask_members(configuration)
    for section, name in (("search_space", None), ("metric_config", "metric_dict")):
        given, hidden = configuration.get(section), kept.get(section)
        if name is not None and isinstance(given, dict) and isinstance(hidden, dict):
            given, hidden = given.get(name), hidden.get(name)
        if isinstance(given, dict) and isinstance(hidden, dict):
            hidden |= {one: value for one, value in given.items() if _is_numeric(value)}
    return kept


def _is_numeric(value: JsonValue) -> bool:
    """Return whether a value is a number, or the specification of a parameter with numbers only."""
    if isinstance(value, dict) and value.keys() == {"_type", "_value"}:
        value = value["_value"]
    values = value if isinstance(value, list) else [value]
    return all(isinstance(one, (int, float)) for one in values)


def secrets_of(value: JsonValue, *, is_secret: bool = False) -> Iterator[str]:
    """Yield the values of secret members."""
    if isinstance(value, str) and len(value) >= _SHORTEST and is_secret:
        yield value
    elif isinstance(value, dict):
        for name, member in value.items():
            yield from secrets_of(member, is_secret=is_secret or is_secret_name(name))
    elif isinstance(value, list):
        for item in value:
            yield from secrets_of(item, is_secret=is_secret)


def mask_text(configuration: JsonValue, text: str) -> str:
    """Return `text` without the secrets of a configuration."""
    for secret in secrets_of(configuration):
        text = text.replace(secret, MASK)
    return text


def _mask_section(section: str, value: JsonValue) -> JsonValue:
    if not isinstance(value, dict):
        return value
    return {name: MASK if _is_hidden(section, name) else member for name, member in value.items()}


def _is_hidden(section: str, name: str) -> bool:
    return name.lower() in _DOCUMENTED or (section == _ALERTS and name == "url")
