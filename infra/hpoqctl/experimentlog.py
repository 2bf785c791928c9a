"""The log of an experiment, which says why it failed. Only commands read it, so the function needs no permission.

Source: https://www.alibabacloud.com/help/en/pai/developer-reference/api-paiautoml-2022-08-28-listhpoexperimentlogs.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

from rich.text import Text

from hpoq.clock import Budget
from hpoq.cloud.answers import Answer
from hpoq.cloud.paiautoml import PaiAutoMl, experiment_path
from hpoq.cloud.signing import canonical_query
from hpoq.errors import CallError

_LOG = "nnimanager.log"
_MOST_LINES = 5
_MOST_SECONDS = 20.0
# The status and the progress are shown elsewhere.
_NOISE = re.compile(r"\(NNIManager\) (Change NNIManager status|Submitted training job) ")


class Experiments(PaiAutoMl):
    """The client of PAI AutoML with what only commands ask for."""

    def read_log(self, experiment_id: str, *, budget: Budget | None = None) -> list[str]:
        """Return the lines of the log that says how the experiment went. Raises CallError."""
        path, query = f"{experiment_path(experiment_id)}/logs", canonical_query([("LogName", _LOG)])
        return self._read_call("ListHpoExperimentLogs", "GET", path, _read_lines, query=query, budget=budget)


def explain_end(client: Experiments, experiment_id: str) -> Iterator[Text]:
    """Yield the end of the log of an experiment that failed, or where to look if the log cannot be read."""
    try:
        lines = client.read_log(experiment_id, budget=Budget.lasting(_MOST_SECONDS))
    except (CallError, ValueError) as exc:
        yield Text(f"  Its log could not be read ({exc}). Look at it in the console of PAI.")
        return
    shown = [line for line in lines if line.strip() and not _NOISE.search(line)][-_MOST_LINES:]
    if shown:
        yield Text("  The end of its log:")
    for line in shown:
        yield Text(f"    {line}")


def _read_lines(answer: Answer) -> list[str]:
    lines = answer.document.get("Logs")
    return [one for one in lines if isinstance(one, str)] if isinstance(lines, list) else []
