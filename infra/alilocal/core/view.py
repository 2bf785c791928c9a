"""What a service shows in the console and in the history of a message.

A service returns plain data: cards for the pipeline, tables for the page, views (pages of their own), listings for
the control API, and a trace for each operation. The control package puts them into the documents of the console's
pages, and knows no service by name. These are named tuples, because every cloud loads this module: a named tuple is
defined in 0.1 ms, a frozen dataclass in 0.6 ms.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import NamedTuple

from alilocal.core.jsonvalue import JsonValue


class Card(NamedTuple):
    """A resource in the console's pipeline, with its figures. `is_queue` is True if a stream can take from it.

    `spans` says what went through it: how many messages were sent, received and removed in each span of 5 seconds,
    by the time at which the span began.
    """

    kind: str
    name: str
    figures: Mapping[str, int]
    is_queue: bool = False
    spans: Mapping[str, Sequence[int]] = {}


class Code(NamedTuple):
    """A table cell with identifiers, each shown in a fixed-width font."""

    texts: Sequence[str]


class Badge(NamedTuple):
    """A table cell with a status, shown in the colour of its meaning, or in that of a failure if `is_bad`."""

    text: str
    is_bad: bool = False


class Moment(NamedTuple):
    """A table cell with a time, in seconds since the epoch."""

    seconds: float


class Body(NamedTuple):
    """A table cell that unfolds to show a message's body without its secrets. `body_id` is unique on the page."""

    body_id: str
    summary: str
    body: str


class Link(NamedTuple):
    """A table cell that leads to a view; `path` is the service's name and what its `console_view` gets."""

    text: str
    path: str


class Button(NamedTuple):
    """A button that calls the control API at `path`, below `/_alilocal/`, with the JSON object `fields`.

    Afterwards the console shows the answer's member `notice`, or else the text `notice` and the answer's message id.
    It asks the question `confirm` first if there is one.
    """

    label: str
    path: str
    fields: Mapping[str, JsonValue] = {}
    method: str = "POST"
    notice: str = ""
    confirm: str = ""


class Preset(NamedTuple):
    """A common fault: the body of `POST faults` that injects it."""

    label: str
    fault: Mapping[str, JsonValue]


class Buttons(NamedTuple):
    """A table cell with buttons."""

    buttons: Sequence[Button]


Cell = str | Code | Badge | Moment | Body | Link | Buttons


class Table(NamedTuple):
    """A section of the console. `rows` are the newest, newest first, of `total`; `empty` is shown without any."""

    table_id: str
    title: str
    heads: Sequence[str]
    rows: Sequence[Sequence[Cell]]
    total: int
    empty: str


class Plot(NamedTuple):
    """A chart of points and a line in steps; both are pairs of x and y. `across` names the x axis."""

    label: str
    across: str
    points: Sequence[tuple[float, float]]
    line: Sequence[tuple[float, float]]
    empty: str


class Axis(NamedTuple):
    """An axis of parallel coordinates; each tick has its place, from 0 to 1, and its text."""

    name: str
    ticks: Sequence[tuple[float, str]]


class Line(NamedTuple):
    """An item in parallel coordinates: its place on each axis, from 0 to 1."""

    label: str
    shares: Sequence[float]


class Parallel(NamedTuple):
    """Parallel coordinates. The first line is the best one."""

    label: str
    axes: Sequence[Axis]
    lines: Sequence[Line]
    empty: str


class Lines(NamedTuple):
    """Lines of a log; the console shows the newest ones."""

    lines: Sequence[str]


class Part(NamedTuple):
    """A section of a view; `part_id` is unique on the page."""

    part_id: str
    title: str
    shown: Plot | Parallel | Lines


class View(NamedTuple):
    """A page of a service: its title and its sections."""

    title: str
    sections: Sequence[Table | Part]


class Trace(NamedTuple):
    """How a call of an operation appears in the history of a message.

    `word` says what a successful call did; without one the operation's name is shown. The keys of an operation that
    `creates` something link later calls with the same keys to the message. What an operation publishes is the
    message's outcome. An operation that `makes` something must make it only once for each message.
    """

    word: str = ""
    is_shown: bool = True
    creates: bool = False
    publishes: bool = False
    makes: bool = False


PLAIN = Trace()
"""The trace of an operation that has nothing special about it."""
