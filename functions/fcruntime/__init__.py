"""What Function Compute hands a Python function, and what it expects back. Usable without hpoq."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING

from fcruntime.context import (
    ContextCredentials,
    Deadline,
    Fc2Context,
    Fc3Context,
    FunctionInfo,
    Invocation,
    ServiceInfo,
)
from fcruntime.invoke import InvokeResult, invoke

if TYPE_CHECKING:
    from fcruntime.lambdacontext import LambdaContext, lambda_context
    from fcruntime.powertools import json_handler, lambda_handler
    from fcruntime.server import serve

__all__ = [
    "ContextCredentials",
    "Deadline",
    "Fc2Context",
    "Fc3Context",
    "FunctionInfo",
    "Invocation",
    "InvokeResult",
    "LambdaContext",
    "ServiceInfo",
    "invoke",
    "json_handler",
    "lambda_context",
    "lambda_handler",
    "serve",
]

# What few functions need is loaded when it is asked for: a cold start pays for every import.
_LATER = {
    "LambdaContext": "fcruntime.lambdacontext",
    "lambda_context": "fcruntime.lambdacontext",
    "json_handler": "fcruntime.powertools",
    "lambda_handler": "fcruntime.powertools",
    "serve": "fcruntime.server",
}


def __getattr__(name: str) -> object:
    if name not in _LATER:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(_LATER[name]), name)
