"""Stand between the function and what it sends."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

import requests


def intercept(session: requests.Session, handle: Callable[..., requests.Response]) -> None:
    """Have `handle(send, request, **options)` handle whatever `session` sends; `send` sends it."""
    for adapter in {*session.adapters.values()}:
        adapter.send = partial(handle, adapter.send)  # type: ignore[method-assign]
