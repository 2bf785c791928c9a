"""Records in Redis, Tair or Valkey (6.0 and later), for any number of instances.

A record is one string. It is swapped by a script that compares the whole text, so that the server needs to know
nothing of records, and runs no longer than one comparison. A record whose event is published expires by itself;
no other one does.

A claim that the server forgets is a second experiment: it must persist every write (`appendfsync always`, or a
managed edition that does), must not evict (`maxmemory-policy noeviction`), and where a replica may take its place
`replicas` says how many must have a write before it counts.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import cast
from urllib.parse import parse_qsl, urlencode, urlsplit

from redis import Redis
from redis.backoff import NoBackoff
from redis.exceptions import RedisError
from redis.retry import Retry

from hpoq.errors import SettingsError, StoreUnavailable
from hpoq.idempotency.record import Record, Version, decode, encode

_INSERT = """
local standing = redis.call('GET', KEYS[1])
if standing then return standing end
redis.call('SET', KEYS[1], ARGV[1])
if ARGV[2] ~= '' then redis.call('PEXPIREAT', KEYS[1], ARGV[2]) end
return false
"""
_SWAP = """
if redis.call('GET', KEYS[1]) ~= ARGV[1] then return 0 end
redis.call('SET', KEYS[1], ARGV[2])
if ARGV[3] ~= '' then redis.call('PEXPIREAT', KEYS[1], ARGV[3]) end
return 1
"""
_MOST_SWAPS = 8


class RedisStore:
    """A `Store` at `url` (`redis://`, `rediss://`; https://www.iana.org/assignments/uri-schemes/prov/redis).

    `timeout_seconds` bounds connecting and each answer. `prefix` stands before every key. The URL's query may set
    all three (`timeout`, `prefix`, `replicas`). Raises SettingsError for a URL that is none.
    """

    def __init__(
        self, url: str, *, prefix: str = "hpoq:", replicas: int = 0, timeout_seconds: float = 3.0
    ) -> None:
        self._prefix = prefix
        self._replicas = replicas
        self._timeout_seconds = timeout_seconds
        try:
            self._client = Redis.from_url(
                url,
                decode_responses=True,
                socket_timeout=timeout_seconds,
                socket_connect_timeout=timeout_seconds,
                retry=Retry(NoBackoff(), 1),
            )
        except ValueError:
            raise SettingsError(["HPOQ_STORE: not a Redis URL; use redis://HOST:PORT/DB"]) from None
        self._insert = self._client.register_script(_INSERT)
        self._swap = self._client.register_script(_SWAP)

    @classmethod
    def open(cls, url: str) -> RedisStore:
        """The store that `url` names, settings in its query included. Raises SettingsError."""
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

    def insert(self, record: Record) -> Record | None:
        with self._answers():
            answer = self._insert(keys=[self._prefix + record.key], args=[encode(record), _expiry(record)])
            standing = None if answer is None else decode(record.key, cast("str", answer))
            self._persist()
        return None if standing is None or standing == record else standing

    def replace(self, record: Record, expected: Version) -> bool:
        for _ in range(_MOST_SWAPS):
            text = self._read(record.key)
            standing = None if text is None else decode(record.key, text)
            if text is None or standing is None:
                return False
            if standing != record and standing.version != expected:
                return False
            if self._swapped(record, text):
                return True
        raise StoreUnavailable("redis: the record changes too fast")

    def close(self) -> None:
        self._client.close()

    def _read(self, key: str) -> str | None:
        with self._answers():
            return cast("str | None", self._client.get(self._prefix + key))

    def _swapped(self, record: Record, standing: str) -> bool:
        with self._answers():
            args = [standing, encode(record), _expiry(record)]
            done = bool(self._swap(keys=[self._prefix + record.key], args=args))
            if done:
                self._persist()
        return done

    def _persist(self) -> None:
        """Wait for the replicas; a write that is repeated for their sake changes nothing."""
        if not self._replicas:
            return
        have = self._client.wait(self._replicas, int(self._timeout_seconds * 500))
        if have < self._replicas:
            raise StoreUnavailable(f"redis: {have} of {self._replicas} replicas have the write")

    @contextmanager
    def _answers(self) -> Iterator[None]:
        try:
            yield
        except (RedisError, OSError) as exc:
            # By its type alone where the text could quote what was sent.
            raise StoreUnavailable(f"redis: {type(exc).__name__}") from exc


def _expiry(record: Record) -> str:
    """In milliseconds since the epoch; empty if the record stays."""
    return "" if record.published_at is None else str(math.ceil(record.expires_at * 1000))
