"""B2: the CPU that a message takes, warm, with the network in memory, against three bare calls of `requests`.

Other work on the machine shares its caches, which slows a message down more than a loop of bare calls. `requests`
reads every variable of the environment in each call, so the ratio is lower where there are many. The number of
functions that a message enters is the same on every machine; `tests/contract/test_calls.py` bounds it.
"""

import sys
import time
from collections.abc import Iterator

from harness import ENVIRONMENT, REQUEST, TABLESTORE, Peers, Row, in_turns, ratio
from stub import in_memory

from fcruntime import Fc3Context, FunctionInfo
from hpoq.function import Function
from hpoq.observability import logs
from hpoq.observability.measures import Measures
from hpoq.testing import MemoryStore, smq_event
from support.calls import count_calls

_MESSAGES = 20
# Short turns, and many of them: a swing of the machine that lasts for longer than a turn slows both sides alike.
_TURNS = 10
_CONTEXT = Fc3Context("r", FunctionInfo(timeout=300))


def measure(_: Peers, rounds: int) -> Iterator[Row]:
    """Measure events of one message each, so that messages share nothing."""
    logs.configure("ERROR", sys.stderr)
    for name, store, target in (("records in memory", None, 1.3), ("records in Tablestore", TABLESTORE, 1.8)):
        function, calls = _function(store)
        turns = rounds * _TURNS
        ours, theirs = in_turns(turns, lambda function=function: _messages(function), _bare_calls)
        what = f"CPU per message, {name} ({calls} calls) : 3 bare calls"
        yield ratio("B2", what, ours, theirs, target=target)
        event = smq_event("counted", REQUEST)
        entered = count_calls(lambda function=function, event=event: function.handle(event, _CONTEXT)).total()
        yield Row("B2", f"functions of ours entered per message, {name}", entered)
    yield from _split(_function(None)[0])


def _function(store: str | None) -> tuple[Function, int]:
    session, adapter = in_memory()
    environ = {**ENVIRONMENT, "HPOQ_STORE": store} if store else ENVIRONMENT
    function = Function(environ, session=session, store=None if store else MemoryStore())
    function.handle(smq_event("warm", REQUEST), _CONTEXT)
    return function, adapter.calls


def _messages(function: Function) -> float:
    """Return the milliseconds of CPU for one message."""
    events = [smq_event(f"m-{time.monotonic_ns()}-{number}", REQUEST) for number in range(_MESSAGES)]
    began = time.process_time()
    for event in events:
        function.handle(event, _CONTEXT)
    return (time.process_time() - began) * 1000 / _MESSAGES


def _bare_calls() -> float:
    """Return the milliseconds of CPU for a post of the same size to each of the three services."""
    session, _ = in_memory()
    body = REQUEST.encode()
    began = time.process_time()
    for _ in range(_MESSAGES):
        session.post("https://paiautoml.cn-hangzhou.aliyuncs.com/api/automl/v1/hpo/experiment", data=body)
        session.post("https://i.cn-hangzhou.ots.aliyuncs.com/PutRow", data=body)
        session.post("https://1.mns.cn-hangzhou.aliyuncs.com/topics/hpo-results/messages", data=body)
    return (time.process_time() - began) * 1000 / _MESSAGES


def _split(function: Function) -> Iterator[Row]:
    """Return where the time of a message goes; `claim` and `save` are those of a store in memory."""
    kept: list[Measures] = []
    invocation = function._telemetry.invocation

    class Keeping:
        def __init__(self, seconds_left):
            self.context = invocation(seconds_left)

        def __enter__(self):
            kept.append(self.context.__enter__())
            return kept[-1]

        def __exit__(self, *raised):
            return self.context.__exit__(*raised)

    function._telemetry.invocation = Keeping
    for _ in range(_TURNS):
        _messages(function)
    whole = sum(sum(one.seconds["message"]) + sum(one.seconds["decode"]) for one in kept)
    for step in ("decode", "claim", "create", "save", "publish"):
        spent = sum(sum(one.seconds.get(step, ())) for one in kept)
        note = f"{spent / len(kept) * 1000:.3f} ms"
        yield Row("B2", f"share of the step {step}", spent / whole, note=note)
