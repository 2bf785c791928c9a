"""Lambda handlers on Function Compute, unmodified, whether they use Powertools or not.

The README of the package lists what each utility of Powertools needs. Importing this module has no side effects.
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
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from contextvars import ContextVar
from types import ModuleType
from typing import Any, TypeAlias, get_args, overload

from fcruntime.awslambda import LambdaContext, SqsEvent, lambda_context, read_service, sqs_event
from fcruntime.batch import BatchFailed, Policy, settle
from fcruntime.context import Invocation
from fcruntime.jsonvalue import JsonValue
from fcruntime.lambdahttp import complete_answer, complete_event
from fcruntime.triggers.decode import UnsupportedCall
from fcruntime.triggers.message import Message
from fcruntime.triggers.sources import HTTP, INVOCATION, Kind, check_source

# Any, because handlers annotate their arguments with types of their own, such as Powertools' LambdaContext.
LambdaHandler: TypeAlias = Callable[[Any, Any], object]
FcHandler: TypeAlias = Callable[[bytes, object], object]
Requeue: TypeAlias = Callable[[Message], bool]

_DYNAMODB = "aws_lambda_powertools.utilities.idempotency.persistence.dynamodb"
# A client called the function; other kinds of messages are delivered by a queue, topic or bus.
_CALLS = (HTTP.kind, INVOCATION)
_BATCH_ERRORS = "aws_lambda_powertools.utilities.batch.exceptions"
_TRACE_ID = "_X_AMZN_TRACE_ID"
_NAME = "AWS_LAMBDA_FUNCTION_NAME"
_given_name = ""
_one_at_a_time = threading.RLock()
_running: ContextVar[LambdaContext | None] = ContextVar("fcruntime_running", default=None)


class NotAnEvent(ValueError):
    """The event is not JSON, which the handler needs."""


@overload
def lambda_handler(
    handler: LambdaHandler,
    /,
    *,
    policy: Policy = "raise",
    requeue: Requeue | None = None,
    source: Kind | None = None,
    concurrent: bool = False,
) -> FcHandler: ...


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
    """Make an event function for FC of a Lambda handler for SQS events. A decorator, with or without options.

    The handler gets an SQS event of the messages, whatever their source (`source` pins it), and Lambda's context. The
    `batchItemFailures` that it returns are settled by `policy`. `raise` fails the whole event, which FC then delivers
    again. `requeue` sends each failed message back with the function `requeue`, which returns whether it succeeded.
    As on Lambda, an id that no record has, or a missing one, fails the whole event; so does an item of the event that
    holds no message. Raises ValueError for an invalid option. The result raises BatchFailed, and what the handler
    raises, except that under `requeue` the error by which Powertools reports that every record has failed is settled
    as well. It raises UnsupportedCall if FC 2.0 calls it as an HTTP function.

    Calls in one process run one after another, as on Lambda, because Powertools keeps the failures of a batch on a
    processor that calls share. With `concurrent` they may overlap, for handlers that share nothing.
    """
    if policy not in get_args(Policy):
        raise ValueError(f"{policy!r} is not a policy. Use one of {', '.join(get_args(Policy))}.")
    if source is not None:
        check_source(source)
    if policy == "requeue" and requeue is None:
        raise ValueError('policy="requeue" needs the argument requeue: a function that sends a message back')
    turn = nullcontext() if concurrent else _one_at_a_time
    wrap = functools.partial(_wrap, policy=policy, requeue=requeue, source=source, turn=turn)
    return wrap if handler is None else wrap(handler)


@overload
def json_handler(handler: LambdaHandler, *, concurrent: bool = False) -> FcHandler: ...


@overload
def json_handler(*, concurrent: bool = False) -> Callable[[LambdaHandler], FcHandler]: ...


def json_handler(
    handler: LambdaHandler | None = None, *, concurrent: bool = False
) -> FcHandler | Callable[[LambdaHandler], FcHandler]:
    """Make an event function for FC of a Lambda handler that takes the event as it is. A decorator, too.

    As on Lambda, the event may be any JSON value, and is an empty object if the caller sent nothing. The event of an
    HTTP or an API Gateway trigger also has the members of a function URL's or a REST API's event, and `headers` of
    the answer those that Lambda takes in `multiValueHeaders` and `cookies`.

    Calls in one process run one after another, because Powertools keeps the current event on a resolver that calls
    share. With `concurrent` they may overlap, for handlers that share nothing.

    Raises NotAnEvent for an event that is not JSON, UnsupportedCall if FC 2.0 calls the result as an HTTP function,
    and what the handler raises.
    """
    turn = nullcontext() if concurrent else _one_at_a_time
    return functools.partial(_wrap_json, turn) if handler is None else _wrap_json(turn, handler)


def _wrap_json(turn: AbstractContextManager[object], handler: LambdaHandler) -> FcHandler:
    @functools.wraps(handler)
    def function(event: bytes, context: object) -> object:
        if not isinstance(event, (bytes, bytearray, str)):
            raise UnsupportedCall(event)
        try:
            document: JsonValue = json.loads(event or "{}")
        except (ValueError, RecursionError):
            raise NotAnEvent("the event is not valid JSON") from None
        made = lambda_context(context, is_triggered=_is_delivery(document))
        request = complete_event(document) if isinstance(document, dict) else None
        with turn, _set_environment(made):
            if request is not None:
                return complete_answer(_call(handler, request, made))
            return _call(handler, document, made)

    return function


def running_context() -> LambdaContext | None:
    """Return Lambda's context of the current invocation, or None if no `lambda_handler` or `json_handler` made one.

    Threads that the handler starts do not inherit it.
    """
    return _running.get()


def read_unique_name(fc_context: object = None) -> str:
    """Return the name of the function, unique in its region and account, or an empty string if it is unknown.

    On FC 2.0 the names of functions are unique in their service only, so the name of the service is put in front.
    What `fc_context` does not contain is read from FC's environment variables.
    """
    name = Invocation.from_context(fc_context).function_name or os.environ.get("FC_FUNCTION_NAME", "")
    service = read_service(fc_context)
    # Neither name can contain a dollar sign.
    return f"{service}${name}" if name and service else name


def idempotency_without_boto3() -> bool:
    """Make `aws_lambda_powertools.utilities.idempotency` importable if boto3 is not installed.

    Call it before that import. If boto3 is installed, it does nothing and returns False. Otherwise it replaces the
    module of DynamoDBPersistenceLayer by one whose class raises when it is instantiated, and returns True.
    """
    if _DYNAMODB in sys.modules or importlib.util.find_spec("boto3") is not None:
        return False
    module = ModuleType(_DYNAMODB, "Replaces the module of Powertools, which needs boto3.")
    module.DynamoDBPersistenceLayer = _NoDynamoDB  # type: ignore[attr-defined]
    sys.modules[_DYNAMODB] = module
    return True


class _NoDynamoDB:
    def __init__(self, *_: object, **__: object) -> None:
        raise RuntimeError(
            "DynamoDBPersistenceLayer needs boto3, which is not installed. Use another layer, for example "
            "hpoq.idempotency.powertools.StorePersistenceLayer, which keeps records in Tablestore, Redis or SQLite."
        )


def _wrap(
    handler: LambdaHandler,
    *,
    policy: Policy,
    requeue: Requeue | None,
    source: Kind | None,
    turn: AbstractContextManager[object],
) -> FcHandler:
    # A function and not a callable object, because the decorators of Powertools require one.
    @functools.wraps(handler)
    def function(event: bytes, context: object) -> object:
        records = sqs_event(event, context, source=source)
        is_triggered = any(one.kind not in _CALLS for one in records.messages.values())
        made = lambda_context(context, is_triggered=is_triggered)
        total = len(records.messages) + len(records.unreadable)
        if not records.messages:
            failed: list[Message | None] = [None] * total
            settle(failed, total, policy, reasons=_explain_failures(failed, records))
            return {"batchItemFailures": []}
        try:
            with turn, _set_environment(made):
                result = _call(handler, records.event, made)
        except Exception as exc:
            if policy != "requeue" or not _reports_total_failure(exc):
                raise
            result = {"batchItemFailures": [{"itemIdentifier": one} for one in records.messages]}
        failed = _find_failures(result, records)
        settle(failed, total, policy, requeue, reasons=_explain_failures(failed, records))
        return result

    return function


def _is_delivery(document: JsonValue) -> bool:
    """Return whether an event has a form in which event streams and buses deliver messages."""
    if isinstance(document, dict):
        return "specversion" in document or "messageBody" in document
    return isinstance(document, list)


def _call(handler: LambdaHandler, event: JsonValue, context: LambdaContext) -> object:
    result = handler(event, context)
    if inspect.iscoroutine(result):
        result.close()
        raise TypeError("the handler is a coroutine function, which Lambda does not support either")
    return result


def _reports_total_failure(exc: Exception) -> bool:
    """Return whether `exc` is what Powertools' batch utility raises, instead of returning, if all records failed."""
    module = sys.modules.get(_BATCH_ERRORS)
    return module is not None and isinstance(exc, module.BatchProcessingError)


