"""Waiting for what another thread or process does."""

import time


def wait_until(condition, seconds=60):
    """Return the first true value of `condition`, which is called again and again; fail after `seconds`.

    The limit is for what never happens. It is not a measurement, so it leaves room for a busy machine.
    """
    end = time.monotonic() + seconds
    while not (found := condition()):
        assert time.monotonic() < end, f"the condition is still false after {seconds} s"
        time.sleep(0.005)
    return found
