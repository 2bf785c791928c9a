import re

import pytest
from requestdocs import REQUESTS, ROOT

from hpoq.contract.request import parse_request
from hpoq.errors import RequestRejected

INVALID = {
    "metric.json": {"metric-source.form", "enum", "metric-weight"},
    "missing-members.json": {"required"},
    "misspelt-members.json": {"required", "unknown-member"},
    "search-space.json": {"search-space.bounds", "search-space.arity", "search-space.type"},
    "tags.json": {"tag.limit", "tag.reserved", "enum"},
    "wrapper.json": {"schema-version", "idempotency-key", "type"},
}


@pytest.mark.parametrize("path", REQUESTS, ids=lambda path: path.name)
def test_the_examples_are_clean(path):
    """Every example request is valid, and warns of nothing but the access keys that its reader must fill in."""
    example = re.compile(r"EXAMPLE-ACCESS-KEY-(ID|SECRET)")
    warnings = parse_request(path.read_bytes()).warnings
    assert [one.rule for one in warnings] == ["text.placeholder"] * len(example.findall(path.read_text()))


def test_the_bad_examples():
    """Each request in invalid/ breaks exactly the rules that it demonstrates."""
    found = {}
    for path in (ROOT / "events" / "requests" / "invalid").glob("*.json"):
        with pytest.raises(RequestRejected) as caught:
            parse_request(path.read_bytes())
        found[path.name] = {violation.rule for violation in caught.value.violations}
    assert found == INVALID
