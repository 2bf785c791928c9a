"""Request documents, and functions to change them."""

import copy
import json
from pathlib import Path

from hypothesis import strategies as st

from hpoq.contract.jsontext import pointer_to, tokens_of
from hpoq.contract.request import parse_request
from support.request import make_document

ROOT = Path(__file__).parents[3]
MINIMAL = make_document()
REQUESTS = sorted((ROOT / "events" / "requests").glob("*.json"))
JSON = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=6), inner, max_size=3),
    max_leaves=8,
)


def parse(document):
    """Return the request in `document`."""
    return parse_request(json.dumps(document).encode())


def places(document, pointer=""):
    """Yield the pointer of every value in `document`."""
    yield pointer
    members = document.items() if isinstance(document, dict) else ()
    for token, member in enumerate(document) if isinstance(document, list) else members:
        yield from places(member, pointer + pointer_to(token))


PLACES = [pointer for pointer in places(MINIMAL) if pointer]


def put(document, pointer, value):
    """Set the value at `pointer`, in place."""
    *parents, last = tokens_of(pointer)
    for token in parents:
        document = document[int(token)] if isinstance(document, list) else document[token]
    document[int(last) if isinstance(document, list) else last] = value


def at(pointer, value):
    """Return the minimal request with `value` at `pointer` of its experiment."""
    document = copy.deepcopy(MINIMAL)
    put(document, f"/experiment/{pointer}", value)
    return document
