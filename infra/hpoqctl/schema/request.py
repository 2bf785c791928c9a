"""The JSON Schema of the request message, derived from its models.

`hpoqctl.schema.beyond` lists the rules that it cannot express.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from fcruntime.jsonvalue import JsonObject
from hpoq.contract import patterns
from hpoq.contract.document import MISPLACED_ALWAYS, MISPLACED_OBJECTS, WRAPPER_MEMBERS
from hpoq.contract.finding import get_object
from hpoq.contract.model import SCHEMA_MEMBER
from hpoq.contract.request import REQUEST_ONLY, STOP_ONLY
from hpoqctl.schema import beyond
from hpoqctl.schema.form import DIALECT, make_ref, sort_keywords
from hpoqctl.schema.members import describe_members
from hpoqctl.schema.models import derive_models
from hpoqctl.schema.space import define_space

REQUEST_ID = "urn:hpoq:schema:request:v1"

_DESCRIPTION = """\
A request to create one PAI AutoML experiment, or to stop one: wrapped, as the bare body of CreateHpoExperiment, or \
in the data of a CloudEvent 1.0. hpoq accepts what this schema accepts and rejects what it rejects, except for the \
rules that `x-hpoq-rules-beyond-schema` lists at the place that they apply to. These are: {message} (the text of the \
document); {bounds} (the bounds of a range); {real} (an integer that is too large for a double); {target} (a target \
without a direction); all rules for a search space, for the weights of metrics or for an experiment that is a \
string; and all rules for a request that is text, as a whole or in data or data_base64."""

_NULL: JsonObject = {"type": "null"}


def make_request_schema(examples: Sequence[JsonObject] = ()) -> JsonObject:
    """Return the schema of a request document in JSON Schema 2020-12, with `examples`."""
    models = derive_models()
    for model, members in (("ExperimentRequest", STOP_ONLY), ("StopRequest", REQUEST_ONLY)):
        # Not as properties, which an editor would suggest.
        models[model]["patternProperties"] = {
            f"^{name}$": _NULL if empty == (None,) else {"enum": list(empty)}
            for name, empty in members.items()
        }
    describe_members(models)
    definitions: dict[str, JsonObject] = {**_define_forms(models), **models, **define_space()}
    describe_members(definitions)
    return sort_keywords(
        {
            "$schema": DIALECT,
            "$id": REQUEST_ID,
            "title": "hpoq request",
            "description": _DESCRIPTION.format(
                message=", ".join(beyond.MESSAGE),
                bounds=beyond.BOUNDS[0],
                real=beyond.REAL[0],
                target=beyond.TARGET[0],
            ),
            beyond.KEYWORD: list(beyond.MESSAGE),
            "if": {"type": "string"},
            "then": make_ref("DocumentText"),
            "else": make_ref("Document"),
            "examples": list(examples),
            "$defs": {**definitions},
        }
    )


def _define_forms(models: Mapping[str, JsonObject]) -> dict[str, JsonObject]:
    """Return the three forms of a document, which are distinguished as hpoq does it."""
    return {
        "Document": {
            "title": "Document",
            "description": "A CloudEvent if it has a specversion, otherwise a request.",
            "type": "object",
            "if": {"required": ["specversion"]},
            "then": make_ref("CloudEvent"),
            "else": make_ref("Request"),
        },
        "DocumentText": _define_text(
            "DocumentText", beyond.DOCUMENT_TEXT, "A document as JSON text, or base64 of it.", "Document"
        ),
        "CloudEvent": _define_cloud_event(),
        "EncodedRequest": {
            "title": "EncodedRequest",
            **beyond.list_beyond(beyond.ENCODED, "A request in base64. hpoq decodes and checks it."),
            "type": "string",
            "pattern": patterns.BASE64,
            "contentEncoding": "base64",
            "contentMediaType": "application/json",
            "contentSchema": make_ref("Request"),
        },
        "RequestText": _define_text(
            "RequestText", beyond.DATA_TEXT, "A request as JSON text, or base64 of it.", "Request"
        ),
        "ExperimentText": _define_text(
            "ExperimentText",
            beyond.EXPERIMENT_TEXT,
            "The body of CreateHpoExperiment as JSON text, or base64 of it.",
            "CreateHpoExperiment",
        ),
        "Request": _define_request(),
        "BareBody": _define_bare_body(models),
    }


def _define_bare_body(models: Mapping[str, JsonObject]) -> JsonObject:
    return {
        **models["CreateHpoExperiment"],
        "title": "BareBody",
        "description": "The value of `experiment` alone.",
        "properties": {
            **get_object(models["CreateHpoExperiment"], "properties"),
            SCHEMA_MEMBER: get_object(models["ExperimentRequest"], "properties", SCHEMA_MEMBER),
        },
    }


def _define_text(title: str, rules: tuple[str, ...], description: str, content: str) -> JsonObject:
    """Return the definition of a string that contains an object as JSON text; `content` is that object's."""
    return {
        "title": title,
        **beyond.list_beyond(rules, f"{description} hpoq checks it."),
        "type": "string",
        "contentMediaType": "application/json",
        "contentSchema": make_ref(content),
    }


def _define_request() -> JsonObject:
    return {
        "title": "Request",
        "description": "A stop, or a wrapped request if it has another member of the wrapper, or a bare body.",
        "type": "object",
        "if": {"required": ["stop"], "properties": {"stop": {"not": _NULL}}},
        "then": make_ref("StopRequest"),
        "else": {
            "if": {"anyOf": [{"required": [name]} for name in WRAPPER_MEMBERS]},
            "then": make_ref("ExperimentRequest"),
            "else": make_ref("BareBody"),
        },
    }


def _define_cloud_event() -> JsonObject:
    data: JsonObject = {
        "if": {"type": "string"},
        "then": make_ref("RequestText"),
        "else": make_ref("Request"),
    }
    return {
        "title": "CloudEvent",
        "description": "A CloudEvent 1.0 in structured JSON. Only its data is read.",
        "type": "object",
        "required": ["specversion"],
        "properties": {"specversion": {"const": "1.0"}},
        "patternProperties": {
            **{f"^{name}$": _NULL for name in MISPLACED_ALWAYS},
            **{f"^{name}$": {"not": {"type": ["object", "array"]}} for name in MISPLACED_OBJECTS},
        },
        "if": {"properties": {"data_base64": _NULL}},
        "then": {"required": ["data"], "properties": {"data": data}},
        "else": {"properties": {"data": _NULL, "data_base64": make_ref("EncodedRequest")}},
    }
