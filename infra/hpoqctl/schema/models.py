"""JSON Schemas of the models: what pydantic derives from them, and what the rules add.

Models define the structure. Further demands of the rules on a member are added to the derived schema here, as far as
JSON Schema can express them. `hpoqctl.schema.beyond` lists the others.
"""

from __future__ import annotations

from pydantic.json_schema import GenerateJsonSchema, JsonSchemaValue
from pydantic_core import core_schema

from fcruntime.jsonvalue import JsonObject, JsonValue
from hpoq.contract import patterns
from hpoq.contract.finding import get_object
from hpoq.contract.identity import MARKER, MARKER_TAG, MOST_TAGS, TAG_KEY
from hpoq.contract.model import ExperimentRequest
from hpoq.contract.stop import StopRequest
from hpoqctl.schema.beyond import KEYWORD, OBJECT_TEXT, REAL, TARGET, WEIGHTS_TEXT, list_beyond
from hpoqctl.schema.form import make_ref

_ANYTHING = "JsonValue"
_OBJECT_OR_NULL: JsonValue = ["object", "null"]
_COMMAND: JsonObject = {"pattern": patterns.COMMAND}
_COMMAND_ROLE: JsonObject = {"pattern": patterns.COMMAND_ROLE}
_QUERY: JsonObject = {"pattern": patterns.QUERY}
_URL: JsonObject = {"pattern": patterns.URL}
_PATH: JsonObject = {"not": {"anyOf": [_COMMAND, _QUERY]}}
_SOURCES: dict[str, JsonObject] = {
    "stdout": {"anyOf": [_COMMAND, _COMMAND_ROLE, {"pattern": "/", "not": _QUERY}]},
    "table": {"not": {"anyOf": [_COMMAND, _URL]}},
    "summary": _PATH,
    "json": _PATH,
}

# The keywords to add to a member, by model and member, for the rules that demand more than the model.
_RULES: dict[tuple[str, str], JsonObject] = {
    ("ExperimentRequest", "schemaVersion"): {"type": ["string", "integer", "null"], "enum": ["1", 1, None]},
    ("StopRequest", "schemaVersion"): {"type": ["string", "integer", "null"], "enum": ["1", 1, None]},
    ("Guard", "targetMetric"): {KEYWORD: [*REAL, *TARGET]},
    ("Tag", "Key"): {"not": {"type": "string", "maxLength": len(TAG_KEY), "pattern": MARKER_TAG}},
    ("CreateHpoExperiment", "Tag"): {"maxItems": MOST_TAGS},
    ("CreateHpoExperiment", "Description"): {"not": {"type": "string", "pattern": MARKER}},
    ("HpoExperimentConfig", "search_space"): {
        "anyOf": [make_ref("SearchSpace"), make_ref("SearchSpaceText"), {"type": "null"}]
    },
    ("ParamsConfig", "params_src_dst_filepath"): {"items": {"type": "string", "pattern": patterns.PAIR}},
}


class _Generator(GenerateJsonSchema):
    """A generator without pydantic's invented titles, and with the same result in all versions of pydantic."""

    def field_title_should_be_set(self, schema: object) -> bool:  # noqa: ARG002
        return False

    def literal_schema(self, schema: core_schema.LiteralSchema) -> JsonSchemaValue:
        return {"type": "string", "enum": list(schema["expected"])}

    def float_schema(self, schema: core_schema.FloatSchema) -> JsonSchemaValue:
        return {**super().float_schema(schema), KEYWORD: list(REAL)}


