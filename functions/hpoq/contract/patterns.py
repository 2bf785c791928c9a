"""The regular expressions of the contract, in the syntax that ECMA-262 and Python share.

Rules and JSON Schemas use the same expressions, so they cannot differ. The shared syntax has no `\\s`, `\\d`, `\\w`
and `\\b`, which mean Unicode in Python and ASCII in ECMA-262, no flags, and no `$`, which in Python also matches
before a final line feed.
"""

from __future__ import annotations

END = r"(?![\s\S])"
"""The end of the text."""

_BLANK = r"[\t-\r ]*"
_WHITE = r"\t-\r\u001c-\u0020\u0085\u00a0\u1680\u2000-\u200a\u2028\u2029\u202f\u205f\u3000"
_NOT_IN_WORD = r"(?![0-9A-Za-z_/.\-])"


def caseless(text: str) -> str:
    """Return a pattern that matches `text`, which is in lower case, in any case."""
    return "".join(f"[{letter}{letter.upper()}]" if letter.isalpha() else letter for letter in text)


def _any(*words: str) -> str:
    return f"({'|'.join(caseless(word) for word in words)})"


KEY_CHARACTERS = r"[^\u0000-\u001f\u007f-\u009f\u2028\u2029]"
"""One character of an `idempotencyKey`: not a control character, nor a line or paragraph separator."""

NUMBER = rf"^{_BLANK}[+-]?([0-9]+(\.[0-9]*)?|\.[0-9]+)([eE][+-]?[0-9]+)?{_BLANK}{END}"
"""A metric weight in quotes."""

COMMAND = rf"^{_BLANK}{caseless('cmd')}[0-9]*{_BLANK}(,{_BLANK}{caseless('worker')}{_BLANK})?{END}"
"""A metric source that names the output of a command."""

COMMAND_ROLE = rf"^{_BLANK}{caseless('cmd')}[0-9]*{_BLANK},{_BLANK}[A-Za-z][0-9A-Za-z_\-]*{_BLANK}{END}"
"""A metric source that names the output of a command in one role; `worker` is the only one that is documented."""

QUERY = rf"^{_BLANK}{_any('select', 'with', 'insert', 'from')}{_NOT_IN_WORD}"
"""A metric source that begins like SQL. A path may begin with such a word, but not followed by white space."""

URL = rf"^{_BLANK}[A-Za-z][A-Za-z0-9+.\-]*://"
"""A metric source that begins with a scheme."""

PAIR = rf"^[{_WHITE}]*[^,{_WHITE}][^,]*,[{_WHITE}]*[^,{_WHITE}][^,]*{END}"
"""`source,destination`, both of them not blank."""

TRACEPARENT = rf"^00-(?!0{{32}})[0-9a-f]{{32}}-(?!0{{16}})[0-9a-f]{{16}}-[0-9a-f]{{2}}{END}"
"""A `traceparent` of version 00."""

BASE64 = rf"^[\t-\r A-Za-z0-9+/_\-]*(={_BLANK}){{0,2}}{END}"
"""Characters of base64, with either alphabet, and white space; the text may still be invalid base64."""
