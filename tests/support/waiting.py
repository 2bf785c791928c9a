"""Waiting for what another thread or process does."""

import time


def wait_until(condition, seconds=60):
    """Return the first true value of `condition`, which is called again and again; fail after `seconds`.

    The limit is for what never happens. It is not a measurement, so it leaves room for a busy machine. A condition
    that takes long is called less often, because what it waits for needs the processor too.
    """
    end = time.monotonic() + seconds
    while True:
        began = time.monotonic()
        if found := condition():
            return found
        assert began < end, f"the condition is still false after {seconds} s"
        time.sleep(min(1, max(0.005, 4 * (time.monotonic() - began))))
