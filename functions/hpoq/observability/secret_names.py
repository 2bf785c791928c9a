"""Find secrets: the one list of secret names, and the secret values in a JSON value or a text.

    a member's name      is_secret_name
    a JSON value         find_secrets: the secret values in it, including those in command lines and URLs
    a text               mask_text: removes secrets found by pattern, for a text that is not valid JSON

Members with a secret's name are masked whatever they contain. `redaction` masks what is found here in any text.

How the password in a command line is found:

    text        curl -u user:x7%21Q9 HOST
    span        13 to 20                where a pattern finds a value in the text: x7%21Q9
    meanings    x7%21Q9, x7!Q9          what the value may be, each of which is a secret
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from functools import lru_cache, partial
from itertools import pairwise
from typing import TypeAlias
from urllib.parse import unquote, unquote_plus

from fcruntime.dataclass import dataclass
from fcruntime.jsonvalue import JsonValue
from hpoq.observability.redaction import SHORTEST, Span, cut_spans, merge_spans, redact, unchanged

_Pending: TypeAlias = "tuple[JsonValue | Mapping[str, JsonValue], str, bool]"

# Shorter values in a secret URL's query or path, and shorter words of a header, are words such as "zh" or "v2".
_SHORTEST_PART = 8
_SHORTEST_SEGMENT = 16

# Names are compared without case, separators and trailing digits: `access-key_2` becomes `accesskey`.
_CONTAINED = (
    "secret",
    "password",
    "passwd",
    "passphrase",
    "credential",
    "authorization",
    "accesskey",
    "accessid",
    "apikey",
    "privatekey",
    "webhook",
    "passcode",
    "cookie",
    "authkey",
    "accountkey",
    "encryptionkey",
    "masterkey",
    "sharedkey",
    "signingkey",
    "aeskey",
)
_ENDINGS = ("token", "pwd", "pass", "signature")
_WHOLE = frozenset({"ak", "sk", "sig", "auth", "jwt", "otp"})
# Hyperparameters of language models, such as `max_token` and `pad_token`.
_HARMLESS_ENDINGS = (
    "maxtoken",
    "mintoken",
    "numtoken",
    "pertoken",
    "padtoken",
    "eostoken",
    "bostoken",
    "unktoken",
    "bypass",
    "compass",
    "numpass",
    "maxpass",
    "onepass",
    "singlepass",
)
# The URL of an alert contains a token. It is the only member of its section that does.
_ALERT_SECTION = "monitorconfig"

# The patterns. In the examples, XXXX is the secret that they find.

# The look-behind makes the pattern try each run of such characters once, from its beginning: linear time.
_NAME = r"(?<![A-Za-z0-9_.\-])[0-9.\-]{0,40}(?P<name>[A-Za-z_][A-Za-z0-9_.\-]{0,127})"
_QUOTE = r"""\\{0,8}["']"""
# One word of a shell. Nothing else ends it, because a secret may contain any character.
_WORD = r"""(?:"(?:[^"\\]|\\.)*"?|'[^']*'?|\\.|[^\s"'\\])+"""
_STRING = r""""(?:[^"\\]|\\.)*"|'[^']*'"""
_ESCAPED = r"""(?P<quote>\\{1,8}["']).{0,500}?(?P=quote)"""
# "password": "XXXX"   password: XXXX   PASSWORD=XXXX   config["password"] = "XXXX"   ?password=XXXX
_MEMBER = rf"""(?xs)
    {_NAME} (?:{_QUOTE})? (?:
        \] [ \t]{{0,8}} = (?!=) [ \t]{{0,8}}
      | \s{{0,100}} (?P<colon>:) (?![=/]) \s{{0,100}}
      | [ \t]{{0,8}} (?::=|=>?) [ \t]{{0,8}}
    )
"""
# What separates an option from its value: a comma in a list of words, otherwise blanks, or the end of a line that a
# backslash continues.
_AFTER_OPTION = rf"""(?:
    (?P<listed> {_QUOTE} [ \t]{{0,8}} , \s{{0,100}} (?={_QUOTE}[^-])) | (?:{_QUOTE})? (?:[ \t]|\\\r?\n){{1,100}}
)"""
# --password XXXX   "--password", "XXXX"
_OPTION = rf"(?xs) (?<![^\s\"'=,\[(]) (?=-) {_NAME} {_AFTER_OPTION} (?!-)"
_VALUE = rf"(?xs) {_ESCAPED} | {_WORD}"
_ITEM = rf"(?xs) {_ESCAPED} | {_STRING}"
# A plain scalar of YAML may contain spaces.
_PLAIN = r"""[^\s,{}\[\]"'][^\n,{}\[\]]*"""
# https://user:XXXX@host   https://XXXX@host
_URL_USER = r"""://[^\s/?#"'@:]*:(?P<value>[^\s/?#"']+)@|://(?P<lone>[^\s/?#"'@:]{20,})@"""
# The URL of an alert. WeCom, Feishu and Slack have their tokens in a parameter or in the last part of the path:
# https://qyapi.weixin.qq.com/cgi-bin/webhook/send?key=XXXX   https://hooks.slack.com/services/T0/B0/XXXX
_URL = r"""://[^\s"'<>]{1,400}"""
_HOOK = r"hooks?[./]"
_HOOK_PART = r"[/=](?P<value>[A-Za-z0-9_\-]{10,})(?![^&#])"
# Access key ids of the vendor, permanent and temporary.
_KEY_ID = r"(?<![0-9A-Za-z])(?P<value>LTAI[0-9A-Za-z]{12,60}|STS\.[0-9A-Za-z]{16,60})"
# Elements of XML, and properties as Hadoop writes them: <password>XXXX</password>
# <name>fs.oss.accessKeySecret</name><value>XXXX</value>
_ELEMENT = r"<(?P<name>[A-Za-z_][\w.\-]{0,127})>(?P<value>[^<>]{1,2000})</"
_PROPERTY = r"<name>\s{0,8}(?P<name>[\w.\-]{1,128})\s{0,8}</name>\s{0,100}<value>(?P<value>[^<>]{1,2000})<"
_PRIVATE_KEY = r"(?s)-----BEGIN [A-Z ]{0,30}PRIVATE KEY-----(?P<value>.+?)(?:-----END|\Z)"
_BEARER = r"(?i)\bbearer[ \t]+(?P<value>[A-Za-z0-9._~+/=\-]{8,})"
# Options that have no secret's name, by the tool that takes them, such as curl -u user:XXXX and mysql -pXXXX. They
# are looked for up to the end of the tool's command.
_TOOL = (
    r"\b(?P<tool>curl|mysql|mysqldump|sshpass|docker login|ossutil(?:64)?|odpscmd|beeline|redis-cli)\b"
    r"(?P<options>[^|;\n]{0,500})"
)
_TOOL_OPTIONS = {
    "curl": r"""(?<!\S)(?:-u|-U|--user|--proxy-user)[ =]?["']?[^\s"':]{0,64}:(?P<value>[^\s"']+)""",
    "mysql": r"""(?<!\S)-p(?P<value>[^\s"']+)""",
    "sshpass": r"""(?<!\S)-p[ ]?["']?(?P<value>[^\s"']+)""",
    "docker": r"""(?<!\S)-p[ ]["']?(?P<value>[^\s"']+)""",
    "ossutil": r"""(?<!\S)-[ikt][ ]["']?(?P<value>[^\s"']+)""",
    "odpscmd": r"""(?<!\S)-[up][ =]?["']?(?P<value>[^\s"']+)""",
    "beeline": r"""(?<!\S)-p[ ]["']?(?P<value>[^\s"']+)""",
    "redis-cli": r"""(?<!\S)-a[ ]["']?(?P<value>[^\s"']+)""",
}
_ENDS_PART = r"""[\\"'&;|<>(),#{}\[\]\s]+"""
_BRACKETS = r"""(?s)"(?:[^"\\]|\\.)*"?|'[^']*'?|[\[\]{}]"""
_PLACEHOLDER = r"(?s)\$\{[^}]*\}|\$\(.*|`.*|\$\w+|\*+|null|none|true|false"
# A text that contains a secret contains one of these: a part of its name, a word in front of it, or a URL.
_HINTS = (
    "secret",
    "pass",
    "pwd",
    "token",
    "credential",
    "auth",
    "cookie",
    "jwt",
    "otp",
    "access",
    "key",
    "ak",
    "sk",
    "sig",
    "url",
    "monitor",
    "bearer",
    "://",
    "hook",
    "ltai",
    "sts.",
    "curl",
    "mysql",
    "docker",
    "ossutil",
    "odpscmd",
    "beeline",
    "redis",
)
# Besides, it contains one of these, or an access key id, which has at least sixteen characters.
_SEPARATOR = r"[:=%\s<,]"
_SHORTEST_ALONE = 16
# Compiled with the first message, not at every cold start.
_separator = lru_cache(maxsize=None)(partial(re.compile, _SEPARATOR))
_placeholder = lru_cache(maxsize=None)(partial(re.compile, _PLACEHOLDER, re.IGNORECASE))
_LONGEST_CACHED = 64
_VALUE_OF_PAIR = ("Value", "value")
_WORD_NAME = r"[A-Za-z_]{1,24}"


def is_secret_name(name: str, parent: str = "") -> bool:
    """Return whether a member, variable, option or header with this name contains a secret.

    `parent` is the name of the object that contains the member, or empty if it is unknown. The name of a
    hyperparameter (`${token}`) is never a secret's name.
    """
    is_short = len(name) <= _LONGEST_CACHED >= len(parent)
    return _is_secret_name(name, parent) if is_short else _is_secret_name.__wrapped__(name, parent)


# Long names are not cached: they could fill the memory, and they rarely occur twice.
@lru_cache(maxsize=2048)
def _is_secret_name(name: str, parent: str) -> bool:
    if name.startswith("${"):
        return False
    plain = _normalize(name)
    if plain == "url":
        return _normalize(parent) == _ALERT_SECTION
    if plain in _WHOLE or any(word in plain for word in _CONTAINED):
        return True
    return plain.endswith(_ENDINGS) and not plain.endswith(_HARMLESS_ENDINGS)


def is_value_of_option(option: str, item: object) -> bool:
    """Return whether `item`, which follows `option` in a list, is a secret: `["run", "--token", "..."]`.

    An item with a space is a whole command, which is neither an option nor the value of one.
    """
    is_word = isinstance(item, str) and item[:1] != "-" and " " not in item and " " not in option
    return is_word and is_secret_name(option)


def find_secrets(value: JsonValue | Mapping[str, JsonValue]) -> Iterator[str]:
    """Yield each secret in a JSON value: the values of secret members, of any type, and the secrets in texts.

    Texts are read as command lines, URLs and headers. Placeholders, and values too short to be masked, are left out.
    """
    found, texts = _collect(value)
    has_separator = _separator().search
    for text in texts:
        if has_separator(text) or "LTAI" in text or "STS." in text:
            found += _find_in_text(text)
    is_placeholder = _placeholder().fullmatch
    yield from [one for one in dict.fromkeys(found) if len(one) >= SHORTEST and not is_placeholder(one)]


def mask_text(text: str) -> str:
    """Return `text`, in any format, with everything masked that looks like the value of a secret."""
    return redact(cut_spans(text, secret_spans(text)), find_secrets(text))


def secret_spans(text: str) -> list[Span]:
    """Return the spans of secret values in `text`, in order, without overlaps and without their quotes."""
    return merge_spans(_find_spans(text))


def _find_spans(text: str) -> list[Span]:
    """Return the spans of secret values in `text`. They overlap where it can be read in several ways."""
    return [
        *_member_spans(text),
        *_option_spans(text),
        *_tool_spans(text),
        *_url_spans(text),
        *_block_spans(text),
    ]


def _normalize(name: str) -> str:
    return re.sub(r"[^a-z0-9]+", "", name.lower()).rstrip("0123456789")


def _collect(value: JsonValue | Mapping[str, JsonValue]) -> tuple[list[str], list[str]]:
    """Return the values of secret members in `value` with their parts, and the texts that may contain secrets."""
    found, texts = list[str](), list[str]()
    pending: list[_Pending] = [(value, "", False)]
    while pending:
        value, parent, is_secret = pending.pop()
        if isinstance(value, str):
            if is_secret:
                found += _parts_of_secret(value)
            texts.append(value)
        elif isinstance(value, list):
            pending += [
                (item, parent, is_secret)
                for item in value
                if is_secret or isinstance(item, (str, list, dict))
            ]
            for option, item in pairwise(value):
                if isinstance(option, str) and option[:1] == "-" and is_value_of_option(option, item):
                    found.append(str(item))
        elif isinstance(value, (int, float)):
            if is_secret and not isinstance(value, bool):
                found.append(json.dumps(value))
        elif value is not None:
            _collect_members(value, parent, found, texts, pending, is_secret=is_secret)
    return found, texts


def _collect_members(
    value: Mapping[str, JsonValue],
    parent: str,
    found: list[str],
    texts: list[str],
    pending: list[_Pending],
    *,
    is_secret: bool,
) -> None:
    """Look at each member of an object. Every request has fifty members, so this is short for most of them."""
    # A tag is an object with one member for the name and one for the value, and so is a variable of a container.
    key = value.get("Key", value.get("name"))
    has_value = isinstance(key, str) and is_secret_name(key)
    for name, member in value.items():
        about = _read_name(name) if len(name) <= _LONGEST_CACHED else _read_name.__wrapped__(name)
        inside = is_secret or (has_value and name in _VALUE_OF_PAIR)
        if about is not None:
            inside |= about.is_secret or (about.is_url and _normalize(parent) == _ALERT_SECTION)
            inside |= about.is_alert and not isinstance(member, dict)
            if about.holds_secret and not is_secret:
                texts.append(name)
        if is_secret and re.fullmatch(_WORD_NAME, name) is None:
            found.append(name)  # a credential that was written as a name by mistake
        if inside or isinstance(member, (dict, list)):
            pending.append((member, name, inside))
        elif isinstance(member, str) and (len(member) >= _SHORTEST_ALONE or not member.isalnum()):
            texts.append(member)


@dataclass(frozen=True)
class _Name:
    """The kind of a member, as far as its name shows it.

    `is_alert` names the section of alerts, whose member with `is_url` is secret. `holds_secret` says that the name is
    itself a text with a secret in it.
    """

    is_secret: bool
    is_url: bool
    is_alert: bool
    holds_secret: bool


@lru_cache(maxsize=2048)
def _read_name(name: str) -> _Name | None:
    """Return what `name` says, or None if it says nothing, as most names do."""
    plain = _normalize(name)
    about = _Name(
        is_secret=is_secret_name(name),
        is_url=plain == "url" and not name.startswith("${"),
        is_alert=plain == _ALERT_SECTION,
        holds_secret=any(True for _ in _find_in_text(name)),
    )
    return about if any(about.__dict__.values()) else None


def _parts_of_secret(secret: str) -> Iterator[str]:
    """Yield a secret, and its parts that may be quoted alone: the token in a URL, or after a header's scheme."""
    yield secret
    address, _, query = secret.partition("?")
    if "://" in address:
        for pair in re.split("[&;#]", query):
            value = pair.partition("=")[2]
            if len(value) >= _SHORTEST_PART:
                yield from (value, unquote_plus(value))
        segment = address.rpartition("/")[2]
        if len(segment) >= _SHORTEST_SEGMENT:
            yield segment
    words = secret.split()
    if len(words) > 1:
        yield secret.partition(words[0])[2].strip()
        yield from (word for word in words if len(word) >= _SHORTEST_PART)


def _find_in_text(text: str) -> Iterator[str]:
    for form in {text, unquote(text)} if "%" in text else (text,):
        # Most texts contain no secret, and this check takes a fraction of the time of the patterns.
        if not any(map(form.lower().__contains__, _HINTS)):
            continue
        for start, end in _find_spans(form):
            yield from _list_meanings(form[start:end])


def _list_meanings(written: str) -> Iterator[str]:
    """Yield the possible meanings of a value that was found in a command line, a URL or a piece of JSON."""
    if unchanged().fullmatch(written):
        yield written
        return
    pieces = [piece for piece in re.split(_ENDS_PART, written) if piece]
    if written.startswith(("[", "{")):
        yield from pieces
        return
    # A quote may end the value, as in -H "Authorization: Bearer ...", or continue it, as in PASSWORD=ab"c d".
    before_quote = re.split("[\"']", written)[0]
    yield from (written, _unquote(written))
    for meaning in {before_quote, *pieces[:1]}:
        yield from _parts_of_secret(meaning)
        if "%" in meaning:
            yield unquote(meaning)
    for piece in pieces[1:]:
        name, _, value = piece.partition("=")
        if value and is_secret_name(name):
            yield from (value, unquote(value))


def _unquote(word: str) -> str:
    """Return the text that a shell reads from a word."""
    return re.sub(
        r"""(?s)"((?:[^"\\]|\\.)*)"?|'([^']*)'?|\\(.)""",
        lambda part: (
            re.sub(r"(?s)\\([\"\\$`])", r"\1", part[1]) if part[1] is not None else part[2] or part[3] or ""
        ),
        word,
    )


def _member_spans(text: str) -> Iterator[Span]:
    """Yield values after `name:` and `name=`: members of JSON and YAML, headers, variables, queries of URLs."""
    member, at = re.compile(_MEMBER), 0
    while found := member.search(text, at):
        at = found.end()
        name, opens = found["name"], text[at : at + 1] in ("[", "{")
        is_alert = found["colon"] is not None and _normalize(name) in (_ALERT_SECTION, "url")
        if not is_secret_name(name) and not (is_alert and not opens):
            continue
        if opens and found["colon"]:
            end = _closing(text, at)
        else:
            plain = (
                re.compile(_PLAIN).match(text, at) if found["colon"] and text[at : at + 1] != "\\" else None
            )
            value = plain or re.compile(_VALUE).match(text, at)
            end = value.end() if value else at
        if end > at:
            yield _inside_quotes(text, at, end, is_member=found["colon"] is not None)
            at = end


def _option_spans(text: str) -> Iterator[Span]:
    """Yield values after `--name`, on a command line or in a list of words."""
    for found in re.finditer(_OPTION, text) if "-" in text else ():
        if is_secret_name(found["name"]):
            is_listed = found["listed"] is not None
            value = re.compile(_ITEM if is_listed else _VALUE).match(text, found.end())
            if value:
                yield _inside_quotes(text, *value.span(), is_member=is_listed)


def _tool_spans(text: str) -> Iterator[Span]:
    """Yield values of options that only their tool makes secret, such as `curl -u user:password`."""
    for tool in re.finditer(_TOOL, text) if any(map(text.__contains__, _TOOL_OPTIONS)) else ():
        name = next(name for name in _TOOL_OPTIONS if tool["tool"].startswith(name))
        for found in re.compile(_TOOL_OPTIONS[name]).finditer(text, *tool.span("options")):
            yield found.span("value")


def _url_spans(text: str) -> Iterator[Span]:
    """Yield passwords and tokens in the user part of a URL and in that of an alert, bearer tokens, access key ids."""
    for found in re.finditer(_URL_USER, text) if "@" in text else ():
        yield found.span("value") if found["value"] is not None else found.span("lone")
    for found in re.finditer(_BEARER, text) if "bearer" in text.lower() else ():
        yield found.span("value")
    for found in re.finditer(_KEY_ID, text) if "LTAI" in text or "STS." in text else ():
        yield found.span("value")
    for url in re.finditer(_URL, text) if "hook" in text else ():
        if re.search(_HOOK, url[0]):
            for found in re.compile(_HOOK_PART).finditer(text, *url.span()):
                yield found.span("value")


def _block_spans(text: str) -> Iterator[Span]:
    """Yield the contents of XML elements with a secret's name, and private keys."""
    for pattern in (_ELEMENT, _PROPERTY) if "</" in text else ():
        for found in re.finditer(pattern, text):
            if is_secret_name(found["name"]):
                yield found.span("value")
    for found in re.finditer(_PRIVATE_KEY, text) if "PRIVATE KEY-----" in text else ():
        yield found.span("value")


def _inside_quotes(text: str, start: int, end: int, *, is_member: bool) -> Span:
    """Return the span without the quotes around it.

    The value of a member ends at its closing quote; the word of a shell may continue after it.
    """
    opening = re.compile(_QUOTE).match(text, start, end)
    if not opening:
        return start, end
    inner, quotes = opening.end(), opening[0]
    string = re.compile(_ESCAPED if quotes[0] == "\\" else _STRING, re.DOTALL).match(text, start, end)
    if not string or (string.end() < end and not is_member):
        return (start, end) if string else (inner, end)
    return inner, string.end() - len(quotes)


def _closing(text: str, start: int) -> int:
    """Return where the array or object that begins at `start` ends, or the text's end if it is not closed."""
    depth = 0
    for token in re.compile(_BRACKETS).finditer(text, start):
        depth += {"[": 1, "{": 1, "]": -1, "}": -1}.get(token[0], 0)
        if depth == 0:
            return token.end()
    return len(text)
