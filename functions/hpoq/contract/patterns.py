"""The regular expressions of the contract, in the syntax that ECMA-262, Python, RE2 (Go) and PCRE (PHP) share.

Rules and JSON Schemas use the same expressions, so they cannot differ. The shared syntax has no `\\s`, `\\d`, `\\w`
and `\\b`, which mean Unicode in Python and ASCII in ECMA-262, no flags, no lookahead, which RE2 lacks, and no `\\u`,
which RE2 and PCRE lack. In Python and PCRE, `$` also matches before a final line feed. So an expression ends with
something that matches a line feed anyway, or rules use `re.fullmatch` and schemas add `NO_LINE_FEED`.
"""

from __future__ import annotations

import re

_BLANK = r"[\t-\r ]*"
_WHITE = r"\t-\r\x1c-\x20\x85\xa0" + "\u1680\u2000-\u200a\u2028\u2029\u202f\u205f\u3000"
_END_OF_WORD = r"([^0-9A-Za-z_/.\-]|$)"


NO_LINE_FEED = r"\n"
"""What the text of a pattern must not match where `$` could match before a final line feed."""


def caseless(text: str) -> str:
    """Return a pattern that matches `text`, which is in lower case, in any case."""
    return "".join(f"[{letter}{letter.upper()}]" if letter.isalpha() else letter for letter in text)


def _any(*words: str) -> str:
    return f"({'|'.join(caseless(word) for word in words)})"


KEY_CHARACTERS = r"[^\x00-\x1f\x7f-\x9f" + "\u2028\u2029]"
"""One character of an `idempotencyKey`: not a control character, nor a line or paragraph separator."""

NUMBER = rf"^{_BLANK}[+-]?([0-9]+(\.[0-9]*)?|\.[0-9]+)([eE][+-]?[0-9]+)?{_BLANK}$"
"""A metric weight in quotes."""

COMMAND = rf"^{_BLANK}{caseless('cmd')}[0-9]*{_BLANK}(,{_BLANK}{caseless('worker')}{_BLANK})?$"
"""A metric source that names the output of a command."""

COMMAND_ROLE = rf"^{_BLANK}{caseless('cmd')}[0-9]*{_BLANK},{_BLANK}[A-Za-z][0-9A-Za-z_\-]*{_BLANK}$"
"""A metric source that names the output of a command in one role; `worker` is the only one that is documented."""

QUERY = rf"^{_BLANK}{_any('select', 'with', 'insert', 'from')}{_END_OF_WORD}"
"""A metric source that begins like SQL. A path may begin with such a word, but not followed by white space."""

URL = rf"^{_BLANK}[A-Za-z][A-Za-z0-9+.\-]*://"
"""A metric source that begins with a scheme."""

PAIR = rf"^[{_WHITE}]*[^,{_WHITE}][^,]*,[{_WHITE}]*[^,{_WHITE}][^,]*$"
"""`source,destination`, both of them not blank."""

TRACEPARENT = r"^00-[0-9a-f]{32}-[0-9a-f]{16}-[0-9a-f]{2}$"
"""A `traceparent` of version 00, unless it matches `ZERO_TRACE` too."""

ZERO_TRACE = r"^00-(0{32}|[0-9a-f]{32}-0{16})-"
"""A `traceparent` with a trace id or a parent id of zeros, which is invalid."""

BASE64 = rf"^[\t-\r A-Za-z0-9+/_\-]*(={_BLANK}){{0,2}}$"
"""Characters of base64, with either alphabet, and white space; the text may still be invalid base64."""


def is_traceparent(value: str) -> bool:
    """Return whether `value` is a `traceparent` of version 00 (https://www.w3.org/TR/trace-context/)."""
    return re.fullmatch(TRACEPARENT, value) is not None and re.match(ZERO_TRACE, value) is None
