"""A local Alibaba Cloud for tests and development: PAI AutoML, SMQ and event streams.

    with alilocal.LocalCloud() as cloud:
        cloud.queues.create("orders").send("hello")
        client = Client(endpoint=cloud.endpoint, session=cloud.session())

`LocalCloud` works inside the process, without ports; `serve` puts one on a loopback port for clients that
cannot be given a session.
"""

from __future__ import annotations

from alilocal.cloud import LocalCloud
from alilocal.server import Server, serve

__all__ = ["LocalCloud", "Server", "serve"]
