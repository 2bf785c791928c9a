"""Fixtures for pytest, registered with the distribution.

`mock_alicloud` is a LocalCloud that replaces Alibaba Cloud. `local_cloud` is one that only its own sessions reach.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from alilocal.localcloud import LocalCloud


@pytest.fixture
def mock_alicloud() -> Iterator[LocalCloud]:
    """Provide a local cloud that all clients of the test reach under the real hosts; variables are set."""
    import alilocal

    with alilocal.mock_alicloud() as cloud:
        yield cloud


@pytest.fixture
def local_cloud() -> Iterator[LocalCloud]:
    """Provide a local cloud, which is reached with `local_cloud.session()` or `alilocal.serve(cloud=local_cloud)`."""
    import alilocal

    with alilocal.LocalCloud() as cloud:
        yield cloud
