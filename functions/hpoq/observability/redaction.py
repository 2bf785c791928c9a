"""Mask known secrets in texts, so that none leaves the function: the one mask.

Known are the current credentials, and the secrets that `secret_names` finds in a request. They are masked in any
text, in every spelling that JSON, HTML or a URL gives them.

    redact           removes secrets from one text; a Mask does from several
    known_secrets    adds secrets to those of the current context, which known_mask and redact_known remove

How the secret `ab/cd` is found in a URL that is part of another URL:

    layers      key=ab%252Fcd&x=1     the text as it is
                key=ab%2Fcd&x=1       decoded once
                key=ab/cd&x=1         decoded twice: this one contains the secret
    span        4 to 13               where the secret's characters stand in the text: ab%252Fcd
    result      key=***&x=1

Each layer has its characters, and for each the place in the text that it was read from. A secret may contain escapes
too, so it is decoded in the same way: its readings are what is looked for in each layer.
"""

from __future__ import annotations

import json
import re
import threading
from collections.abc import Iterable, Iterator, Sequence
from contextlib import AbstractContextManager
from contextvars import ContextVar
from functools import cached_property, lru_cache, partial
from itertools import chain
from typing import TypeAlias
from urllib.parse import quote

from fcruntime.dataclass import dataclass
from hpoq.observability import Assigned

MASK = "***"

Span: TypeAlias = tuple[int, int]
"""Where a secret stands in a text: the index of its first character, and that of the first one behind it."""

# A shorter secret is not masked: that would make every text unreadable and hide nothing.
SHORTEST = 4

# A character as JSON, a string literal, a URL or HTML writes it. JSON within JSON doubles the backslashes.
_SPELLING = r"""(?xs)
    \\+ (?:
        u(?P<pair>[Dd][89ABab][0-9A-Fa-f]{2} \\+ u[Dd][C-Fc-f][0-9A-Fa-f]{2})
      | (?:u(?=[0-9A-Fa-f]{4})|x)(?P<code>(?<=u)[0-9A-Fa-f]{4}|(?<=x)[0-9A-Fa-f]{2})
      | (?P<char>.)
    )?
  | % (?P<byte>[0-9A-Fa-f]{2})
  | & (?P<entity>\#?[0-9A-Za-z]{1,31};)
"""
_BACKSLASHES = r"(?:\\|%(?:25)*5[cC]|&#0*(?:92|x5[cC]);)*"
_spelling = lru_cache(maxsize=None)(partial(re.compile, _SPELLING))
# Spellings within each other, such as a URL in HTML in JSON. Each layer that is read takes time.
_MOST_LAYERS = 6
# `\n` without its backslash is `n`, and forms write a space as `+`. A text that has `n` or a space instead is masked
# too, which does no harm.
_ALIKE = str.maketrans("\n\r\t\b\f\v+", "nrtbfv ")
# Occurrences of a longer secret that overlap are not all looked for: that takes quadratic time.
_LONGEST_OVERLAP = 256
# Most secrets consist of characters that JSON and URLs write as they are.
_UNCHANGED = r"[A-Za-z0-9_.~\-]*"
unchanged = lru_cache(maxsize=None)(partial(re.compile, _UNCHANGED))
_write_json = json.JSONEncoder(ensure_ascii=False).encode


@dataclass(frozen=True)
class _Layer:
    """A text after some decodings, with the places in the text where each of its characters begins and ends.

    The characters are the bytes of the text's UTF-8, as Latin-1, because URLs encode bytes.
    """

    chars: str
    starts: Sequence[int]
    ends: Sequence[int]


class Mask:
    """Masks `secrets` in texts, in any spelling that JSON, string literals, URLs and HTML give their characters.

    A secret is found whichever of its characters are escaped, and in linear time; the module's docstring shows how. A
    secret of fewer than four characters is not masked.
    """

    def __init__(self, secrets: Iterable[str]) -> None:
        # For each reading of a secret: the length of the shortest secret that has it, and whether backslashes after
        # it belong to the secret.
        self._readings: dict[str, tuple[int, bool]] = {}
        self._changed = list[str]()
        is_unchanged = unchanged().fullmatch
        for secret in set(secrets):
            if len(secret) < SHORTEST:
                continue
            if is_unchanged(secret):
                self._add(secret, secret)
                continue
            self._changed.append(secret)
            for layer in _read_layers(secret):
                self._add(layer.chars, secret)
        self._readings.pop("", None)
        self._shortest = min((shortest for shortest, _ in self._readings.values()), default=0)

    def _add(self, reading: str, secret: str) -> None:
        is_open = secret.endswith("\\") or secret[-3:].lower() == "%5c"
        shortest, was_open = self._readings.get(reading, (len(secret), False))
        self._readings[reading] = min(shortest, len(secret)), is_open or was_open

    def __call__(self, text: str) -> str:
        """Return `text` with the secrets masked."""
        # No encoded form is shorter than the secret itself, and most values in the log are short.
        if not self._readings or len(text) < self._shortest:
            return text
        has_one_reading = text.isascii() and not ("\\" in text or "%" in text or "&" in text)
        if has_one_reading and not any(map(text.translate(_ALIKE).__contains__, self._readings)):
            return text
        found = self._find(text)
        return cut_spans(text, found) if found else text

    @cached_property
    def _written(self) -> set[str]:
        """The secrets as they are usually written. A decoded layer may join them with the characters around them."""
        # A text of a service or of an invalid request may contain an unpaired surrogate, which no URL can.
        forms = [
            (json.dumps(one)[1:-1], _write_json(one)[1:-1], quote(one, errors="replace"))
            for one in self._changed
        ]
        return {*chain.from_iterable(forms)}

    def _find(self, text: str) -> list[Span]:
        found = list[Span]()
        for form in self._written:
            at = text.find(form)
            while at >= 0:
                found.append((at, at + len(form)))
                at = text.find(form, at + len(form))
        for layer in _read_layers(text):
            for reading in self._readings:
                if reading in layer.chars:
                    found += self._find_reading(reading, text, layer)
        return found

    def _find_reading(self, reading: str, text: str, layer: _Layer) -> Iterator[Span]:
        """Yield the spans in `text` of a reading that `layer` contains."""
        shortest, is_open = self._readings[reading]
        at, size, last = layer.chars.find(reading), len(reading), 0
        while at >= 0:
            start, end = layer.starts[at], layer.ends[at + size - 1]
            if is_open and end > last and (rest := re.compile(_BACKSLASHES).match(text, end)):
                end = rest.end()
            # A secret such as `%2541` decodes to a single letter, which must not mask that letter everywhere.
            if end > last and end - start >= shortest:
                yield start, end
                last = end
            at = layer.chars.find(reading, at + (1 if size <= _LONGEST_OVERLAP else size))


