"""`mock_alicloud`: replaces Alibaba Cloud by a local cloud, for code whose endpoint cannot be configured.

While it is active, connections of `http.client`, `urllib3`, `requests` and `aiohttp` to Alibaba Cloud's hosts, with
or without TLS, end at a local cloud in this process. Other clients are refused, and all other hosts are left alone.
The standard variables for credentials hold those of the local cloud meanwhile. `takeover.py` patches the connections,
`mockclass.py` decorates test classes.
"""

from __future__ import annotations

import contextlib
import inspect
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack
from types import TracebackType
from typing import TYPE_CHECKING, Any, TypeVar, cast, overload

from alilocal.connections import Connections
from alilocal.core.clock import TimeSource
from alilocal.core.foreign import MAXCOMPUTE_DOMAINS, OFFICIAL_DOMAIN
from alilocal.localcloud import LocalCloud
from alilocal.mockclass import decorate_class, decorate_function
from alilocal.takeover import take_over

if TYPE_CHECKING:
    from alilocal.trials.engine import TrialOptions

HOSTS = (OFFICIAL_DOMAIN, "fcapp.run", *MAXCOMPUTE_DOMAINS)
"""The domains whose hosts are taken over: those of the services, and of functions that are called by a URL."""

Target = TypeVar("Target", bound=Callable[..., Any])


class MockAlicloud:
    """A context manager that returns the LocalCloud, and a decorator of functions of any kind and classes.

    A class is decorated test by test, each with its `setUp` or `setup_method`. Every entry makes a new cloud.
    """

    def __init__(self, *, hosts: Sequence[str] = HOSTS, **options: Any) -> None:
        domains = [hosts] if isinstance(hosts, str) else hosts
        self._hosts = tuple(domain.lower().removeprefix("*.") for domain in domains)
        self._options = options
        self._entered: list[ExitStack] = []

    @contextlib.contextmanager
    def cloud(self) -> Iterator[LocalCloud]:
        """Replace Alibaba Cloud by a new local cloud within the context."""
        with (
            LocalCloud(**self._options) as cloud,
            Connections(cloud) as connections,
            take_over(cloud, connections, self._hosts),
        ):
            yield cloud

    def __enter__(self) -> LocalCloud:
        with ExitStack() as undo:
            cloud = undo.enter_context(self.cloud())
            self._entered.append(undo.pop_all())
        return cloud

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._entered.pop().__exit__(kind, value, trace)

    def __call__(self, target: Target) -> Target:
        """Return `target` decorated: each call has a new cloud, and gets it if it has a parameter `cloud`."""
        if inspect.isclass(target):
            decorate_class(target, self.cloud)
            return target
        return cast("Target", decorate_function(target, self.cloud))


@overload
def mock_alicloud(target: Target, /) -> Target: ...


@overload
def mock_alicloud(
    *,
    hosts: Sequence[str] = HOSTS,
    clock: TimeSource | None = None,
    seed: int | None = None,
    region: str = ...,
    run_trials: bool | TrialOptions = ...,
) -> MockAlicloud: ...


def mock_alicloud(target: Any = None, /, **options: Any) -> Any:
    """Use it as `with mock_alicloud() as cloud:`, as `@mock_alicloud`, or as `@mock_alicloud(seed=1)`.

    The options are those of LocalCloud, and `hosts`: the domains to take over, each with all hosts below it.
    """
    made = MockAlicloud(**options)
    return made if target is None else made(target)
