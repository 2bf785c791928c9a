"""The supported operations of each service: `python -m alilocal.operations` prints the tables of the README."""

from __future__ import annotations

import sys
from collections.abc import Iterator

from alilocal.core.service import Service, operations
from alilocal.localcloud import LocalCloud


def markdown(cloud: LocalCloud) -> str:
    """Return a table of each service's supported operations, with one row for those that are supported alike."""
    return "\n".join(line for service in cloud.services for line in _table(service))


def _table(service: Service) -> Iterator[str]:
    rows: dict[str, list[str]] = {}
    for operation in operations(service):
        if operation.support != "no":
            rows.setdefault(operation.support, []).append(operation.name)
    yield from (f"### {service.title}", "", "| supported | operations |", "|---|---|")
    for support in sorted(rows, key=lambda support: support != "yes"):
        yield f"| {support} | {', '.join(rows[support])} |"
    yield ""


if __name__ == "__main__":
    with LocalCloud() as _cloud:
        sys.stdout.write(markdown(_cloud))
