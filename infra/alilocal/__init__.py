"""A local Alibaba Cloud for tests and development: PAI AutoML, SMQ, Tablestore, EventBridge, STS and functions.

    with alilocal.LocalCloud() as cloud:
        cloud.queues.create("orders").send("hello")
        client = Client(endpoint=cloud.endpoint, session=cloud.session())

`LocalCloud` works inside the process, without ports. `serve` puts one on a loopback port, for clients that cannot be
given a session. `mock_alicloud` takes over the real hosts for the duration of a test. The parts:

    core/          what all services share: requests, signatures, clock, faults, log
    smq/ ...       one folder per service, all with the same files; a small service is one module
    services.py    the list of services
    cloud.py       state, dispatch and snapshots; localcloud.py adds functions and the console
    fc/            functions; eventstream/ feeds them from queues
    trials/        the engine that runs trials on this machine, if it is switched on
    control/       the control API and the console
    connections.py, server.py, mock.py, takeover.py   the ways in

To add an operation or a service, see CONTRIBUTING.md.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from alilocal.localcloud import LocalCloud
    from alilocal.mock import mock_alicloud
    from alilocal.server import Server, serve

__all__ = ["LocalCloud", "Server", "mock_alicloud", "serve"]

_MODULES = {
    "LocalCloud": "alilocal.localcloud",
    "Server": "alilocal.server",
    "mock_alicloud": "alilocal.mock",
    "serve": "alilocal.server",
}


def __getattr__(name: str) -> object:
    # Each name is imported at its first use. pytest loads this package for its plugin at every start, also where no
    # test needs a cloud: 1 ms instead of 110 ms.
    if name in _MODULES:
        return getattr(importlib.import_module(_MODULES[name]), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
