"""How much the long tests try: a sample by default, all of it with TEST_BUDGET=5, and more beyond that.

`pytest` has a budget of 0.25 and takes a few minutes; .ci/run has 2.
"""

import os
import re
import zlib
from collections import defaultdict

BUDGET = float(os.environ.get("TEST_BUDGET", "0.25"))
CI_BUDGET = 2
"""The budget from which on those variants run that a default run leaves out."""
FULL_BUDGET = 5
"""The budget from which on every case of a large matrix runs."""
LONG = frozenset(
    f"test_{name}.py"
    for name in (
        *("burst", "console", "crash", "deployment_release", "deployment_vendor_schemas", "mutation"),
        *("oldest_dependencies", "package", "powertools_versions", "sdk_eventbridge", "soak"),
        *("terraform_plan", "user_types", "workflow"),
    )
)
"""The files with tests of several seconds."""


def examples(count):
    """Return how many random examples a test tries that tries `count` with a budget of 1."""
    return max(1, round(count * BUDGET))


def in_ci(*cases):
    """Return `cases` if the budget is that of CI or more, and none of them by default."""
    return cases if BUDGET >= CI_BUDGET else ()


def sample_by_default(cases, shift=0):
    """Return an eighth of `cases` by default, chosen by `sample`, and all of them in CI."""
    return sample(cases, shift, budget=BUDGET * FULL_BUDGET / CI_BUDGET)


def sample(cases, shift=0, *, budget=BUDGET):
    """Return the evenly spread part of `cases` that the budget allows: a twentieth by default, at least one.

    The choice is the same in every run. Calls with another `shift` choose other cases.
    """
    cases = list(cases)
    wanted = min(len(cases), max(1, round(len(cases) * budget / FULL_BUDGET))) if cases else 0
    return [case for number, case in enumerate(cases) if (number + shift) * wanted % len(cases) < wanted]


def find_left_out(items, budget=BUDGET):
    """Return those of the collected `items` that the budget leaves out.

    Of a test with the marker `one_of`, one value of the parameters that it names stays for each combination of the
    others. Which one is the same in every run, and differs between combinations. The whole test runs from the
    marker's `budget` on, without which it is FULL_BUDGET. A test with the marker `in_ci` runs in CI only.
    """
    left_out, cells = set(), defaultdict(list)
    for item in items:
        if budget < CI_BUDGET and item.get_closest_marker("in_ci"):
            left_out.add(item)
            continue
        marker = item.get_closest_marker("one_of")
        if marker is not None and budget < marker.kwargs.get("budget", FULL_BUDGET):
            others = {name: value for name, value in item.callspec.params.items() if name not in marker.args}
            # Each process has a function at another address.
            cell = re.sub(" at 0x[0-9a-f]+", "", repr((item.originalname, others)))
            cells[item.path, cell].append(item)
    for (_, cell), alike in cells.items():
        kept = alike[zlib.crc32(cell.encode()) % len(alike)]
        left_out.update(item for item in alike if item is not kept)
    return left_out
