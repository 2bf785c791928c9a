"""The regular expressions of the contract, in the part of the language that ECMA-262 and Python share.

Rules and JSON Schemas are made of the same texts, so they cannot differ. Shared means: no `\\s`, `\\d`, `\\w`
or `\\b`, which are Unicode's in Python and ASCII's in ECMA-262, no flags, and no `$`, which Python also finds
before a last line feed.
"""

from __future__ import annotations

END = r"(?![\s\S])"
"""The end of the text."""

_BLANK = r"[\t-\r ]*"
_WHITE = r"\t-\r\u001c-\u0020\u0085\u00a0\u1680\u2000-\u200a\u2028\u2029\u202f\u205f\u3000"
_NOT_IN_WORD = r"(?![0-9A-Za-z_/.\-])"


def _caseless(text: str) -> str:
    return "".join(f"[{letter}{letter.upper()}]" for letter in text)


def _any(*words: str) -> str:
    return f"({'|'.join(_caseless(word) for word in words)})"


KEY_CHARACTERS = r"[^\u0000-\u001f\u007f-\u009f\u2028\u2029]"
"""An `idempotencyKey` holds no control character and no line or paragraph separator."""

NUMBER = rf"^{_BLANK}[+-]?([0-9]+(\.[0-9]*)?|\.[0-9]+)([eE][+-]?[0-9]+)?{_BLANK}{END}"
"""A weight that is text."""

COMMAND = rf"^{_BLANK}{_caseless('cmd')}[0-9]*{_BLANK}(,{_BLANK}{_caseless('worker')}{_BLANK})?{END}"
"""A metric source that names the output of a command."""

QUERY = rf"^{_BLANK}{_any('select', 'with', 'insert', 'from')}{_NOT_IN_WORD}"
"""A metric source that begins as SQL; a path may begin with such a word, but goes on otherwise."""

URL = rf"^{_BLANK}[A-Za-z][A-Za-z0-9+.\-]*://"
"""A metric source that begins with a scheme."""

PAIR = rf"^[{_WHITE}]*[^,{_WHITE}][^,]*,[{_WHITE}]*[^,{_WHITE}][^,]*{END}"
"""`source,destination`, neither of them blank."""

TRACEPARENT = rf"^00-(?!0{{32}})[0-9a-f]{{32}}-(?!0{{16}})[0-9a-f]{{16}}-[0-9a-f]{{2}}{END}"
"""A `traceparent` of version 00."""

BASE64 = rf"^[\t-\r A-Za-z0-9+/]*(={_BLANK}){{0,2}}{END}"
"""Base64 and white space; whether it decodes is another matter."""
