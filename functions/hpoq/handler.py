"""The function's entry points for FC.

Handler strings: `hpoq.handler.handler`, `hpoq.handler.initialize`, `hpoq.handler.pre_stop`.
"""

from __future__ import annotations

import os
import threading
import warnings

from hpoq.loading import exempt_from_collection

# The package contains no pydantic plugin, and searching for one reads the metadata of every installed package.
os.environ.setdefault("PYDANTIC_DISABLE_PLUGINS", "__all__")
# Nor does it contain charset_normalizer, with which requests guesses the encoding of a text: hpoq reads bytes.
warnings.filterwarnings("ignore", "Unable to find acceptable character detection dependency")

with exempt_from_collection():
    from fcruntime.jsonvalue import JsonObject
    from hpoq.function import Function
    from hpoq.observability import logs

_instance: Function | None = None
_cold_start = threading.Lock()


def _get_instance() -> Function:
    global _instance  # noqa: PLW0603 - an instance of the function is one process
    with _cold_start:
        if _instance is None:
            instance = Function(os.environ)
            logs.configure(instance.settings.log_level)
            _instance = instance
        return _instance


def handler(event: bytes, context: object) -> JsonObject:
    """Process one event of Function Compute (FC)."""
    return _get_instance().handle(event, context)


def initialize(context: object) -> None:
    """Build the instance and load what an invocation needs, as FC's Initializer hook."""
    with exempt_from_collection():
        _get_instance().prepare(context)


def pre_stop(_context: object) -> None:
    """Wait for running events, then close the connections and the store, as FC's PreStop hook."""
    global _instance
    with _cold_start:
        instance, _instance = _instance, None
    if instance is not None:
        instance.close()
