"""Records in Redis, Tair or Valkey (6.0 and later), for any number of instances.

A record is one string. A script replaces it if its whole text is the expected one, so the server need not know the
form of a record. A record whose event is published expires by itself, 7 days after its retention, so that a message
that comes back at the very end of the retention still finds it. No other record expires.

If the server forgets a claim, a second experiment follows. So it must persist every write (`appendfsync always`, or a
managed edition that does so) and must not evict keys (`maxmemory-policy noeviction`). If a replica may take over,
`replicas` is how many replicas must have a write before it counts.

WAIT confirms only the writes of its own connection. Script and WAIT are therefore sent together over one connection,
and are repeated together or not at all: after a failover, a WAIT alone would confirm what the new primary never got.
For the same reason a repeated script writes a record again that is already there.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import cast
from urllib.parse import parse_qsl, urlencode, urlsplit

from redis import Redis
from redis.backoff import NoBackoff
from redis.exceptions import (
    AuthenticationError,
    ClusterDownError,
    ReadOnlyError,
    RedisError,
    ResponseError,
    TryAgainError,
)
from redis.retry import Retry

from hpoq.errors import Denied, SettingsError, StoreUnavailable
from hpoq.idempotency.record import Record, Version, decode, encode

_INSERT = """
local existing = redis.call('GET', KEYS[1])
if existing and existing ~= ARGV[1] then return existing end
redis.call('SET', KEYS[1], ARGV[1])
if ARGV[2] ~= '' then redis.call('PEXPIRE', KEYS[1], ARGV[2]) end
return false
"""
_SWAP = """
if redis.call('GET', KEYS[1]) ~= ARGV[1] then return 0 end
redis.call('SET', KEYS[1], ARGV[2])
if ARGV[3] ~= '' then redis.call('PEXPIRE', KEYS[1], ARGV[3]) end
return 1
"""
# Needs the permissions of both scripts, and the memory, but writes nothing to a key that does not exist.
_TRIAL = """
redis.call('SET', KEYS[1], '', 'XX')
redis.call('PEXPIRE', KEYS[1], '1')
return redis.call('GET', KEYS[1])
"""
# The answers of a server that is starting, is being replaced, or waits for its replicas.
_PASSING = (ReadOnlyError, ClusterDownError, TryAgainError)
_PASSING_CODES = r"\b(NOREPLICAS|BUSY)\b"
_MOST_SWAPS = 8
_KEPT_SECONDS = 7 * 86_400
"""How long a published record is kept beyond its retention."""


class RedisStore:
    """A `Store` at `url` (`redis://`, `rediss://`; https://www.iana.org/assignments/uri-schemes/prov/redis).

    `timeout_seconds` bounds connecting and each answer. `prefix` is put in front of every key. Raises SettingsError
    for an invalid URL.
    """

    def __init__(
        self, url: str, *, prefix: str = "hpoq:", replicas: int = 0, timeout_seconds: float = 3.0
    ) -> None:
        self._prefix = prefix
        self._replicas = replicas
        self._timeout_seconds = timeout_seconds
        try:
            # The client would pass unknown options on to its connections, and read a name as database 0.
            if not re.fullmatch(r"/?|/[0-9]+", urlsplit(url).path):
                raise ValueError
            self._client = Redis.from_url(
                url,
                decode_responses=True,
                # Text that is not UTF-8 is a damaged record, not an error of the client.
                encoding_errors="surrogateescape",
                socket_timeout=timeout_seconds,
                socket_connect_timeout=timeout_seconds,
                retry=Retry(NoBackoff(), 1),
            )
            # Not taken from the pool, which would count it towards `max_connections` forever.
            pool = self._client.connection_pool
            pool.connection_class(**pool.connection_kwargs)
        except ValueError:
            raise SettingsError(
                ["HPOQ_STORE: not a Redis URL; use redis://HOST:PORT/DB, where DB is a number"]
            ) from None
        except (TypeError, RedisError):
            raise SettingsError(
                ["HPOQ_STORE: the Redis client does not accept an option of the URL"]
            ) from None

    @classmethod
    def open(cls, url: str) -> RedisStore:
        """Open the store that `url` names; its query may set `timeout`, `prefix` and `replicas`.

        Raises SettingsError.
        """
        parts = urlsplit(url)
        given = dict(parse_qsl(parts.query))
        prefix, replicas = given.pop("prefix", "hpoq:"), given.pop("replicas", "0")
        timeout = given.pop("timeout", "3")
        bare = parts._replace(query=urlencode(given)).geturl()
        try:
            return cls(bare, prefix=prefix, replicas=int(replicas), timeout_seconds=float(timeout))
        except ValueError:
            raise SettingsError(["HPOQ_STORE: replicas and timeout must be numbers"]) from None

    def get(self, key: str) -> Record | None:
        text = self._read(key)
        return None if text is None else decode(key, text)

    def get_many(self, keys: Sequence[str]) -> dict[str, Record]:
        with self._answers():
            texts = cast("list[str | None]", self._client.mget([self._prefix + key for key in keys]))
        return {key: decode(key, text) for key, text in zip(keys, texts, strict=True) if text is not None}

    def scan(self) -> Iterator[tuple[str, str]]:
        """Yield the key and the text of every record, for an audit."""
        pattern = re.sub(r"[*?\[\]\\^]", r"\\\g<0>", self._prefix) + "*"
        with self._answers():
            # The server may return a name twice.
            for name in set(self._client.scan_iter(match=pattern, count=500)):
                key = str(name).removeprefix(self._prefix)
                text = self._read(key)
                if text is not None and not _is_of_longer_prefix(key, text):
                    yield key, text

    def insert(self, record: Record) -> Record | None:
        answer = self._write(_INSERT, record.key, encode(record), _compute_lifetime(record))
        existing = None if answer is None else decode(record.key, cast("str", answer))
        return None if existing == record else existing

    def replace(self, record: Record, expected: Version) -> bool:
        for _ in range(_MOST_SWAPS):
            text = self._read(record.key)
            if text is None:
                return False
            existing = decode(record.key, text)
            if existing != record and existing.version != expected:
                return False
            if self._write(_SWAP, record.key, text, encode(record), _compute_lifetime(record)):
                return True
        raise StoreUnavailable("redis: the record changes too fast")

    def try_write(self, key: str) -> None:
        """Try what a write needs, without writing anything: `key` must have no record."""
        self._write(_TRIAL, key)

    def close(self) -> None:
        self._client.close()

    def _read(self, key: str) -> str | None:
        with self._answers():
            return cast("str | None", self._client.get(self._prefix + key))

    def _write(self, script: str, key: str, *arguments: str) -> str | int | None:
        """Run `script` and wait for the replicas, over one connection; return what the script returns."""
        with self._answers(), self._client.pipeline(transaction=False) as pipe:
            # Not EVALSHA: a server that does not know the script would cost a second call.
            pipe.eval(script, 1, self._prefix + key, *arguments)
            if self._replicas:
                pipe.wait(self._replicas, int(self._timeout_seconds * 500))
            answers = pipe.execute()
        if self._replicas and answers[1] < self._replicas:
            self._drop_connections()
            raise StoreUnavailable(f"redis: {answers[1]} of {self._replicas} replicas have the write")
        return cast("str | int | None", answers[0])

    @contextmanager
    def _answers(self) -> Iterator[None]:
        try:
            yield
        except (RedisError, OSError) as exc:
            self._drop_connections()
            # Only the type, because the text may quote what was sent.
            raise StoreUnavailable(f"redis: {type(exc).__name__}") from _find_refusal(exc) or exc
        except BaseException:
            # After an interruption an answer may still come: the next call would read it as its own.
            self._drop_connections()
            raise

    def _drop_connections(self) -> None:
        """Close the idle connections, because they may lead to a server that is no longer the primary.

        A failover may leave them open: then the old primary refuses every write, or has no replica any more, and only
        a new connection reaches the new one.
        """
        self._client.connection_pool.disconnect(inuse_connections=False)


def _find_refusal(exc: Exception) -> Denied | None:
    """Return the error of a server that answers and refuses the call until an operator fixes that, or None.

    The user may lack a permission, the password may be wrong, or the memory may be used up.
    """
    if not isinstance(exc, (AuthenticationError, ResponseError)):
        return None
    if isinstance(exc, _PASSING) or re.search(_PASSING_CODES, str(exc)):
        return None
    refusal = Denied(
        f"the server refuses the call ({type(exc).__name__})", service="redis", operation="command"
    )
    refusal.__cause__ = exc
    return refusal


def _is_of_longer_prefix(key: str, text: str) -> bool:
    """Return whether the record in `text` belongs to another store, whose prefix begins with this one's."""
    try:
        own = json.loads(text)["key"]
    except (ValueError, TypeError, KeyError, RecursionError):
        return False
    return isinstance(own, str) and key != own and key.endswith(own)


def _compute_lifetime(record: Record) -> str:
    """Return for how many milliseconds `record` is kept, or an empty text if it does not expire.

    A duration and not a time, because a server whose clock is ahead would remove the record too early.
    """
    if record.published_at is None:
        return ""
    retained = max(record.expires_at - record.published_at, 0.0)
    return str(math.ceil((retained + _KEPT_SECONDS) * 1000))
