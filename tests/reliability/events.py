"""Many random events through the decoder and the contract, each chosen by a seed.

    python tests/reliability/events.py [--count 100000] [--minutes 60] [--first SEED]

An event is a sample of `events/triggers` with a sample of `events/requests` as its body; both are changed at random
places, as values or as text. Of each event this must hold:

- nothing is raised but EventUnreadable, and no item is Defective, which stands for an unexpected error;
- each item is read as a request, or is rejected with violations, each of which has a rule and a place that exists in
  the request, or is kept in its queue because of a setting;
- the keys are the same when an event is read once more, which one in eight is;
- no secret of a request is in the text form of what was read, of an error or of a warning;
- the time is at most proportional to the size.

An event that breaks one of these is printed. Exit code 1: there was one.
"""

from __future__ import annotations

import argparse
import json
import math
import sys
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from random import Random
from uuid import UUID

sys.path.insert(0, str(Path(__file__).parents[1]))

from fcruntime.triggers import EventUnreadable
from fcruntime.triggers.body import unwrap_base64
from hpoq.contract.jsontext import tokens_of
from hpoq.processing.intake import Defective, Rejected, Undeliverable, decode_event
from hpoq.testing.events import encode_body
from support.reading import read_message
from support.seeds import add_options, each_seed

EVENTS = Path(__file__).parents[2] / "events"
DELIVERIES = [
    text
    for path in sorted(EVENTS.glob("triggers/*/*.json"))
    if isinstance(json.loads(text := path.read_text()), (dict, list))
]
REQUESTS = [path.read_text() for path in sorted(EVENTS.glob("requests/**/*.json"))]
BODY_MEMBERS = ("messageBody", "body", "value", "Message", "data")
# As texts, because each event gets values of its own, which may be changed.
VALUES = [
    *map(json.dumps, (None, True, False, 0, -1, 0.5, 1e308, -0.0, 10**30, 10**400, math.nan, math.inf)),
    *map(
        json.dumps, ("", " ", "0", "null", "\0", "\ud800", "\u2028", "é", "${x}", "${", "x" * 300, "9" * 5000)
    ),
    *map(
        json.dumps,
        ([], {}, [[]], {"": {}}, [None] * 70, {"experiment": {}}, {"_type": "choice", "_value": [{}]}),
    ),
    "[" * 100 + "]" * 100,
]
NAMES = (
    "",
    "experiment",
    "stop",
    "hpoq",
    "data",
    "specversion",
    "Tag",
    "_name",
    "_type",
    "$schema",
    "k" * 300,
)
TOKENS = (
    *(
        b'"',
        b"\\",
        b"{",
        b"}",
        b"[",
        b"]",
        b",",
        b":",
        b"\x00",
        b"\xff",
        b"\xef\xbb\xbf",
        b"\xc3",
        b"=",
        b"%",
    ),
    *(b"1e999", b"-", b"NaN", b"\\ud800", b"\\u0000", b'"":', b"<a>", b"&#0;", b"[" * 300, b"9" * 5000),
)
SECRET_NAMES = ("accessKeySecret", "password", "securityToken", "api_key", "Authorization")
SECONDS, SECONDS_PER_BYTE = 0.05, 20e-6
MISSING = object()
SHOW_EVERY = 100_000


@dataclass(frozen=True)
class Drawn:
    """An event, and a secret in its request, or None if there is none."""

    event: bytes
    secret: str | None


def draw_event(seed: int) -> Drawn:
    """Return the event of `seed`."""
    source = Random(seed)
    document = json.loads(source.choice(REQUESTS))
    for _ in range(source.randint(0, 3)):
        document = change_value(source, document)
    # What has a secret is not changed any more, since a change might take the secret from under its name.
    secret = plant_secret(source, document, seed) if source.random() < 0.3 else None
    body = json.dumps(document)
    if secret is None and source.random() < 0.3:
        body = change_bytes(source, body.encode()).decode(errors="replace")
    delivery = put_body(source, json.loads(source.choice(DELIVERIES)), body)
    if secret is None:
        for _ in range(source.randint(0, 2)):
            delivery = change_value(source, delivery)
        if source.random() < 0.02:
            delivery = [delivery] * source.randint(0, 40)
    event = json.dumps(delivery).encode()
    if secret is None and source.random() < 0.3:
        event = change_bytes(source, event)
    return Drawn(event, secret)


def change_value(source: Random, value: object) -> object:
    """Return `value` with one of the values in it changed, or itself."""
    if isinstance(value, dict) and value and source.random() < 0.85:
        name = source.choice([*value])
        part = value.pop(name)
        chance = source.random()
        if chance < 0.1:
            return value
        if chance < 0.2:
            name = source.choice([*NAMES, name.lower(), f"{name}s", f" {name}"])
        value[name] = change_value(source, part)
        return value
    if isinstance(value, list) and value and source.random() < 0.85:
        index = source.randrange(len(value))
        if source.random() < 0.1:
            return [*value[:index], *value[index + 1 :] * source.randint(0, 3)]
        value[index] = change_value(source, value[index])
        return value
    change: Callable[[object], object] = source.choice(
        (
            lambda _: json.loads(source.choice(VALUES)),
            lambda _: json.loads(source.choice(VALUES)),
            lambda one: [one],
            lambda one: {source.choice(NAMES): one},
            json.dumps,
            lambda one: encode_body(json.dumps(one)),
            lambda one: change_bytes(source, str(one).encode(errors="replace")).decode(errors="replace"),
        )
    )
    return change(value)


