"""`mock_alicloud` on a class: each test in a cloud of its own, with what is run before and after it."""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager, ExitStack
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from alilocal.cloud import LocalCloud
    from alilocal.mock import MockAlicloud

_ARGUMENT = "cloud"
_KEPT = "_alilocal_entered"
_HOOKS = ("setUp", "tearDown", "asyncSetUp", "asyncTearDown", "setup_method", "teardown_method")

Method = Callable[..., Any]


def given(target: Method, cloud: LocalCloud) -> Mapping[str, LocalCloud]:
    """The cloud as an argument, if `target` has a parameter for it."""
    return {_ARGUMENT: cloud} if _wants(target) else {}


def without_cloud(wrapped: Method, target: Method) -> Method:
    """`wrapped`, which gives `target` its cloud: a test runner must not look for a fixture of that name."""
    signature = inspect.signature(target)
    kept = [one for name, one in signature.parameters.items() if name != _ARGUMENT]
    wrapped.__signature__ = signature.replace(parameters=kept)  # type: ignore[attr-defined]
    return wrapped


def decorate(target: type, mock: MockAlicloud) -> None:
    """Have the tests of `target`, inherited ones too, run in clouds of `mock`."""
    import unittest

    methods = {
        name: method
        for name in dir(target)
        if inspect.isfunction(method := inspect.getattr_static(target, name))
        and (name.startswith("test") or name in _HOOKS)
    }
    if issubclass(target, unittest.TestCase):
        wrapped = {name: _handed(method) for name, method in methods.items() if _wants(method)}
        wrapped["run"] = _around_run(target.run, mock)
    elif "setup_method" in methods:
        wrapped = {name: _handed(method) for name, method in methods.items() if _wants(method)}
        wrapped["setup_method"] = _entering(wrapped.get("setup_method", methods["setup_method"]), mock)
        last = wrapped.get("teardown_method", methods.get("teardown_method"))
        wrapped["teardown_method"] = _leaving(last)
    else:
        wrapped = {name: mock(method) for name, method in methods.items() if name not in _HOOKS}
    for name, method in wrapped.items():
        setattr(target, name, method)


def _wants(method: Method) -> bool:
    return _ARGUMENT in inspect.signature(method).parameters


def _handed(method: Method) -> Method:
    """`method`, given the cloud that its instance is in."""

    @functools.wraps(method)
    def plain(case: Any, *args: Any, **kwargs: Any) -> Any:
        return method(case, *args, cloud=vars(case)[_KEPT][1], **kwargs)

    @functools.wraps(method)
    async def awaited(case: Any, *args: Any, **kwargs: Any) -> Any:
        return await method(case, *args, cloud=vars(case)[_KEPT][1], **kwargs)

    return without_cloud(awaited if inspect.iscoroutinefunction(method) else plain, method)


def _around_run(run: Method, mock: MockAlicloud) -> Method:
    """A test case's `run`, which calls all that belongs to a test."""

    @functools.wraps(run)
    def wrapped(case: Any, result: Any = None) -> Any:
        with mock.cloud() as cloud:
            vars(case)[_KEPT] = (mock, cloud)
            return run(case, result)

    return wrapped


def _entering(setup: Method, mock: MockAlicloud) -> Method:
    takes_method = len(inspect.signature(setup).parameters) > 1

    # pytest counts the parameters.
    def setup_method(case: Any, method: Any) -> None:
        with ExitStack() as stack:
            vars(case)[_KEPT] = (stack, stack.enter_context(mock.cloud()))
            setup(case, *([method] if takes_method else []))
            vars(case)[_KEPT] = (stack.pop_all(), vars(case)[_KEPT][1])

    return setup_method


def _leaving(teardown: Method | None) -> Method:
    takes_method = teardown is not None and len(inspect.signature(teardown).parameters) > 1

    def teardown_method(case: Any, method: Any) -> None:
        entered: AbstractContextManager[Any] = vars(case)[_KEPT][0]
        with entered:
            if teardown is not None:
                teardown(case, *([method] if takes_method else []))

    return teardown_method
