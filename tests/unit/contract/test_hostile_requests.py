import contextlib
import copy
import json
import re
import tracemalloc

import pytest
from requestdocs import MINIMAL, PLACES, at, parse, put

from hpoq.contract.finding import MOST_LISTED
from hpoq.contract.request import parse_request
from hpoq.errors import RequestRejected
from support.budget import sample_by_default


@pytest.mark.parametrize("pointer", PLACES)
def test_numbers_beyond_a_float_break_nothing(pointer):
    """An integer that does not fit into a float is checked like any other, at every place."""
    for number in (10**399, -(10**399)):
        document = copy.deepcopy(MINIMAL)
        put(document, pointer, number)
        try:
            parse(document)
        except RequestRejected as exc:
            assert exc.violations


LONG = "k" * 100_000
SPACE = "HpoExperimentConfiguration/search_space"
NOTHINGS = {LONG: {"_type": "choice", "_value": [None] * 500}}
HOSTILE = {
    "an unknown member of many values": at(LONG, [0] * 500),
    "many values in a choice": at(SPACE, NOTHINGS),
    "many values in a nested choice": at(
        SPACE, {"${m}": {"_type": "choice", "_value": [{"_name": "n", **NOTHINGS}]}}
    ),
    "many names in a name": at(SPACE, {LONG: {f"{n}": 1 for n in range(500)}}),
}


@pytest.mark.parametrize("case", HOSTILE)
def test_hostile_documents_take_no_memory(case):
    """The memory for a document grows with its size, not with the length of a name times the values under it."""
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
        ("HpoExperimentConfiguration/platform_config/cmd", [f"${{{n}" for n in range(5)] + [0] * 1000, 1000),
        (
            "HpoExperimentConfiguration/yml_config/tuner",
            {"name": "TPE", **{f"x{n}": 0 for n in range(1500)}},
            1500,
        ),
        ("HpoExperimentConfiguration/search_space", {f"${{{n}}}": 0 for n in range(1500)}, 1500),
        ("HpoExperimentConfiguration/platform_config/cmd", [0] * MOST_LISTED, MOST_LISTED),
    ],
)
def test_long_lists_are_cut_and_counted(pointer, value, count):
    """Violations beyond MOST_LISTED are counted, not listed."""
    with pytest.raises(RequestRejected) as caught:
        parse(at(pointer, value))
    *listed, last = caught.value.violations
    if count == MOST_LISTED:
        assert len(listed) + 1 == MOST_LISTED
    else:
        assert len(listed) == MOST_LISTED
        assert (last.rule, int(last.message.split()[0])) == ("violations.truncated", count - MOST_LISTED)


@pytest.mark.parametrize(
    ("pointer", "message"),
    [
        ("HpoExperimentConfiguration/platform_config/cmd", "every item must be a string; 20000 are not"),
        ("Tag", "every item must be an object; 20000 are not"),
    ],
)
def test_arrays_of_wrong_items_are_one_violation(pointer, message):
    """An array with very many wrong items causes one violation, so that it needs little memory."""
    body = json.dumps(at(pointer, [0] * 20_000)).encode()
    tracemalloc.start()
    try:
        with pytest.raises(RequestRejected) as caught:
            parse_request(body)
    finally:
        peak = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
    (violation,) = [found for found in caught.value.violations if found.rule == "type"]
    assert (violation.pointer, violation.message) == (f"/experiment/{pointer}", message)
    assert peak < 20 * len(body)


SETS = "[\x01-\uffff]" * 150
STDOUT = {"metric_type": "stdout", "metric_source": ["cmd1"], "final_mode": "best"}


