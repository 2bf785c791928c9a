"""Unit tests without fixtures run all cases of a table as one test."""

import pytest

from support.tables import is_apart, join_cases


def pytest_pycollect_makeitem(collector, name, obj):
    """Return one item for all cases, if they need no item each."""
    if not isinstance(collector, pytest.Module) or not collector.funcnamefilter(name):
        return None
    # A marker of the module may be meant for each case, as xfail is.
    is_split = collector.own_markers or is_apart(collector.config)
    return None if is_split else join_cases(collector, name, obj)
