"""Fixtures for pytest, registered with the distribution.

`mock_alicloud`: a LocalCloud in the place of Alibaba Cloud. `local_cloud`: one that only its own sessions reach.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from alilocal.cloud import LocalCloud


@pytest.fixture
def mock_alicloud() -> Iterator[LocalCloud]:
    """A local cloud that all clients of this test reach under the real hosts, with the standard variables set."""
    import alilocal

    with alilocal.mock_alicloud() as cloud:
        yield cloud


@pytest.fixture
def local_cloud() -> Iterator[LocalCloud]:
    """A local cloud that is reached through `local_cloud.session()` or `alilocal.serve(cloud=local_cloud)`."""
    import alilocal

    with alilocal.LocalCloud() as cloud:
        yield cloud
