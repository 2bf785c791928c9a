"""The switches of Tablestore."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from alilocal.core.switches import Switches


@dataclass
class TablestoreSwitches(Switches):
    """How Tablestore behaves where its documentation is silent."""

    expired_row: Literal["absent", "present"] = "absent"
    """Whether a condition on a row's existence sees a row that has expired and was not written again."""
