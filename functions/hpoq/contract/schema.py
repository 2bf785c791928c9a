"""The JSON Schema of the request message, derived from its models.

`hpoq.contract.beyond` names the rules that it cannot say.
"""

from __future__ import annotations

from collections.abc import Sequence

from fcruntime.jsonvalue import JsonObject
from hpoq.contract import beyond, patterns
from hpoq.contract.document import WRAPPER_MEMBERS
from hpoq.contract.model_schema import model_definitions
from hpoq.contract.schema_form import DIALECT, arranged, ref
from hpoq.contract.space_schema import space_definitions

REQUEST_ID = "urn:hpoq:schema:request:v1"

_DESCRIPTION = """\
A request to create one PAI AutoML experiment: wrapped, as the bare body of CreateHpoExperiment, or in the data of a \
CloudEvent 1.0. hpoq takes what this schema takes, and refuses what it refuses, save for the rules \
that `x-hpoq-rules-beyond-schema` names where hpoq judges them. Those are: {message}, of the text that the document \
is written in; {bounds}, of ranges; {integer}, of a whole number written with a decimal point or an exponent, or \
too large for a double; {randint}, of such a whole number in a randint; every search-space rule, of a search space \
that is written as text; and every rule, of a request in data_base64."""

_NULL: JsonObject = {"type": "null"}


def request_schema(examples: Sequence[JsonObject] = ()) -> JsonObject:
    """The schema of a request document, JSON Schema 2020-12, with `examples`."""
    return arranged(
        {
            "$schema": DIALECT,
            "$id": REQUEST_ID,
            "title": "hpoq request",
            "description": _DESCRIPTION.format(
                message=", ".join(beyond.MESSAGE),
                bounds=beyond.BOUNDS[0],
                integer=beyond.INTEGER[0],
                randint=beyond.RANDINT[0],
            ),
            beyond.KEYWORD: list(beyond.MESSAGE),
            "type": "object",
            "if": {"required": ["specversion"]},
            "then": ref("CloudEvent"),
            "else": ref("Request"),
            "examples": list(examples),
            "$defs": {**_forms(), **model_definitions(), **space_definitions()},
        }
    )


def _forms() -> JsonObject:
    """The three forms of a document. The tests are those by which hpoq itself tells them apart."""
    absent: JsonObject = {"properties": {"data_base64": _NULL}}
    return {
        "CloudEvent": {
            "title": "CloudEvent",
            "description": "A CloudEvent 1.0 in structured JSON. Its data is read, all else passed over.",
            "type": "object",
            "required": ["specversion"],
            "properties": {"specversion": {"const": "1.0"}},
            "if": absent,
            "then": {"required": ["data"], "properties": {"data": ref("Request")}},
            "else": {"properties": {"data": _NULL, "data_base64": ref("EncodedRequest")}},
        },
        "EncodedRequest": {
            "title": "EncodedRequest",
            **beyond.beyond(
                beyond.ENCODED, "A request in base64; hpoq decodes it and judges what stands in it."
            ),
            "type": "string",
            "pattern": patterns.BASE64,
            "contentEncoding": "base64",
            "contentMediaType": "application/json",
            "contentSchema": ref("Request"),
        },
        "Request": {
            "title": "Request",
            "description": "Wrapped if it has any member of the wrapper, else bare.",
            "type": "object",
            "if": {"anyOf": [{"required": [name]} for name in WRAPPER_MEMBERS]},
            "then": ref("ExperimentRequest"),
            "else": ref("BareBody"),
        },
        "BareBody": {
            "title": "BareBody",
            "description": "What would stand under `experiment`, with one member at least.",
            "minProperties": 1,
            "allOf": [ref("CreateHpoExperiment")],
        },
    }
