"""The bodies of CreateHpoExperiment and UpdateHpoExperiment: what is accepted, and what is not.

Members and limits: https://www.alibabacloud.com/help/en/pai/developer-reference/api-paiautoml-2022-08-28-createhpoexperiment
and its struct HpoExperimentConfig. A null counts as missing, which is undocumented.
"""

from __future__ import annotations

from alilocal.core.jsonvalue import JsonObject, JsonValue, load_json
from alilocal.paiautoml.errors import InvalidInput
from alilocal.paiautoml.model import Draft, Tags, Update
from alilocal.paiautoml.switches import PaiAutoMlSwitches

MOST_TAGS = 20
_MOST_TAG_CHARACTERS = 128
_MEMBERS = {"Name", "Description", "WorkspaceId", "Accessibility", "Tag", "HpoExperimentConfiguration"}
_REQUIRED = {
    "platform_config": {"name": str, "cmd": list},
    "metric_config": {"metric_type": str, "metric_source": list, "final_mode": str, "metric_dict": dict},
}
_CHOICES = {
    "metric_type": ("summary", "table", "json", "stdout", "api"),
    "final_mode": ("final", "best", "avg"),
}


def read_draft(data: bytes, behaviour: PaiAutoMlSwitches) -> Draft:
    """Read the body of a create; raises InvalidInput."""
    body = _read_body(data, behaviour)
    tags = read_tags(body.get("Tag"), "Tag")
    if tags and behaviour.create_tags == "refused":
        raise InvalidInput("Unsupported parameter 'Tag' in request.")
    configuration = _object(body.get("HpoExperimentConfiguration"), "HpoExperimentConfiguration")
    if behaviour.strict_required and body.get("HpoExperimentConfiguration") is not None:
        _check_configuration(configuration)
    return Draft(
        _text(body, "Name"),
        _text(body, "Description"),
        _text(body, "WorkspaceId"),
        _accessibility(body) or "PRIVATE",
        tags if behaviour.create_tags == "accepted" else (),
        configuration,
    )


def read_update(data: bytes, configuration: JsonObject, behaviour: PaiAutoMlSwitches) -> Update:
    """Read the body of an update of an experiment with `configuration`; raises InvalidInput."""
    body = _read_body(data, behaviour)
    given: JsonObject | None = None
    if body.get("HpoExperimentConfiguration") is not None:
        given = _object(body["HpoExperimentConfiguration"], "HpoExperimentConfiguration")
        if behaviour.update_configuration == "merged":
            given = configuration | given
        if behaviour.strict_required:
            _check_configuration(given)
    return Update(
        _text(body, "Name"),
        _text(body, "Description"),
        _text(body, "WorkspaceId"),
        _accessibility(body),
        read_tags(body["Tag"], "Tag") if body.get("Tag") is not None else None,
        given,
    )


def _read_body(data: bytes, behaviour: PaiAutoMlSwitches) -> JsonObject:
    body = read_object(data)
    unknown = sorted(body.keys() - _MEMBERS)
    if unknown and behaviour.unknown_members == "refused":
        raise InvalidInput(f"Unknown parameter '{unknown[0]}' in request.")
    return body


def read_object(data: bytes) -> JsonObject:
    """Read the JSON object of a request body, an empty one without a body; raises InvalidInput."""
    if not data:
        return {}
    try:
        return _object(load_json(data), "request body")
    except ValueError:
        raise InvalidInput("The request body is not valid JSON.") from None


def read_tags(value: JsonValue, name: str) -> Tags:
    """Read tags as pairs of key and value; raises InvalidInput if they exceed a documented limit."""
    if value is None:
        return ()
    if not isinstance(value, list):
        raise InvalidInput(f"'{name}' must be a list.")
    if len(value) > MOST_TAGS:
        raise InvalidInput(f"'{name}' has more than {MOST_TAGS} items.")
    items = [_object(item, f"{name} item") for item in value]
    tags = tuple((_text(item, "Key") or "", _text(item, "Value") or "") for item in items)
    for text in (text for pair in tags for text in pair):
        check_tag_text(text, name)
    return tags


def check_tag_text(text: str, name: str) -> None:
    """Raise InvalidInput for a key or value that the documentation forbids."""
    if len(text) > _MOST_TAG_CHARACTERS:
        raise InvalidInput(f"'{name}' has a text of more than {_MOST_TAG_CHARACTERS} characters.")
    if text.startswith(("aliyun", "acs:")) or "http://" in text or "https://" in text:
        raise InvalidInput(f"'{name}' must not begin with aliyun or acs: nor contain http:// or https://.")


def _accessibility(body: JsonObject) -> str | None:
    value = _text(body, "Accessibility")
    if value not in (None, "", "PUBLIC", "PRIVATE"):
        raise InvalidInput("'Accessibility' must be PUBLIC or PRIVATE.")
    return value or None


def _check_configuration(configuration: JsonObject) -> None:
    for section, members in _REQUIRED.items():
        given = _object(configuration.get(section), section)
        for member, kind in members.items():
            where = f"{section}.{member}"
            value = given.get(member)
            if value is None:
                raise InvalidInput(f"Missing '{where}' in HpoExperimentConfiguration.")
            if not isinstance(value, kind):
                raise InvalidInput(f"'{where}' has the wrong type.")
            if isinstance(value, list) and not all(isinstance(item, str) for item in value):
                raise InvalidInput(f"'{where}' must be a list of strings.")
            if member in _CHOICES and value not in _CHOICES[member]:
                raise InvalidInput(f"'{where}' must be one of {', '.join(_CHOICES[member])}.")


def _object(value: JsonValue, name: str) -> JsonObject:
    if value is None:
        return {}
    if not isinstance(value, dict):
        raise InvalidInput(f"'{name}' must be an object.")
    return value


def _text(body: JsonObject, name: str) -> str | None:
    value = body.get(name)
    if value is not None and not isinstance(value, str):
        raise InvalidInput(f"'{name}' must be a string.")
    return value
