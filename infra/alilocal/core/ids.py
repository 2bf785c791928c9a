"""The one random source of a cloud, and the ids that come from it.

Their forms follow the published examples; clients must treat them as opaque.
"""

from __future__ import annotations

import base64
import random
import string

from alilocal.core.jsonvalue import JsonObject
from alilocal.core.snapshot import BadSnapshot, load, member

ALPHANUMERIC = string.ascii_letters + string.digits
_HANDLE_BYTES = 22


class Ids:
    """Ids and random numbers. The same seed gives the same sequence, None a fresh one."""

    def __init__(self, seed: int | None = None) -> None:
        self._seed = seed
        self._random = random.Random(seed)  # noqa: S311 - reproducible on purpose, guards nothing

    def dump(self) -> JsonObject:
        """Return the position in the sequence, if it has a seed."""
        version, numbers, _ = self._random.getstate()
        return {} if self._seed is None else {"version": version, "numbers": list(numbers)}

    def restore(self, state: JsonObject) -> None:
        """Continue at the position of `dump`, so that no id repeats; raises BadSnapshot."""
        if self._seed is None or not state:
            return
        numbers = load(list[int], member(state, "numbers", "ids"), "ids.numbers")
        try:
            self._random.setstate((member(state, "version", "ids"), tuple(numbers), None))
        except (ValueError, TypeError, OverflowError):
            raise BadSnapshot("ids", "is not a valid state of the generator") from None

    def chance(self) -> float:
        """Return a random number from [0, 1)."""
        return self._random.random()

    def between(self, low: float, high: float) -> float:
        """Return a random number from [low, high]."""
        return self._random.uniform(low, high)

    def request_id(self) -> str:
        """Return a request id of the API gateway: an upper-case UUID."""
        return self.uuid().upper()

    def uuid(self) -> str:
        """Return a lower-case UUID."""
        digits = self._hex(32)
        return f"{digits[:8]}-{digits[8:12]}-{digits[12:16]}-{digits[16:20]}-{digits[20:]}"

    def smq_request_id(self) -> str:
        """Return a request id of SMQ: 24 upper-case hexadecimal digits."""
        return self._hex(24).upper()

    def message_id(self) -> str:
        """Return a message id: 32 upper-case hexadecimal digits."""
        return self._hex(32).upper()

    def experiment_id(self) -> str:
        """Return an experiment id: `s` and six letters or digits."""
        return "s" + "".join(self._random.choice(ALPHANUMERIC) for _ in range(6))

    def receipt_handle(self) -> str:
        """Return a receipt handle: `1-` and base64, so `+`, `/` and `=` occur."""
        return "1-" + base64.b64encode(self._random.randbytes(_HANDLE_BYTES)).decode()

    def token(self, length: int) -> str:
        """Return `length` letters and digits."""
        return "".join(self._random.choices(ALPHANUMERIC, k=length))

    def _hex(self, digits: int) -> str:
        return f"{self._random.getrandbits(4 * digits):0{digits}x}"


def is_receipt_handle(text: str) -> bool:
    """Return whether `text` has the form of a receipt handle, whether or not the handle is valid."""
    if not text.startswith("1-"):
        return False
    try:
        return len(base64.b64decode(text[2:], validate=True)) == _HANDLE_BYTES
    except ValueError:
        return False
