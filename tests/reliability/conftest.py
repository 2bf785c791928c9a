"""The world of the reliability tests, and the choice of cells from their large matrices."""

import zlib
from collections import defaultdict

import pytest

from support.budget import BUDGET, FULL_BUDGET
from support.world import World


@pytest.fixture
def world():
    with World() as running:
        yield running


def pytest_collection_modifyitems(config, items):
    """Keep one value of the parameters that the marker `one_of` names, for each combination of the others.

    Which one is the same in every run, and differs between combinations. With the full budget all are run.
    """
    cells = defaultdict(list)
    for item in items:
        marker = item.get_closest_marker("one_of")
        if marker is not None and BUDGET < FULL_BUDGET:
            others = {name: value for name, value in item.callspec.params.items() if name not in marker.args}
            cells[item.originalname, repr(others)].append(item)
    left_out = {
        item
        for cell, alike in cells.items()
        for item in alike
        if item is not alike[zlib.crc32(repr(cell).encode()) % len(alike)]
    }
    config.hook.pytest_deselected(items=[item for item in items if item in left_out])
    items[:] = [item for item in items if item not in left_out]
