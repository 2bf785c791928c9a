"""`mock_alicloud`: a local cloud in the place of Alibaba Cloud, for code that cannot be told where to send.

For as long as it is in force, connections of `http.client`, `urllib3` and `requests` to Alibaba Cloud's hosts, plain
or TLS, end at a local cloud inside the process; all other hosts are left alone. The standard variables for
credentials hold those of the local cloud meanwhile.
"""

from __future__ import annotations

import contextlib
import functools
import http.client
import inspect
import os
import socket
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack
from types import TracebackType
from typing import Any, TypeVar, cast, overload

from alilocal.cloud import LocalCloud
from alilocal.connections import Connections
from alilocal.core.clock import TimeSource

HOSTS = ("aliyuncs.com",)
"""The domains whose hosts are taken over."""
_ARGUMENT = "cloud"

Target = TypeVar("Target", bound=Callable[..., Any])


class MockAlicloud:
    """A context manager that gives the LocalCloud, and a decorator of functions, coroutine functions and classes
    (their methods `test*`). Every entry makes a new cloud."""

    def __init__(self, *, hosts: Sequence[str] = HOSTS, **options: Any) -> None:
        self._hosts = tuple(hosts)
        self._options = options
        self._entered: list[ExitStack] = []

    def __enter__(self) -> LocalCloud:
        stack = ExitStack()
        with contextlib.ExitStack() as undo:
            cloud = undo.enter_context(LocalCloud(**self._options))
            line = undo.enter_context(Connections(cloud))
            undo.enter_context(_connecting(line, self._hosts))
            undo.enter_context(_environment(cloud))
            stack = undo.pop_all()
        self._entered.append(stack)
        return cloud

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._entered.pop().__exit__(kind, value, trace)

    def __call__(self, target: Target) -> Target:
        """`target` in a cloud of its own each time; it gets the cloud as `cloud` if it has such a parameter."""
        if inspect.isclass(target):
            for name, method in list(vars(target).items()):
                if name.startswith("test") and inspect.isfunction(method):
                    setattr(target, name, self(method))
            return target
        wrapped = self._async(target) if inspect.iscoroutinefunction(target) else self._plain(target)
        signature = inspect.signature(target)
        kept = [one for name, one in signature.parameters.items() if name != _ARGUMENT]
        # A test runner must not look for a fixture of that name.
        wrapped.__signature__ = signature.replace(parameters=kept)  # type: ignore[attr-defined]
        return cast("Target", wrapped)

    def _plain(self, target: Callable[..., Any]) -> Callable[..., Any]:
        @functools.wraps(target)
        def wrapped(*args: Any, **kwargs: Any) -> Any:
            with self as cloud:
                return target(*args, **kwargs, **_given(target, cloud))

        return wrapped

    def _async(self, target: Callable[..., Any]) -> Callable[..., Any]:
        @functools.wraps(target)
        async def wrapped(*args: Any, **kwargs: Any) -> Any:
            with self as cloud:
                return await target(*args, **kwargs, **_given(target, cloud))

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

    Options are those of LocalCloud, and `hosts`, the domains to take over.
    """
    made = MockAlicloud(**options)
    return made if target is None else made(target)


def _given(target: Callable[..., Any], cloud: LocalCloud) -> Mapping[str, LocalCloud]:
    return {_ARGUMENT: cloud} if _ARGUMENT in inspect.signature(target).parameters else {}


@contextlib.contextmanager
def _environment(cloud: LocalCloud) -> Iterator[None]:
    given = {
        "ALIBABA_CLOUD_ACCESS_KEY_ID": cloud.access_key_id,
        "ALIBABA_CLOUD_ACCESS_KEY_SECRET": cloud.access_key_secret,
        "ALIBABA_CLOUD_ECS_METADATA_DISABLED": "true",
        # A proxy would be connected to in the place of the cloud.
        "NO_PROXY": "*",
        "no_proxy": "*",
    }
    before = dict(os.environ)
    os.environ.update(given)
    os.environ.pop("ALIBABA_CLOUD_SECURITY_TOKEN", None)
    try:
        yield
    finally:
        for name in (*given, "ALIBABA_CLOUD_SECURITY_TOKEN"):
            os.environ.pop(name, None)
            if name in before:
                os.environ[name] = before[name]


@contextlib.contextmanager
def _patched(owner: type, name: str, value: object) -> Iterator[None]:
    had, before = name in vars(owner), getattr(owner, name)
    setattr(owner, name, value)
    try:
        yield
    finally:
        if had:
            setattr(owner, name, before)
        else:
            delattr(owner, name)


@contextlib.contextmanager
def _connecting(line: Connections, hosts: Sequence[str]) -> Iterator[None]:
    """Let connections to `hosts` be ends of `line`."""
    import urllib3.connection

    def is_taken(host: str) -> bool:
        name = host.lower().rstrip(".")
        return any(name == domain or name.endswith(f".{domain}") for domain in hosts)

    def patched(kind: type) -> Any:
        original = kind.connect  # type: ignore[attr-defined]

        def connect(connection: Any) -> None:
            if not is_taken(connection.host):
                original(connection)
                return
            connection.sock = _opened(line, connection.timeout)
            # urllib3 warns of a TLS connection that was not verified.
            connection.is_verified = True

        return _patched(kind, "connect", connect)

    original_send = http.client.HTTPConnection.send

    def send(connection: Any, data: Any) -> None:
        # A class of its own `connect`, like that of aliyun-mns-sdk, still sends through this.
        if connection.sock is None and is_taken(connection.host):
            connection.sock = _opened(line, connection.timeout)
        original_send(connection, data)

    with ExitStack() as stack:
        stack.enter_context(_patched(http.client.HTTPConnection, "send", send))
        for kind in (
            http.client.HTTPConnection,
            http.client.HTTPSConnection,
            urllib3.connection.HTTPConnection,
            urllib3.connection.HTTPSConnection,
        ):
            stack.enter_context(patched(kind))
        yield


def _opened(line: Connections, timeout: object) -> socket.socket:
    connection = line.pair()
    # Libraries have objects of their own for "no value".
    connection.settimeout(timeout if isinstance(timeout, (int, float)) else socket.getdefaulttimeout())
    return connection