def derive_models() -> dict[str, JsonObject]:
    """Return the definitions of the models by name, which include both kinds of a whole request."""
    models: JsonObject = {}
    for whole in (ExperimentRequest, StopRequest):
        derived: JsonObject = whole.model_json_schema(schema_generator=_Generator)
        models |= {**get_object(derived.pop("$defs")), whole.__name__: derived}
    found = {name: _tidy(get_object(models[name])) for name in sorted(models) if name != _ANYTHING}
    for definition in found.values():
        members = get_object(definition, "properties")
        members |= {name: _allow_text(get_object(member)) for name, member in members.items()}
    for (name, member), keywords in _RULES.items():
        get_object(found[name], "properties", member).update(keywords)
    get_object(found["ExperimentRequest"], "properties")["experiment"] = {
        "anyOf": [make_ref("CreateHpoExperiment"), make_ref("ExperimentText")]
    }
    get_object(found["MetricConfig"], "properties")["metric_dict"] = {
        "anyOf": [make_ref("MetricWeights"), make_ref("MetricWeightsText")]
    }
    found["ObjectText"] = {
        "title": "ObjectText",
        **list_beyond(OBJECT_TEXT, "An object as JSON text, or base64 of it. hpoq parses and checks it."),
        "type": "string",
    }
    found["Guard"]["anyOf"] = [_require_member(name) for name in get_object(found["Guard"], "properties")]
    found["StopTarget"]["oneOf"] = [
        _require_member(name) for name in get_object(found["StopTarget"], "properties")
    ]
    found["MetricConfig"]["allOf"] = [_restrict_sources(kind, form) for kind, form in _SOURCES.items()]
    found["MetricWeights"] = {
        "title": "MetricWeights",
        "description": "The weight of each metric, by its name or pattern.",
        "type": "object",
        "additionalProperties": make_ref("MetricWeight"),
    }
    found["MetricWeightsText"] = {
        "title": "MetricWeightsText",
        **list_beyond(WEIGHTS_TEXT, "The weights as a JSON string. hpoq parses and checks them."),
        "type": "string",
        "contentMediaType": "application/json",
        "contentSchema": make_ref("MetricWeights"),
    }
    found["MetricWeight"] = {
        "title": "MetricWeight",
        "description": "A number. A number in quotes is accepted with a warning.",
        "type": ["number", "string"],
        "pattern": patterns.NUMBER,
    }
    return found


def _require_member(name: str) -> JsonObject:
    """Return the schema of an object that has the member `name`, and not as null."""
    return {"required": [name], "properties": {name: {"not": {"type": "null"}}}}


def _restrict_sources(kind: str, form: JsonObject) -> JsonValue:
    """Return the schema that demands `form` of the sources of metrics of the type `kind`."""
    return {
        "if": {"properties": {"metric_type": {"const": kind}}, "required": ["metric_type"]},
        "then": {"properties": {"metric_source": {"items": form}}},
    }


def _allow_text(member: JsonObject) -> JsonObject:
    """Return the schema of a member that may be an object's text if it may be that object, else `member`."""
    text = make_ref("ObjectText")
    either = member.get("anyOf")
    if isinstance(either, list) and either[1:] == [{"type": "null"}] and "$ref" in get_object(either[0]):
        return {"anyOf": [either[0], text, either[1]]}
    return {"anyOf": [member, text]} if "$ref" in member or member.get("type") == _OBJECT_OR_NULL else member


def _tidy(schema: JsonObject) -> JsonObject:
    """Return `schema` without null defaults, with short forms for null, and with patterns of a whole text."""
    if schema.get("$ref") == make_ref(_ANYTHING)["$ref"]:
        return {}
    tidied = {keyword: _tidy_value(keyword, value) for keyword, value in schema.items()}
    if "pattern" in tidied:
        tidied["not"] = {"type": "string", "pattern": patterns.NO_LINE_FEED}
    if "default" in tidied and tidied["default"] is None:
        del tidied["default"]
    either = tidied.get("anyOf")
    if isinstance(either, list) and len(either) == 2 and either[1] == {"type": "null"}:
        present = get_object(either[0])
        if isinstance(present.get("type"), str):
            del tidied["anyOf"]
            return {**tidied, **_allow_null(present)}
    return tidied


def _allow_null(schema: JsonObject) -> JsonObject:
    """Return `schema`, which has one type, with null as another."""
    values = schema.get("enum")
    either: JsonObject = {**schema, "type": [schema["type"], "null"]}
    return {**either, "enum": [*values, None]} if isinstance(values, list) else either


def _tidy_value(keyword: str, value: JsonValue) -> JsonValue:
    if keyword == "properties":
        return {name: _tidy(get_object(member)) for name, member in get_object(value).items()}
    if isinstance(value, list):
        return [_tidy(item) if isinstance(item, dict) else item for item in value]
    return _tidy(value) if isinstance(value, dict) else value
