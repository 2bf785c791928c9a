"""Comparison of the request schema with the models."""

import copy
import gzip
import json
from base64 import b64decode
from pathlib import Path

from jsonschema import Draft202012Validator, ValidationError, validators

from hpoq.contract.jsontext import pointer_to
from hpoq.contract.request import parse_request
from hpoq.errors import RequestRejected
from hpoqctl.schema.beyond import KEYWORD

ROOT = Path(__file__).parents[2]
CONTRACT = ROOT / "events" / "contract"
REQUESTS = {path.stem: path for path in sorted((ROOT / "events" / "requests").glob("*.json"))}
SCHEMA = json.loads((CONTRACT / "request.schema.json").read_text())
_VERDICTS = {}


def _remembered(validator, ref, instance, schema):
    """Check a reference within the schema, unless the same value was checked before.

    The documents of these tests differ at one place each, and the official validator takes most of their time.
    """
    key = ref, json.dumps(instance)
    if key not in _VERDICTS:
        check = Draft202012Validator.VALIDATORS["$ref"]
        _VERDICTS[key] = next(iter(check(validator, ref, instance, schema) or ()), None) is None
    if not _VERDICTS[key]:
        yield ValidationError(f"the value does not match {ref}")


VALIDATOR = validators.extend(Draft202012Validator, {"$ref": _remembered})(SCHEMA)


def _named(_validator, rules, _instance, schema):
    yield ValidationError("rules beyond the schema", validator=KEYWORD, validator_value=rules, schema=schema)


_NAMING = validators.extend(Draft202012Validator, {KEYWORD: _named})(SCHEMA)


def _reached(errors):
    for error in errors:
        if error.validator == KEYWORD:
            yield pointer_to(*error.absolute_path), error.schema
        yield from _reached(error.context)


def beyond(document):
    """Yield the places where hpoq checks more than the schema: a pointer and the schema that lists the rules."""
    return list(_reached(_NAMING.iter_errors(document)))


def reaching(document, violation):
    """Yield the schemas that list the rule of `violation` at its place in `document`."""
    return [
        schema
        for place, schema in beyond(document)
        if violation.rule in schema[KEYWORD] and f"{violation.pointer}/".startswith(f"{place}/")
    ]


def violations(body):
    """Return the violations of `body`, which are none if hpoq accepts it."""
    try:
        parse_request(body)
    except RequestRejected as exc:
        return exc.violations
    return ()


def disagreement(document):
    """Return how the schema and the models disagree about `document`, or None if they agree."""
    found = violations(json.dumps(document).encode())
    if not VALIDATOR.is_valid(document):
        return None if found else "the schema refuses it, and hpoq takes it"
    unnamed = [violation for violation in found if not reaching(document, violation)]
    return f"the schema takes it, and hpoq refuses it: {unnamed}" if unnamed else None


def leniently_read(body):
    """Return the document in `body` as a lenient JSON reader sees it."""
    if body.startswith(b"\x1f\x8b"):
        body = gzip.decompress(body)
    while body[:1].isalnum():
        body = b64decode(body)
    return json.loads(body)


def nodes(schema):
    """Yield `schema` and every schema in it."""
    if isinstance(schema, dict):
        yield schema
    for inner in schema.values() if isinstance(schema, dict) else schema:
        if isinstance(inner, (dict, list)):
            yield from nodes(inner)


def ways(value, way=()):
    """Yield the path to every value in `value`, as member names and indexes."""
    yield way
    for token, inner in (
        value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    ):
        yield from ways(inner, (*way, token))


def at(document, way):
    for token in way:
        document = document[token]
    return document


def put(document, way, value):
    """Return a copy of `document` with `value` at `way`, which is created if it is missing."""
    copied = holder = copy.deepcopy(document)
    for token in way[:-1]:
        holder = holder.setdefault(token, {}) if isinstance(holder, dict) else holder[token]
    holder[way[-1]] = value
    return copied
