"""The function's entry points for FC.

Handler strings: `hpoq.handler.handler`, `hpoq.handler.initialize`, `hpoq.handler.pre_stop`.
"""

from __future__ import annotations

import gc
import os
import threading
import warnings
from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def _exempt_from_collection() -> Iterator[None]:
    """Disable the garbage collector within the context, and exempt what was made there from later collections.

    What a cold start makes lives as long as the instance. Searching it for garbage takes 12 to 14 ms of the start,
    a tenth, and as much again during the first messages.
    """
    collects = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        gc.freeze()
        if collects:
            gc.enable()


# The package contains no pydantic plugin, and searching for one reads the metadata of every installed package.
os.environ.setdefault("PYDANTIC_DISABLE_PLUGINS", "__all__")
# Nor does it contain the library with which requests guesses the encoding of a text: hpoq reads bytes.
warnings.filterwarnings("ignore", "Unable to find acceptable character detection dependency")

with _exempt_from_collection():
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
    """Process one event of FC: the handler."""
    return _warm().handle(event, context)


def initialize(context: object) -> None:
    """Build the instance, and load what an invocation needs, before the first event: FC's Initializer hook."""
    with _exempt_from_collection():
        _warm().prepare(context)


def pre_stop(_context: object) -> None:
    """Wait for running events, then close connections and the store: FC's PreStop hook."""
    global _instance
    with _cold_start:
        instance, _instance = _instance, None
    if instance is not None:
        instance.close()
