"""The operations of a service, and how far each is supported."""

from __future__ import annotations

from dataclasses import dataclass

from alilocal.core.service import Service


@dataclass(frozen=True)
class Operation:
    """An operation of the cloud. `missing` says what is left out here; unless `supported`, everything is."""

    name: str
    supported: bool = True
    missing: str = ""

    @property
    def support(self) -> str:
        """How far the operation is supported, in a word or a phrase."""
        if not self.supported:
            return "no"
        return f"partly: {self.missing}" if self.missing else "yes"


def operations(service: Service) -> list[Operation]:
    """Return all operations of `service` in the order of its routes; those without a route come last."""
    found: dict[str, Operation] = {}
    for route in service.routes:
        found.setdefault(route.operation, Operation(route.operation, route.supported, route.missing))
    return [*found.values(), *(Operation(name, supported=False) for name in service.unsupported)]
