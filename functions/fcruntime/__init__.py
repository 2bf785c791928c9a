"""What Function Compute passes to a Python function, and what it expects back. Can be used without hpoq.

    FC ──event bytes, context──▶ your handler ──result or exception──▶ FC

| module | |
|---|---|
| `context` | the context objects of FC 2.0 and 3.0, a typed view of either, and the deadline of a call |
| `triggers` | event bytes to messages, whatever the source: `decode` |
| `batch` | what to do with the messages of an event that failed |
| `awslambda` | Lambda's context and the event of an SQS queue, made from FC's |
| `lambdahttp` | the event and the answer of Lambda's HTTP handlers, made from those of FC's triggers |
| `powertools` | `lambda_handler` and `json_handler`: run a handler that was written for AWS Lambda |
| `invoke` | call a handler as FC's built-in runtimes do |
| `server`, `httptrigger`, `log` | `python -m fcruntime`: FC's HTTP protocol for custom runtimes and containers |

A call of a Lambda handler on a custom runtime passes through all of them:

    HTTP request ─▶ server ─▶ invoke ─▶ lambda_handler ─▶ triggers.decode ─▶ awslambda.sqs_event ─▶ your handler
    HTTP answer  ◀─ server ◀─ invoke ◀─ batch.settle ◀───────── batchItemFailures ◀──────────────────────┘

`jsonvalue` has the types of JSON values. `dataclass` is internal: the standard library's decorator, but quicker at a
cold start.
"""

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
    from fcruntime.awslambda import LambdaContext, lambda_context
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

# Most functions do not need these, and every import makes a cold start longer. So they are imported on first use.
_LAZY = {
    "LambdaContext": "fcruntime.awslambda",
    "lambda_context": "fcruntime.awslambda",
    "json_handler": "fcruntime.powertools",
    "lambda_handler": "fcruntime.powertools",
    "serve": "fcruntime.server",
}


def __getattr__(name: str) -> object:
    if name not in _LAZY:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(_LAZY[name]), name)