def _read_layers(text: str) -> Iterator[_Layer]:
    """Yield `text` as it is, and as it reads after each decoding that changes it."""
    starts: Sequence[int] = range(len(text))
    ends: Sequence[int] = range(1, len(text) + 1)
    if text.isascii():
        chars = text.translate(_ALIKE)
    else:
        chars = _to_bytes(text)
        starts = [at for at, char in enumerate(text) for _ in _to_bytes(char)]
        ends = [start + 1 for start in starts]
    for _ in range(_MOST_LAYERS):
        yield _Layer(chars, starts, ends)
        if not ("\\" in chars or "%" in chars or "&" in chars):
            return
        read, at = list[str](), 0
        new_starts, new_ends = list[int](), list[int]()
        for token in _spelling().finditer(chars):
            start, end = token.span()
            meaning = _read_spelling(token)
            read += (chars[at:start], meaning)
            new_starts += (*starts[at:start], *[starts[start]] * len(meaning))
            new_ends += (*ends[at:start], *[ends[end - 1]] * len(meaning))
            at = end
        before, chars = chars, "".join((*read, chars[at:]))
        if chars == before:
            return
        starts, ends = [*new_starts, *starts[at:]], [*new_ends, *ends[at:]]


def _read_spelling(token: re.Match[str]) -> str:
    if token["byte"]:
        return chr(int(token["byte"], 16)).translate(_ALIKE)
    if token["entity"]:
        from html import unescape  # not loaded at every cold start

        return _to_bytes(unescape(token[0]))
    if token["pair"]:
        return _to_bytes(bytes.fromhex(re.sub(r"\\+u", "", token["pair"])).decode("utf-16-be"))
    return _to_bytes(chr(int(token["code"], 16))) if token["code"] else token["char"] or ""


def _to_bytes(text: str) -> str:
    return text.encode(errors="replace").decode("latin-1").translate(_ALIKE)


_NOTHING = Mask(())


class _Known:
    """The secrets of a context. They are searched for when a text is first masked, which may be never."""

    def __init__(self, outer: _Known | None, secrets: Iterable[str]) -> None:
        self._outer = outer
        self._source: Iterable[str] | None = secrets
        self._secrets: frozenset[str] | None = None
        self._mask: Mask | None = None
        # The source may be an iterator, which two threads must not advance together.
        self._lock = threading.Lock()

    def secrets(self) -> frozenset[str]:
        with self._lock:
            if self._secrets is None:
                source, self._source = self._source, None
                if source is None:  # an iterator that has failed seems to be at its end
                    raise RuntimeError("the search for secrets has failed, so nothing can be written")
                outer = self._outer.secrets() if self._outer else frozenset[str]()
                self._secrets = outer | frozenset(source)
            return self._secrets

    def mask(self) -> Mask:
        if self._mask is None:
            self._mask = Mask(self.secrets())
        return self._mask


_known: ContextVar[_Known | None] = ContextVar("hpoq_secrets", default=None)


def merge_spans(found: Iterable[Span]) -> list[Span]:
    """Return the spans in `found` in order, each group that overlaps as one span."""
    spans = list[Span]()
    for start, end in sorted(found):
        if spans and start < spans[-1][1]:
            spans[-1] = spans[-1][0], max(end, spans[-1][1])
        else:
            spans.append((start, end))
    return spans


def cut_spans(text: str, found: Iterable[Span]) -> str:
    """Return `text` with the spans in `found`, which may overlap, masked."""
    parts, end = list[str](), 0
    for start, stop in merge_spans(found):
        parts += (text[end:start], MASK)
        end = stop
    return "".join((*parts, text[end:]))


def redact(text: str, secrets: Iterable[str]) -> str:
    """Return `text` with all `secrets` masked, in any spelling. For several texts, make one `Mask`."""
    return Mask(secrets)(text)


def known_secrets(secrets: Iterable[str]) -> AbstractContextManager[None]:
    """Remove `secrets` from log lines too, within this context and in contexts copied from it.

    They are iterated over once, when a text is first masked.
    """
    return Assigned(_known, _Known(_known.get(), secrets))


def redact_known(text: str) -> str:
    """Return `text` with the secrets masked that `known_secrets` has added to the current context."""
    return known_mask()(text)


def known_mask() -> Mask:
    """Return the mask of the secrets that `known_secrets` has added to the current context."""
    known = _known.get()
    return known.mask() if known else _NOTHING
