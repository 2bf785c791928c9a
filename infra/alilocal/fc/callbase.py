"""What the handlers of all operations of Function Compute share."""

from __future__ import annotations

from collections.abc import Callable

from alilocal.core.world import World
from alilocal.fc import wire
from alilocal.fc.functionhost import FunctionHost
from alilocal.fc.registry import Registry
from alilocal.fc.switches import FunctionComputeSwitches


class CallBase:
    """The world, the functions that were created, and a way to the host that runs them."""

    def __init__(
        self, world: World[FunctionComputeSwitches], registry: Registry, host: Callable[[], FunctionHost]
    ) -> None:
        self._world = world
        self._registry = registry
        self._host = host
        self._names = wire.Names(world.region, world.account_id)
