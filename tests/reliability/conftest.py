"""The world of the reliability tests."""

import pytest

from support.world import World


@pytest.fixture
def world():
    with World() as running:
        yield running
