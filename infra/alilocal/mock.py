"""`mock_alicloud`: replaces Alibaba Cloud by a local cloud, for code whose endpoint cannot be configured.

While it is active, connections of `http.client`, `urllib3`, `requests` and `aiohttp` to Alibaba Cloud's hosts, with
or without TLS, end at a local cloud in this process. Other clients are refused, and all other hosts are left alone.
The standard variables for credentials hold those of the local cloud meanwhile. `takeover.py` patches the connections.
"""

from __future__ import annotations

import contextlib
import functools
import inspect
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, ExitStack, aclosing
from types import TracebackType
from typing import TYPE_CHECKING, Any, TypeVar, cast, overload

from alilocal.cloud import Cloud
from alilocal.connections import Connections
from alilocal.core.clock import TimeSource
from alilocal.core.foreign import MAXCOMPUTE_DOMAINS, OFFICIAL_DOMAIN
from alilocal.localcloud import LocalCloud
from alilocal.takeover import take_over

if TYPE_CHECKING:
    from alilocal.trials.engine import TrialOptions

_ARGUMENT = "cloud"
_KEPT = "_alilocal_entered"
_HOOKS = ("setUp", "tearDown", "asyncSetUp", "asyncTearDown", "setup_method", "teardown_method")

Method = Callable[..., Any]
OpenCloud = Callable[[], AbstractContextManager[Cloud]]


def decorate_function(target: Method, open_cloud: OpenCloud) -> Method:
    """Return `target` with a cloud of its own for each call.

    `target` may be a coroutine function, or a generator function such as a pytest fixture, whose cloud lasts until
    the generator ends.
    """

    @functools.wraps(target)
    def plain(*args: Any, **kwargs: Any) -> Any:
        with open_cloud() as cloud:
            return target(*args, **kwargs, **_cloud_argument(target, cloud))

    @functools.wraps(target)
    async def awaited(*args: Any, **kwargs: Any) -> Any:
        with open_cloud() as cloud:
            return await target(*args, **kwargs, **_cloud_argument(target, cloud))

    @functools.wraps(target)
    def generated(*args: Any, **kwargs: Any) -> Any:
        with open_cloud() as cloud:
            return (yield from target(*args, **kwargs, **_cloud_argument(target, cloud)))

    @functools.wraps(target)
    async def generated_later(*args: Any, **kwargs: Any) -> Any:
        with open_cloud() as cloud:
            async with aclosing(target(*args, **kwargs, **_cloud_argument(target, cloud))) as running:
                async for one in running:
                    yield one

    if inspect.isasyncgenfunction(target):
        wrapper: Method = generated_later
    elif inspect.isgeneratorfunction(target):
        wrapper = generated
    else:
        wrapper = awaited if inspect.iscoroutinefunction(target) else plain
    return _hide_argument(wrapper, target)


def decorate_class(target: type, open_cloud: OpenCloud) -> None:
    """Change a class so that each of its tests, inherited ones too, runs in a cloud of its own.

    The cloud is open from before the set-up until after the clean-up. unittest calls both from `run`; pytest calls
    `setup_method` and `teardown_method`, which are replaced if the class has one of them. Test classes that are
    defined inside the class are changed too, because pytest collects their tests; of inherited ones, the class gets
    subclasses.
    """
    import unittest

    wrapped: dict[str, Any]
    methods = {
        name: method
        for name in dir(target)
        if inspect.isfunction(method := inspect.getattr_static(target, name))
        and (_is_test(name) or name in _HOOKS)
    }
    if issubclass(target, unittest.TestCase):
        wrapped = {name: _pass_cloud(method) for name, method in methods.items() if _wants_cloud(method)}
        wrapped["run"] = _wrap_run(target.run, open_cloud)
    elif "setup_method" in methods or "teardown_method" in methods:
        wrapped = {name: _pass_cloud(method) for name, method in methods.items() if _wants_cloud(method)}
        first = wrapped.get("setup_method", methods.get("setup_method"))
        wrapped["setup_method"] = _wrap_setup(first, open_cloud)
        last = wrapped.get("teardown_method", methods.get("teardown_method"))
        wrapped["teardown_method"] = _wrap_teardown(last)
    else:
        wrapped = {
            name: decorate_function(method, open_cloud)
            for name, method in methods.items()
            if name not in _HOOKS
        }
        for name in filter(_is_test, dir(target)):
            method = inspect.getattr_static(target, name)
            if isinstance(method, (staticmethod, classmethod)):
                wrapped[name] = type(method)(decorate_function(method.__func__, open_cloud))
    for name, one in _find_inner_classes(target):
        inner = one if name in vars(target) else type(one.__name__, (one,), {"__module__": one.__module__})
        decorate_class(inner, open_cloud)
        wrapped[name] = inner
    for name, method in wrapped.items():
        setattr(target, name, method)


