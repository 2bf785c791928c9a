"""Tables of cases: a test that takes all its arguments from `parametrize` runs all its cases as one test.

pytest takes 2 to 4 ms for each test besides what the test does, which is more than most cases of a table take.
"""

import functools
import inspect
import itertools
import os

import pytest

_Parameters = type(pytest.param(0))


def is_apart(config):
    """Return whether each case is a test of its own: cases are selected, or TEST_APART is set."""
    return bool(config.option.keyword) or any("[" in arg for arg in config.args) or "TEST_APART" in os.environ


def join_cases(collector, name, function):
    """Return one item for all cases of a test without fixtures and other markers, or None if it is not such a test.

    Cases share what the fixture `isolated` undoes after each test.
    """
    marks = getattr(function, "pytestmark", ())
    if not marks or not inspect.isfunction(function) or hasattr(function, "hypothesis"):
        return None
    tables = [read_table(mark) for mark in marks]
    if not all(tables):
        return None
    # What is parametrized twice is an error, which pytest reports.
    names = [name for table in tables for name in table[0]]
    if sorted(names) != sorted(inspect.signature(function).parameters):
        return None

    @functools.wraps(function)
    def run():
        run_cases(function, tables)

    run.__signature__ = inspect.Signature()
    run.pytestmark = []
    item = pytest.Function.from_parent(collector, name=name, callobj=run)
    return item if item.fixturenames == ["isolated"] else None


def read_table(mark):
    """Return the arguments of each case of a `parametrize` that any function can run, or None."""
    if mark.name != "parametrize" or len(mark.args) != 2 or mark.kwargs.keys() - {"ids"}:
        return None
    names, values = mark.args
    if iter(values) is values:
        return None  # it can be read only once
    is_single = False
    if isinstance(names, str):
        names = [name.strip() for name in names.split(",") if name.strip()]
        is_single = len(names) == 1
    cases = []
    for value in values:
        if not isinstance(value, _Parameters):
            value = pytest.param(value) if is_single else pytest.param(*value)
        if value.marks:
            return None
        cases.append(dict(zip(names, value.values, strict=True)))
    return cases


def run_cases(function, tables):
    """Call the test once for each combination of cases; fail with each case that failed."""
    __tracebackhide__ = True
    labels, failures, skipped = [], [], None
    for cases in itertools.product(*tables):
        arguments = {name: value for case in cases for name, value in case.items()}
        try:
            # What a coroutine or a generator would test is not run by its call.
            assert function(**arguments) is None, "the test returns a value"
        except pytest.skip.Exception as error:
            skipped = error
        except (Exception, pytest.fail.Exception) as error:  # noqa: BLE001 - whatever a case raises fails it
            labels.append(", ".join(f"{name}={value!r:.200}" for name, value in arguments.items()))
            trace = pytest.ExceptionInfo.from_exception(error).getrepr(style="long")
            failures.append(f"---- {labels[-1]} ----\n\n{trace}")
    if failures:
        pytest.fail("\n\n".join([f"these cases failed: {' | '.join(labels)}", *failures]), pytrace=False)
    if skipped is not None:
        raise skipped
