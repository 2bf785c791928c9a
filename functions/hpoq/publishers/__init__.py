"""Where output events go. A publisher is one module here; only the protocol is imported at once."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Protocol

from fcruntime.jsonvalue import JsonValue


class Publisher(Protocol):
    """Takes CloudEvents, each as the object of its structured JSON form."""

    def publish(self, event: Mapping[str, JsonValue], *, give_up_at: float | None = None) -> None:
        """Hand over `event`; returns when whoever takes it has it for good.

        Ends by `give_up_at`, a value of the monotonic clock. Raises CallError; the same event may then be
        published again, with the same id, even if it has in fact arrived.
        """
