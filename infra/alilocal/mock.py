"""`mock_alicloud`: a local cloud in the place of Alibaba Cloud, for code that cannot be told where to send.

For as long as it is in force, connections of `http.client`, `urllib3` and `requests` to Alibaba Cloud's hosts, plain
or TLS, end at a local cloud inside the process; all other hosts are left alone. The standard variables for
credentials hold those of the local cloud meanwhile.
"""

from __future__ import annotations

import contextlib
import functools
import inspect
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack
from types import TracebackType
from typing import Any, TypeVar, cast, overload

from alilocal.cloud import LocalCloud
from alilocal.connections import Connections
from alilocal.core.clock import TimeSource
from alilocal.mockclass import decorate, given, without_cloud
from alilocal.takeover import taken_over

HOSTS = ("aliyuncs.com",)
"""The domains whose hosts are taken over."""

Target = TypeVar("Target", bound=Callable[..., Any])


class MockAlicloud:
    """A context manager that gives the LocalCloud, and a decorator of functions, coroutine functions and classes
    (each of their tests, with its `setUp` or `setup_method`). Every entry makes a new cloud."""

    def __init__(self, *, hosts: Sequence[str] = HOSTS, **options: Any) -> None:
        domains = [hosts] if isinstance(hosts, str) else hosts
        self._hosts = tuple(domain.lower().removeprefix("*.") for domain in domains)
        self._options = options
        self._entered: list[ExitStack] = []

    @contextlib.contextmanager
    def cloud(self) -> Iterator[LocalCloud]:
        """A new cloud in the place of Alibaba Cloud, for as long as the context lasts."""
        with (
            LocalCloud(**self._options) as cloud,
            Connections(cloud) as line,
            taken_over(cloud, line, self._hosts),
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
        """`target` in a cloud of its own each time; it gets the cloud as `cloud` if it has such a parameter."""
        if inspect.isclass(target):
            decorate(target, self)
            return target
        wrapped = self._async(target) if inspect.iscoroutinefunction(target) else self._plain(target)
        return cast("Target", without_cloud(wrapped, target))

    def _plain(self, target: Callable[..., Any]) -> Callable[..., Any]:
        @functools.wraps(target)
        def wrapped(*args: Any, **kwargs: Any) -> Any:
            with self.cloud() as cloud:
                return target(*args, **kwargs, **given(target, cloud))

        return wrapped

    def _async(self, target: Callable[..., Any]) -> Callable[..., Any]:
        @functools.wraps(target)
        async def wrapped(*args: Any, **kwargs: Any) -> Any:
            with self.cloud() as cloud:
                return await target(*args, **kwargs, **given(target, cloud))

        return wrapped


@overload
def mock_alicloud(target: Target, /) -> Target: ...


@overload
def mock_alicloud(
    *,
    hosts: Sequence[str] = HOSTS,
    clock: TimeSource | None = None,
    seed: int | None = None,
    region: str = ...,
) -> MockAlicloud: ...


def mock_alicloud(target: Any = None, /, **options: Any) -> Any:
    """`with mock_alicloud() as cloud:`, `@mock_alicloud`, or `@mock_alicloud(seed=1)`.

    Options are those of LocalCloud, and `hosts`, the domains to take over, each with all that is below it.
    """
    made = MockAlicloud(**options)
    return made if target is None else made(target)
