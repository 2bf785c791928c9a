"""The decorators of `mock_alicloud`: each call of a function, and each test of a class, has a cloud of its own."""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager, ExitStack, aclosing
from typing import Any

from alilocal.cloud import Cloud

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
