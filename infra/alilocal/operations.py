"""The supported operations of each service: `python -m alilocal.operations` prints the lists of the README."""

from __future__ import annotations

import sys
from collections.abc import Iterator

from alilocal.core.service import Service, operations
from alilocal.localcloud import LocalCloud


def markdown(cloud: LocalCloud) -> str:
    """Return a list of the operations of each service, first those that are supported as a whole."""
    return "\n".join(line for service in cloud.services for line in _list(service))


def _list(service: Service) -> Iterator[str]:
    rows: dict[str, list[str]] = {}
    for operation in operations(service):
        if operation.support != "no":
            rows.setdefault(operation.support, []).append(operation.name)
    yield f"- **{service.title}**: {', '.join(rows.pop('yes'))}"
    for support, names in rows.items():
        yield f"  - in part {', '.join(names)}: {support.removeprefix('partly: ')}"


if __name__ == "__main__":
    with LocalCloud() as _cloud:
        sys.stdout.write(markdown(_cloud) + "\n")
