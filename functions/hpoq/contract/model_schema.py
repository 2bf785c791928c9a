"""JSON Schemas of the models: what pydantic derives from them, and what the rules add to it.

Models say structure. What else a rule demands of a member is laid over the derived schema here, as far as JSON
Schema has the words; `hpoq.contract.beyond` names the rest.
"""

from __future__ import annotations

from pydantic.json_schema import GenerateJsonSchema, JsonSchemaValue
from pydantic_core import core_schema

from fcruntime.jsonvalue import JsonObject, JsonValue
from hpoq.contract import patterns
from hpoq.contract.beyond import INTEGER, KEYWORD, REAL
from hpoq.contract.finding import obj
from hpoq.contract.marker import MARKER, MOST_TAGS, TAG_KEY
from hpoq.contract.request import ExperimentRequest
from hpoq.contract.schema_form import ref

_ANYTHING = "JsonValue"
_COMMAND: JsonObject = {"pattern": patterns.COMMAND}
_QUERY: JsonObject = {"pattern": patterns.QUERY}
_URL: JsonObject = {"pattern": patterns.URL}
_PATH: JsonObject = {"not": {"anyOf": [_COMMAND, _QUERY]}}
_SOURCES: dict[str, JsonObject] = {
    "stdout": {"anyOf": [_COMMAND, {"pattern": "/", "not": _QUERY}]},
    "table": {"not": {"anyOf": [_COMMAND, _URL]}},
    "summary": _PATH,
    "json": _PATH,
}

# Member by member, the rules that say more than the model: (model, member) to the keywords to add.
_RULES: dict[tuple[str, str], JsonObject] = {
    ("Tag", "Key"): {"not": {"const": TAG_KEY}},
    ("CreateHpoExperiment", "Tag"): {"maxItems": MOST_TAGS},
    ("CreateHpoExperiment", "Description"): {"not": {"type": "string", "pattern": MARKER}},
    ("HpoExperimentConfig", "search_space"): {
        "anyOf": [ref("SearchSpace"), ref("SearchSpaceText"), {"type": "null"}]
    },
    ("MetricConfig", "metric_dict"): {"additionalProperties": ref("MetricWeight")},
    ("ParamsConfig", "params_src_dst_filepath"): {"items": {"type": "string", "pattern": patterns.PAIR}},
}


class _Generator(GenerateJsonSchema):
    """Without the titles that pydantic makes up, and alike in all its versions."""

    def field_title_should_be_set(self, schema: object) -> bool:  # noqa: ARG002
        return False

    def literal_schema(self, schema: core_schema.LiteralSchema) -> JsonSchemaValue:
        return {"type": "string", "enum": list(schema["expected"])}

    def int_schema(self, schema: core_schema.IntSchema) -> JsonSchemaValue:
        return {**super().int_schema(schema), KEYWORD: list(INTEGER)}

    def float_schema(self, schema: core_schema.FloatSchema) -> JsonSchemaValue:
        return {**super().float_schema(schema), KEYWORD: list(REAL)}


def model_definitions() -> dict[str, JsonObject]:
    """The definitions of the request's models, by name; `ExperimentRequest` is the whole."""
    derived: JsonObject = ExperimentRequest.model_json_schema(schema_generator=_Generator)
    models = {**obj(derived.pop("$defs")), "ExperimentRequest": derived}
    found = {name: _tidy(obj(models[name])) for name in sorted(models) if name != _ANYTHING}
    for (name, member), keywords in _RULES.items():
        obj(found[name], "properties", member).update(keywords)
    found["MetricConfig"]["allOf"] = [_sources(kind, form) for kind, form in _SOURCES.items()]
    found["MetricWeight"] = {
        "title": "MetricWeight",
        "description": "A number; one in quotes is taken, with a warning.",
        "type": ["number", "string"],
        "pattern": patterns.NUMBER,
    }
    return found


def _sources(kind: str, form: JsonObject) -> JsonValue:
    return {
        "if": {"properties": {"metric_type": {"const": kind}}, "required": ["metric_type"]},
        "then": {"properties": {"metric_source": {"items": form}}},
    }


def _tidy(schema: JsonObject) -> JsonObject:
    """`schema` without null defaults, what may be null in fewer words, and patterns that end where they say."""
    if schema.get("$ref") == ref(_ANYTHING)["$ref"]:
        return {}
    tidied = {keyword: _tidy_value(keyword, value) for keyword, value in schema.items()}
    if "default" in tidied and tidied["default"] is None:
        del tidied["default"]
    either = tidied.get("anyOf")
    if isinstance(either, list) and len(either) == 2 and either[1] == {"type": "null"}:
        present = obj(either[0])
        if isinstance(present.get("type"), str):
            del tidied["anyOf"]
            return {**tidied, **_or_null(present)}
    return tidied


def _or_null(schema: JsonObject) -> JsonObject:
    values = schema.get("enum")
    either: JsonObject = {**schema, "type": [schema["type"], "null"]}
    return {**either, "enum": [*values, None]} if isinstance(values, list) else either


def _tidy_value(keyword: str, value: JsonValue) -> JsonValue:
    if keyword == "pattern" and isinstance(value, str) and value.endswith("$"):
        return value[:-1] + patterns.END
    if keyword == "properties":
        return {name: _tidy(obj(member)) for name, member in obj(value).items()}
    if isinstance(value, list):
        return [_tidy(item) if isinstance(item, dict) else item for item in value]
    return _tidy(value) if isinstance(value, dict) else value
