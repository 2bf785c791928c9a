"""Which operations of each service the local cloud has: `python -m alilocal.operations` prints the README's table."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from dataclasses import dataclass

from alilocal.cloud import LocalCloud
from alilocal.core.service import Service


@dataclass(frozen=True)
class Operation:
    """An operation of the cloud. `missing` tells what is left out here, all of it if not `supported`."""

    name: str
    supported: bool = True
    missing: str = ""

    @property
    def told(self) -> str:
        """How far it is supported, in a word or a sentence."""
        if not self.supported:
            return "no"
        return f"partly: {self.missing}" if self.missing else "yes"


def operations(service: Service) -> list[Operation]:
    """Every operation of `service`, in the order of its routes, those without one last."""
    found: dict[str, Operation] = {}
    for route in service.routes:
        found.setdefault(route.operation, Operation(route.operation, route.supported, route.missing))
    return [*found.values(), *(Operation(name, supported=False) for name in service.unsupported)]


def markdown(cloud: LocalCloud) -> str:
    """A table for each service; operations that are told the same stand in one row."""
    return "\n".join(line for service in cloud.services for line in _table(service))


def _table(service: Service) -> Iterator[str]:
    rows: dict[str, list[str]] = {}
    for operation in operations(service):
        rows.setdefault(operation.told, []).append(operation.name)
    yield from (f"### {service.title}", "", "| supported | operations |", "|---|---|")
    # What is there first, what is not there last.
    for told in sorted(rows, key=lambda told: (told == "no", told != "yes")):
        yield f"| {told} | {', '.join(rows[told])} |"
    yield ""


if __name__ == "__main__":
    with LocalCloud() as _cloud:
        sys.stdout.write(markdown(_cloud))
