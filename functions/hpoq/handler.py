"""The function's entry points for FC.

Handler strings: `hpoq.handler.handler`, `hpoq.handler.initialize`, `hpoq.handler.pre_stop`.
"""

from __future__ import annotations

import gc
import os
import threading
from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def _made_to_last() -> Iterator[None]:
    """Without the garbage collector, which is also to pass over what was made here from now on.

    What a cold start makes lives as long as the instance. To look for garbage in it takes a tenth of the start,
    and as much again in the first messages.
    """
    collects = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        gc.freeze()
        if collects:
            gc.enable()


# No plugin of pydantic's goes along; to look for one is to read the metadata of every package there is.
os.environ.setdefault("PYDANTIC_DISABLE_PLUGINS", "__all__")

with _made_to_last():
    from fcruntime.jsonvalue import JsonObject
    from hpoq.function import Function
    from hpoq.observability import logs

_instance: Function | None = None
_cold_start = threading.Lock()


def _warm() -> Function:
    global _instance  # noqa: PLW0603 - an instance of the function is one process
    with _cold_start:
        if _instance is None:
            made = Function(os.environ)
            logs.configure(made.settings.log_level)
            _instance = made
        return _instance


def handler(event: bytes, context: object) -> JsonObject:
    """FC's entry point for events."""
    return _warm().handle(event, context)


def initialize(context: object) -> None:
    """FC's initializer: builds the instance, and what an invocation needs, before its first event."""
    with _made_to_last():
        _warm().prepare(context)


def pre_stop(_context: object) -> None:
    """FC's hook before an instance goes: lets events under way end, then gives up connections and the store."""
    global _instance
    with _cold_start:
        instance, _instance = _instance, None
    if instance is not None:
        instance.close()
