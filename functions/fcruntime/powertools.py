"""Lambda handlers on Function Compute, with Powertools in them or not, unmodified.

What each utility of Powertools needs is told in the package's README. Nothing here happens on import.
"""

from __future__ import annotations

import functools
import importlib.util
import inspect
import json
import os
import sys
import threading
import time
import uuid
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager, nullcontext
from contextvars import ContextVar
from types import ModuleType
from typing import Any, TypeAlias, overload

from fcruntime.batch import BatchFailed, Policy, settle
from fcruntime.dataclass import dataclass
from fcruntime.jsonvalue import JsonObject, JsonValue
from fcruntime.lambdacontext import LambdaContext, lambda_context
from fcruntime.sqsevent import SqsEvent, sqs_event
from fcruntime.triggers.decode import Kind
from fcruntime.triggers.message import Message

# Handlers annotate what they take with types of their own, such as Powertools' LambdaContext.
LambdaHandler: TypeAlias = Callable[[Any, Any], object]
FcHandler: TypeAlias = Callable[[bytes, object], object]
Requeue: TypeAlias = Callable[[Message], bool]

_DYNAMODB = "aws_lambda_powertools.utilities.idempotency.persistence.dynamodb"
_BATCH_ERRORS = "aws_lambda_powertools.utilities.batch.exceptions"
_TRACE_ID = "_X_AMZN_TRACE_ID"
_one_at_a_time = threading.RLock()
_running: ContextVar[LambdaContext | None] = ContextVar("fcruntime_running", default=None)


class NotAnEvent(ValueError):
    """The event is not what the handler takes: a JSON object."""


@overload
def lambda_handler(handler: LambdaHandler, /) -> FcHandler: ...


@overload
def lambda_handler(
    *,
    policy: Policy = "raise",
    requeue: Requeue | None = None,
    source: Kind | None = None,
    concurrent: bool = False,
) -> Callable[[LambdaHandler], FcHandler]: ...


def lambda_handler(
    handler: LambdaHandler | None = None,
    /,
    *,
    policy: Policy = "raise",
    requeue: Requeue | None = None,
    source: Kind | None = None,
    concurrent: bool = False,
) -> FcHandler | Callable[[LambdaHandler], FcHandler]:
    """Make an FC event function of a Lambda handler for SQS events; a decorator, with options or without.

    The handler gets an SQS event of the messages, whatever source they came from (`source` pins it), and Lambda's
    context. The `batchItemFailures` that it returns are settled by `policy`: `raise` fails the whole event, which FC
    then delivers again; `requeue` sends back each failed message with the function `requeue`, which says whether it
    could. As on Lambda an id that is no record's, or none at all, fails everything; so does an item of the event
    that holds no message. Raises BatchFailed, and what the handler raises; but the error by which Powertools tells
    that every record has failed is settled by `requeue` too.

    Calls in one process are made one after another, as on Lambda: Powertools keeps the failures of a batch on a
    processor that calls share. `concurrent` lets them overlap, for handlers that share nothing.
    """
    if policy == "requeue" and requeue is None:
        raise ValueError("the policy requeue needs the function requeue")
    options = _Options(policy, requeue, source, nullcontext() if concurrent else _one_at_a_time)
    return functools.partial(_function, options) if handler is None else _function(options, handler)


def json_handler(handler: LambdaHandler) -> FcHandler:
    """Make an FC event function of a Lambda handler that takes the event as it is, a JSON object.

    Raises NotAnEvent for any other, and what the handler raises.
    """

    @functools.wraps(handler)
    def function(event: bytes, context: object) -> object:
        made = lambda_context(context)
        try:
            document: JsonValue = json.loads(event)
        except (ValueError, RecursionError):
            raise NotAnEvent("the event is not valid JSON") from None
        if not isinstance(document, dict):
            raise NotAnEvent("the event is not a JSON object")
        with _one_at_a_time, _environment(made):
            return _result(handler, document, made)

    return function


def running_context() -> LambdaContext | None:
    """Lambda's context of the invocation that this code runs in, where `lambda_handler` or `json_handler` made it.

    It does not follow into threads that the handler starts.
    """
    return _running.get()


