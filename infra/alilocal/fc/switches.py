"""The switches of Function Compute."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from alilocal.core.switches import GatewaySwitches


@dataclass
class FunctionComputeSwitches(GatewaySwitches):
    """How Function Compute behaves where its documentation is silent."""

    empty_alias_weights: Literal["cleared", "kept"] = "cleared"
    """What UpdateAlias does with an empty `additionalVersionWeight`: end the canary, or keep the weights."""
    default_push_retry: Literal["EXPONENTIAL_DECAY_RETRY", "BACKOFF_RETRY"] = "EXPONENTIAL_DECAY_RETRY"
    """The retry strategy of an event trigger that names none; the documents of two services contradict each other."""
    default_run_mode: Literal["event-driven", "event-streaming"] = "event-driven"
    """The mode of a trigger from a queue that names none."""