def test_little_of_a_producers_patterns_is_compiled(monkeypatch):
    """Only a part of a producer's patterns is compiled, because large character sets are slow to compile."""
    weights = {f"(?i)({n}{SETS})": 1 for n in range(200)}
    document = at("HpoExperimentConfiguration/metric_config", {**STDOUT, "metric_dict": weights})
    compiled = []
    compile_ = re.compile
    parse({"experiment": {"Name": "token=1"}})  # what is compiled but once
    with monkeypatch.context() as patched:
        patched.setattr(re, "compile", lambda pattern, flags=0: compiled.append(pattern) or compile_("(a)"))
        parse(document)
    assert 0 < sum(map(len, compiled)) <= 2_000
    assert not any("(?i" in pattern for pattern in compiled)


def judge(body):
    with contextlib.suppress(RequestRejected):
        parse_request(body)


SIZES = {
    "tags": lambda n: at("Tag", [{"Key": "hpoq-key", "Nmae": None}] * n),
    "commands": lambda n: at("HpoExperimentConfiguration/platform_config/cmd", ["${a} ${b}"] * n),
    "one command": lambda n: at("HpoExperimentConfiguration/platform_config/cmd", ["${a" * n]),
    "sources": lambda n: at("HpoExperimentConfiguration/metric_config/metric_source", ["cmd1"] * n),
    "weights": lambda n: at(
        "HpoExperimentConfiguration/metric_config",
        {**STDOUT, "metric_dict": {f"({i}": "x" for i in range(n)}},
    ),
    "unknown members": lambda n: {**MINIMAL, **{f"k{i}": None for i in range(n)}},
    "search space": lambda n: at(SPACE, {f"${{{i}}}": {"_type": "?", "_value": 1} for i in range(n)}),
    "choices": lambda n: at(SPACE, {"${x}": {"_type": "choice", "_value": [{"_name": None}] * n}}),
    # Other names for each size: what is found out about a name is kept.
    "search space as text": lambda n: at(SPACE, json.dumps({f"{n}_{i}": {} for i in range(n)})),
    "duplicates": lambda n: [{"a": i} for i in range(n)],
}


@pytest.mark.parametrize("case", sample_by_default(SIZES))
def test_twice_the_size_is_twice_the_work(case, count_calls):
    """The work grows linearly with the size of a document."""
    small, large = (json.dumps(SIZES[case](size)).encode() for size in (400, 800))
    judge(json.dumps(SIZES[case](8)).encode())  # whatever is done but once
    assert count_calls(lambda: judge(large)) < 2.2 * count_calls(lambda: judge(small))


def test_long_lists_of_warnings_hide_no_violation():
    """A violation after any number of warnings still rejects the request."""
    commands = [f"${{{n}}}" for n in range(2 * MOST_LISTED)]
    document = at("HpoExperimentConfiguration/platform_config/cmd", commands)
    assert len(parse(document).warnings) == MOST_LISTED + 1
    document["experiment"]["HpoExperimentConfiguration"]["metric_config"]["final_mode"] = "last"
    with pytest.raises(RequestRejected) as caught:
        parse(document)
    assert [violation.rule for violation in caught.value.violations] == ["enum"]


def test_warnings_about_secrets_take_linear_time(count_calls):
    """Each message is masked, and what that needs of the secrets is computed once per request."""

    def count(size):
        document = copy.deepcopy(MINIMAL)
        tuner = {"name": "TPE", "class_args": {f"pwd{n}": f"+{n:04d}" for n in range(size)}}
        put(document, "/experiment/HpoExperimentConfiguration/yml_config", {"tuner": tuner})
        body = json.dumps(document).encode()
        assert len(parse_request(body).warnings) >= size
        return count_calls(lambda: parse_request(body))

    few, many = count(100), count(400)
    assert many < 4.5 * few


@pytest.mark.parametrize("place", ["/guard", "/experiment/HpoExperimentConfiguration/yml_config"])
def test_white_space_after_a_number_takes_linear_time(place):
    """The patterns of a number in quotes match white space in one way only."""
    for text in (f"1{' ' * 10**5}!", f"1h{' ' * 10**5}!"):
        document = copy.deepcopy(MINIMAL)
        put(document, place, {"maxHours": text} if place == "/guard" else {"max_trial_number": text})
        with pytest.raises(RequestRejected):
            parse(document)
