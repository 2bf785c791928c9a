"""structlog, set up for Function Compute: one JSON object a line, bound context, no secrets."""

from __future__ import annotations

import logging
import sys
from typing import TextIO

import structlog
from structlog.typing import EventDict, WrappedLogger

from hpoq.observability.redaction import MASK, is_secret_name, redact_known

Logger = structlog.typing.FilteringBoundLogger


def _clean(value: object, name: str = "") -> object:
    if name and is_secret_name(name):
        return MASK
    if isinstance(value, str):
        return redact_known(value)
    if isinstance(value, dict):
        return {str(key): _clean(member, str(key)) for key, member in value.items()}
    if isinstance(value, (list, tuple)):
        return [_clean(member) for member in value]
    if value is None or isinstance(value, (bool, int, float)):
        return value
    return redact_known(str(value))


def redact_event(_logger: WrappedLogger, _method: str, event: EventDict) -> EventDict:
    """The structlog processor that clears a line of secrets; stands last before the renderer."""
    return {name: _clean(value, name) for name, value in event.items()}


def configure(level: str = "INFO", stream: TextIO | None = None) -> None:
    """Send log lines of at least `level` to `stream`, by default standard output, where FC collects them."""
    structlog.configure(
        processors=[
            structlog.contextvars.merge_contextvars,
            structlog.processors.add_log_level,
            structlog.processors.TimeStamper(fmt="iso", utc=True, key="time"),
            structlog.processors.format_exc_info,
            redact_event,
            structlog.processors.JSONRenderer(),
        ],
        wrapper_class=structlog.make_filtering_bound_logger(getattr(logging, level)),
        logger_factory=structlog.WriteLoggerFactory(file=stream or sys.stdout),
        cache_logger_on_first_use=False,
    )


def get_logger() -> Logger:
    """The function's logger; what `bound` binds is on every line."""
    logger: Logger = structlog.get_logger("hpoq")
    return logger