def _find_failures(result: object, records: SqsEvent) -> list[Message | None]:
    """Return what must be delivered again. Raises BatchFailed if Lambda would treat the whole batch as failed."""
    unreadable: list[Message | None] = [None] * len(records.unreadable)
    answer = _read_answer(result)
    listed = answer.get("batchItemFailures") if isinstance(answer, Mapping) else None
    if not listed:
        return unreadable
    failed: dict[str, Message] = {}
    for one in listed if isinstance(listed, (list, tuple)) else [listed]:
        record_id = one.get("itemIdentifier") if isinstance(one, Mapping) else None
        if not isinstance(record_id, str) or record_id not in records.messages:
            total = len(records.messages) + len(unreadable)
            raise BatchFailed(total, total, ["batchItemFailures has an id that no record has"])
        failed[record_id] = records.messages[record_id]
    return [*failed.values(), *unreadable]


def _read_answer(result: object) -> object:
    """Return the JSON value of a result that is text or bytes, because the handler wrote it itself; else `result`."""
    if not isinstance(result, (str, bytes)):
        return result
    try:
        return json.loads(result)
    except (ValueError, RecursionError):
        return result


def _explain_failures(failed: Sequence[Message | None], records: SqsEvent) -> list[str]:
    """Return why items of the event failed, without the texts of exceptions, which may quote secrets."""
    reasons = [f"{one.rule}: {one.reason}" for one in records.unreadable]
    reported = len(failed) - len(records.unreadable)
    return [*reasons, f"the handler reported {reported} as failed"] if reported else reasons


@contextmanager
def _set_environment(context: LambdaContext) -> Iterator[None]:
    """Set the variables of Lambda's environment that Powertools reads, for the duration of an invocation.

    The name of the function is part of every idempotency key. The buffer of the logger needs a trace id. Variables
    belong to the process, so if calls overlap, only the first gets a trace id of its own.
    """
    global _given_name  # noqa: PLW0603 - the variable belongs to the process, too
    # It stays set for threads that outlast the call. A local process may run another function next.
    if (name := read_unique_name(context.fc_context)) and os.environ.get(_NAME, _given_name) == _given_name:
        os.environ[_NAME] = _given_name = name
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
