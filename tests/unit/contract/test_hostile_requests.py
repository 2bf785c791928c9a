import copy
import json
import tracemalloc

import pytest
from requestdocs import MINIMAL, PLACES, at, parse, put

from hpoq.contract.finding import MOST_LISTED
from hpoq.contract.request import parse_request
from hpoq.errors import RequestRejected


@pytest.mark.parametrize("pointer", PLACES)
def test_numbers_beyond_a_float_break_nothing(pointer):
    """A whole number that no float can hold is judged like any other, wherever it stands."""
    for number in (10**399, -(10**399)):
        document = copy.deepcopy(MINIMAL)
        put(document, pointer, number)
        try:
            parse(document)
        except RequestRejected as exc:
            assert exc.violations


LONG = "k" * 100_000
SPACE = "HpoExperimentConfiguration/search_space"
NOTHINGS = {LONG: {"_type": "choice", "_value": [None] * 2000}}
HOSTILE = {
    "an unknown member of many values": at(LONG, [0] * 2000),
    "many values in a choice": at(SPACE, NOTHINGS),
    "many values in a nested choice": at(
        SPACE, {"${m}": {"_type": "choice", "_value": [{"_name": "n", **NOTHINGS}]}}
    ),
    "many names in a name": at(SPACE, {LONG: {f"{n}": 1 for n in range(2000)}}),
}


@pytest.mark.parametrize("case", HOSTILE)
def test_hostile_documents_take_no_memory(case):
    """What a document costs grows with its size, not with the length of a name times the values under it."""
    body = json.dumps(HOSTILE[case]).encode()
    tracemalloc.start()
    try:
        parse_request(body)
    except RequestRejected as exc:
        assert exc.violations
    finally:
        peak = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
    assert peak < 100 * len(body)


@pytest.mark.parametrize(
    ("pointer", "value", "count"),
    [
        ("HpoExperimentConfiguration/platform_config/cmd", [0] * 5000, 5000),
        ("HpoExperimentConfiguration/search_space", {f"${{{n}}}": 0 for n in range(5000)}, 5000),
        ("HpoExperimentConfiguration/platform_config/cmd", [0] * MOST_LISTED, MOST_LISTED),
    ],
)
def test_long_lists_are_cut_and_counted(pointer, value, count):
    """Beyond MOST_LISTED violations are counted, not listed."""
    with pytest.raises(RequestRejected) as caught:
        parse(at(pointer, value))
    *listed, last = caught.value.violations
    if count == MOST_LISTED:
        assert len(listed) + 1 == MOST_LISTED
    else:
        assert len(listed) == MOST_LISTED
        assert (last.rule, int(last.message.split()[0])) == ("violations.truncated", count - MOST_LISTED)


def test_long_lists_of_warnings_hide_no_violation():
    """A violation that stands behind any number of warnings still rejects."""
    commands = [f"${{{n}}}" for n in range(2 * MOST_LISTED)]
    document = at("HpoExperimentConfiguration/platform_config/cmd", commands)
    assert len(parse(document).warnings) == MOST_LISTED + 1
    document["experiment"]["HpoExperimentConfiguration"]["metric_config"]["final_mode"] = "last"
    with pytest.raises(RequestRejected) as caught:
        parse(document)
    assert [violation.rule for violation in caught.value.violations] == ["enum"]
