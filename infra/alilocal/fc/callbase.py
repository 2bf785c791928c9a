"""What the handlers of all operations of Function Compute share."""

from __future__ import annotations

from collections.abc import Callable

from alilocal.core.world import World
from alilocal.fc import wire
from alilocal.fc.errors import InvocationDisabled, PayloadTooLarge, TooManyRequests
from alilocal.fc.functionhost import Deployed, FunctionHost
from alilocal.fc.model import MOST_ASYNC_BYTES, MOST_SYNC_BYTES
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

    def _check_callable(self, deployed: Deployed) -> None:
        """Raise InvocationDisabled or TooManyRequests for a function that cannot be called now."""
        most = deployed.most_instances
        if self._registry.get(deployed.name).disabled:
            raise InvocationDisabled(deployed.name)
        if most is not None and self._host().busy(deployed.name) >= most:
            raise TooManyRequests(deployed.name, most)

    @staticmethod
    def _check_size(event: bytes, *, is_async: bool) -> None:
        """Raise PayloadTooLarge for an event above the limit of its kind of call."""
        most = MOST_ASYNC_BYTES if is_async else MOST_SYNC_BYTES
        if len(event) > most:
            raise PayloadTooLarge(most)