def _find_inner_classes(target: type) -> list[tuple[str, type]]:
    """Return the test classes that are defined inside `target` or its parents, by name, but no other attribute."""
    places = {f"{owner.__qualname__}." for owner in target.__mro__}
    attributes = ((name, inspect.getattr_static(target, name)) for name in dir(target))
    return [
        (name, one)
        for name, one in attributes
        if name.startswith("Test") and inspect.isclass(one) and one.__qualname__.removesuffix(name) in places
    ]


def _is_test(name: str) -> bool:
    return name.startswith("test")


def _wants_cloud(method: Method) -> bool:
    return _ARGUMENT in inspect.signature(method).parameters


def _cloud_argument(target: Method, cloud: Cloud) -> Mapping[str, Cloud]:
    return {_ARGUMENT: cloud} if _wants_cloud(target) else {}


def _hide_argument(wrapped: Method, target: Method) -> Method:
    """Return `wrapped` without the parameter `cloud`, for which pytest would look for a fixture."""
    signature = inspect.signature(target)
    kept = [one for name, one in signature.parameters.items() if name != _ARGUMENT]
    wrapped.__signature__ = signature.replace(parameters=kept)  # type: ignore[attr-defined]
    return wrapped


def _pass_cloud(method: Method) -> Method:
    """Return `method` with the cloud of its test case as an argument."""

    @functools.wraps(method)
    def plain(case: Any, *args: Any, **kwargs: Any) -> Any:
        return method(case, *args, cloud=vars(case)[_KEPT][1], **kwargs)

    @functools.wraps(method)
    async def awaited(case: Any, *args: Any, **kwargs: Any) -> Any:
        return await method(case, *args, cloud=vars(case)[_KEPT][1], **kwargs)

    return _hide_argument(awaited if inspect.iscoroutinefunction(method) else plain, method)


def _wrap_run(run: Method, open_cloud: OpenCloud) -> Method:
    """Return a test case's `run`, which calls everything that belongs to one test, inside a cloud."""

    @functools.wraps(run)
    def wrapped(case: Any, result: Any = None) -> Any:
        with open_cloud() as cloud:
            vars(case)[_KEPT] = (None, cloud)
            return run(case, result)

    return wrapped


def _wrap_setup(setup: Method | None, open_cloud: OpenCloud) -> Method:
    takes_method = setup is not None and len(inspect.signature(setup).parameters) > 1

    # pytest passes the test's method if the signature has a second parameter, so this one always has it.
    def setup_method(case: Any, method: Any) -> None:
        with ExitStack() as stack:
            vars(case)[_KEPT] = (stack, stack.enter_context(open_cloud()))
            if setup is not None:
                setup(case, *([method] if takes_method else []))
            vars(case)[_KEPT] = (stack.pop_all(), vars(case)[_KEPT][1])

    return setup_method


def _wrap_teardown(teardown: Method | None) -> Method:
    takes_method = teardown is not None and len(inspect.signature(teardown).parameters) > 1

    def teardown_method(case: Any, method: Any) -> None:
        entered: AbstractContextManager[Any] = vars(case)[_KEPT][0]
        with entered:
            if teardown is not None:
                teardown(case, *([method] if takes_method else []))

    return teardown_method


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
