"""A local Alibaba Cloud for tests and development: PAI AutoML, SMQ and event streams.

    with alilocal.LocalCloud() as cloud:
        cloud.queues.create("orders").send("hello")
        client = Client(endpoint=cloud.endpoint, session=cloud.session())

`LocalCloud` works inside the process, without ports; `serve` puts one on a loopback port for clients that
cannot be given a session, and `mock_alicloud` takes the real hosts over for the length of a test.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from alilocal.cloud import LocalCloud
from alilocal.server import Server, serve

if TYPE_CHECKING:
    from alilocal.mock import mock_alicloud

__all__ = ["LocalCloud", "Server", "mock_alicloud", "serve"]


def __getattr__(name: str) -> object:
    # What few need and costs an import is loaded when it is asked for.
    if name == "mock_alicloud":
        from alilocal.mock import mock_alicloud

        return mock_alicloud
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