def idempotency_without_boto3() -> bool:
    """Let `aws_lambda_powertools.utilities.idempotency` be imported where boto3 is not installed.

    Call it before that import. It does nothing where boto3 is there; else DynamoDBPersistenceLayer stands for
    itself alone and raises when it is made. True says that it stepped in.
    """
    if _DYNAMODB in sys.modules or importlib.util.find_spec("boto3") is not None:
        return False
    module = ModuleType(_DYNAMODB, "Stands in for Powertools' own, which needs boto3.")
    module.DynamoDBPersistenceLayer = _NoDynamoDB  # type: ignore[attr-defined]
    sys.modules[_DYNAMODB] = module
    return True


class _NoDynamoDB:
    def __init__(self, *_: object, **__: object) -> None:
        raise RuntimeError(
            "DynamoDBPersistenceLayer needs boto3, which is not installed; "
            "hpoq.idempotency.powertools.StorePersistenceLayer keeps records in Tablestore, Redis or SQLite"
        )


@dataclass(frozen=True)
class _Options:
    policy: Policy
    requeue: Requeue | None
    source: Kind | None
    turn: AbstractContextManager[object]


def _function(options: _Options, handler: LambdaHandler) -> FcHandler:
    # A function, not an object that can be called: decorators of Powertools insist on one.
    @functools.wraps(handler)
    def function(event: bytes, context: object) -> object:
        made = lambda_context(context)
        records = sqs_event(event, context, source=options.source)
        total = len(records.messages) + len(records.unreadable)
        if not records.messages:
            settle([None] * total, total, options.policy, options.requeue)
            return {"batchItemFailures": []}
        try:
            with options.turn, _environment(made):
                result = _result(handler, records.event, made)
        except Exception as exc:
            if options.policy != "requeue" or not _says_all_failed(exc):
                raise
            result = {"batchItemFailures": [{"itemIdentifier": one} for one in records.messages]}
        settle(_failed(result, records), total, options.policy, options.requeue)
        return result

    return function


def _result(handler: LambdaHandler, event: JsonObject, context: LambdaContext) -> object:
    result = handler(event, context)
    if inspect.iscoroutine(result):
        result.close()
        raise TypeError("the handler is a coroutine function, which Lambda does not run either")
    return result


def _says_all_failed(exc: Exception) -> bool:
    """Powertools' batch utility does not return the failures where no record succeeded: it raises."""
    module = sys.modules.get(_BATCH_ERRORS)
    return module is not None and isinstance(exc, module.BatchProcessingError)


def _failed(result: object, records: SqsEvent) -> list[Message | None]:
    """What must be delivered again; raises BatchFailed where Lambda would take the whole batch to have failed."""
    unreadable: list[Message | None] = [None] * len(records.unreadable)
    listed = result.get("batchItemFailures") if isinstance(result, Mapping) else None
    if not listed:
        return unreadable
    failed: dict[str, Message] = {}
    for one in listed if isinstance(listed, (list, tuple)) else [listed]:
        record_id = one.get("itemIdentifier") if isinstance(one, Mapping) else None
        if not isinstance(record_id, str) or record_id not in records.messages:
            total = len(records.messages) + len(unreadable)
            raise BatchFailed(total, total)
        failed[record_id] = records.messages[record_id]
    return [*failed.values(), *unreadable]


@contextmanager
def _environment(context: LambdaContext) -> Iterator[None]:
    """What Powertools reads of Lambda's environment, for the length of an invocation.

    The name of the function is part of every idempotency key. A trace id is what the buffer of its logger goes by;
    it belongs to the process, so where calls overlap only the first gets one.
    """
    if context.function_name:
        os.environ.setdefault("AWS_LAMBDA_FUNCTION_NAME", context.function_name)
    traced = _TRACE_ID in os.environ
    if not traced:
        os.environ[_TRACE_ID] = f"Root=1-{int(time.time()):08x}-{uuid.uuid4().hex[:24]}"
    token = _running.set(context)
    try:
        yield
    finally:
        _running.reset(token)
        if not traced:
            os.environ.pop(_TRACE_ID, None)
