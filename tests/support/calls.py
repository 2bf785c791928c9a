"""Count the functions of hpoq and fcruntime that are entered, or raise in one: the same on every machine."""

from __future__ import annotations

import gc
import inspect
import sys
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from types import FrameType

import fcruntime
import hpoq

_PACKAGES = tuple(f"{Path(package.__file__).parent}/" for package in (hpoq, fcruntime) if package.__file__)
_NOT_DEPLOYED = str(Path(_PACKAGES[0], "testing"))


def count_calls(work: Callable[[], object]) -> Counter[str]:
    """Return how often each function was entered while `work` ran in this thread, by its file and name.

    Comprehensions and lambdas are left out, because newer versions of Python enter no function for some of them, and
    a generator counts once, however often it is resumed.
    """
    counts: Counter[str] = Counter()
    seen: set[FrameType] = set()

    def note(frame: FrameType, event: str, _: object) -> None:
        code = frame.f_code
        if event != "call" or code.co_name.startswith("<") or frame in seen:
            return
        if code.co_filename.startswith(_PACKAGES) and not code.co_filename.startswith(_NOT_DEPLOYED):
            seen.add(frame)
            counts[f"{code.co_filename}:{code.co_name}"] += 1

    before, collects = sys.getprofile(), gc.isenabled()
    gc.disable()  # a collection enters generators that were never begun, to close them
    sys.setprofile(note)
    try:
        work()
    finally:
        sys.setprofile(before)
        if collects:
            gc.enable()
    return counts


@contextmanager
def raising_at_call(number: int, error: type[BaseException]) -> Iterator[list[str]]:
    """Raise `error` when, within the context, this thread enters a function for the time `number`.

    Yields a list that has the name of the function from then on. Generators do not count: what is raised in one that
    is only closed is ignored.
    """
    raised: list[str] = []
    entered = 0

    def note(frame: FrameType, event: str, _: object) -> None:
        nonlocal entered
        code = frame.f_code
        if event != "call" or code.co_flags & inspect.CO_GENERATOR:
            return
        if code.co_filename.startswith(_PACKAGES) and not code.co_filename.startswith(_NOT_DEPLOYED):
            entered += 1
            if entered == number:
                raised.append(f"{code.co_filename}:{code.co_name}")
                raise error

    before = sys.getprofile()
    sys.setprofile(note)
    try:
        yield raised
    finally:
        sys.setprofile(before)