def change_bytes(source: Random, text: bytes) -> bytes:
    """Return `text` with something inserted, left out or repeated."""
    for _ in range(source.randint(1, 3)):
        start = source.randint(0, len(text))
        end = min(len(text), start + source.choice([0, 0, 1, 2, 20, 2000]))
        middle = source.choice(
            [b"", source.choice(TOKENS), text[start:end] * 3, bytes([source.randrange(256)])]
        )
        text = text[:start] + middle + text[end:]
    return text


def plant_secret(source: Random, document: object, seed: int) -> str | None:
    """Put a secret into one of the objects of `document`, under a secret's name, and into one of its values.

    Return it, or None if there is no object, or a CloudEvent. A message about a wrong value may quote it, but not if
    it is a secret.
    """
    objects = find_objects(document)
    # The id and the source of a CloudEvent identify it, so they are shown.
    if not objects or any("specversion" in one for one in objects):
        return None
    secret = f"Zq7{seed:x}kWx{source.getrandbits(40):010x}"
    parent = source.choice(objects)
    if parent:
        parent[source.choice([*parent])] = source.choice([secret, f"a {secret}", [secret], {secret: secret}])
    source.choice(find_objects(document))[source.choice(SECRET_NAMES)] = secret
    return secret


def find_objects(value: object) -> list[dict]:
    """Return the objects in `value`, itself included."""
    found, pending = [], [value]
    while pending:
        value = pending.pop()
        if isinstance(value, dict):
            found.append(value)
            pending += value.values()
        elif isinstance(value, list):
            pending += value
    return found


def put_body(source: Random, delivery: object, body: str) -> object:
    """Return `delivery` with `body` in one of the places of a body, or `body` itself if it has none."""
    places = [(parent, name) for parent in find_objects(delivery) for name in BODY_MEMBERS if name in parent]
    forms: list[Callable[[], object]] = [lambda: body, lambda: encode_body(body)]
    try:
        parsed = json.loads(body)
        forms.append(lambda: parsed)
    except (ValueError, RecursionError):
        pass
    if not places:
        return source.choice(forms)()
    parent, name = source.choice(places)
    parent[name] = source.choice(forms)()
    return delivery


def check_event(drawn: Drawn) -> Counter[str]:
    """Return how often each outcome came of the items of an event; raises AssertionError."""
    seconds = math.inf
    most = SECONDS + SECONDS_PER_BYTE * len(drawn.event)
    # The processor may have been busy with something else.
    for _ in range(3):
        began = time.thread_time()
        try:
            items = decode_event(drawn.event)
        except EventUnreadable as exc:
            check_secret(drawn, str(exc))
            return Counter(unreadable=1)
        taken = [read_message(item) for item in items]
        seconds = min(seconds, time.thread_time() - began)
        if seconds <= most:
            break
    assert seconds <= most, f"{seconds:.3f} s for {len(drawn.event)} bytes"
    check_secret(drawn, repr(items))
    for one in taken:
        assert not isinstance(one, Defective), one.reason
        assert str(UUID(one.delivery.key)) == one.delivery.key
        check_secret(drawn, repr(one))
        check_secret(drawn, repr([warning.as_dict() for warning in getattr(one, "warnings", ())]))
        if isinstance(one, (Rejected, Undeliverable)):
            check_secret(drawn, json.dumps(one.error.as_json()))
        if isinstance(one, Rejected):
            check_places(one)
    if len(drawn.event) % 8 == 0:
        again = [read_message(item).delivery.key for item in decode_event(drawn.event)]
        assert again == [one.delivery.key for one in taken], "other keys for the same event"
    return Counter(type(one).__name__.lower() for one in taken)


def check_secret(drawn: Drawn, text: str) -> None:
    assert drawn.secret is None or drawn.secret not in text, f"the secret {drawn.secret} is in {text}"


def check_places(rejected: Rejected) -> None:
    """Check that each violation has a rule and names a value of the request, or a member that is missing there."""
    assert rejected.error.violations, rejected
    body = rejected.envelope.body if rejected.envelope else b"null"
    for violation in rejected.error.violations:
        assert violation.rule, violation
        assert violation.message, violation
        value: object = body
        for token in tokens_of(violation.pointer):
            value = open_value(value)
            assert isinstance(value, (dict, list)), f"{violation} names nothing in {body!r}"
            if isinstance(value, dict):
                value = value.get(token, MISSING)
            else:
                value = value[int(token)] if int(token) < len(value) else MISSING


def open_value(value: object) -> object:
    """Return what is in a JSON text, in base64 or not, or `value` itself."""
    while isinstance(value, (str, bytes)):
        text = value if isinstance(value, bytes) else value.encode(errors="surrogatepass")
        try:
            # Python itself reads no integer of more than 4,300 digits.
            value = json.loads(unwrap_base64(text), parse_int=str)
        except (ValueError, RecursionError):
            return value
    return value


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    add_options(parser, 100_000)
    options = parser.parse_args()
    began, count, outcomes, broken = time.monotonic(), 0, Counter[str](), []
    for seed in each_seed(options, "events", SHOW_EVERY):
        drawn = draw_event(seed)
        try:
            outcomes += check_event(drawn)
        except Exception as exc:  # noqa: BLE001 - what a defect raises is not known
            broken.append(seed)
            sys.stdout.write(f"seed {seed}: {type(exc).__name__}: {exc}\n{drawn.event!r}\n\n")
            sys.stdout.flush()
        count += 1
    seconds = time.monotonic() - began
    items = ", ".join(f"{number} {name}" for name, number in outcomes.most_common())
    sys.stdout.write(
        f"{count} events ({items}), {seconds:.0f} s, {count / max(seconds, 1e-9):.0f} per second; "
        f"seeds that break something: {', '.join(map(str, broken)) or 'none'}\n"
    )
    raise SystemExit(1 if broken else 0)


if __name__ == "__main__":
    main()
