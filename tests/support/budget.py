"""How much the long tests try: a sample by default, all of it with TEST_BUDGET=5, and more beyond that."""

import os

BUDGET = float(os.environ.get("TEST_BUDGET", "1"))
FULL_BUDGET = 5
"""The budget from which on every case of a large matrix runs."""


def examples(count):
    """Return how many random examples a test tries whose default is `count`; TEST_BUDGET multiplies it."""
    return max(1, round(count * BUDGET))


def sample(cases, shift=0, *, budget=BUDGET):
    """Return the evenly spread part of `cases` that the budget allows: a fifth by default, at least one.

    The choice is the same in every run. Calls with another `shift` choose other cases.
    """
    cases = list(cases)
    wanted = min(len(cases), max(1, round(len(cases) * budget / FULL_BUDGET))) if cases else 0
    return [case for number, case in enumerate(cases) if (number + shift) * wanted % len(cases) < wanted]
