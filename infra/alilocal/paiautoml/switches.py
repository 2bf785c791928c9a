"""The switches of PAI AutoML."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from alilocal.core.switches import GatewaySwitches, number


@dataclass
class PaiAutoMlSwitches(GatewaySwitches):
    """How PAI AutoML behaves where its documentation is silent."""

    list_lag_seconds: float = number(0.0, least=0.0)
    """How long List and Get do not return a new experiment."""
    tag_filter: Literal["honoured", "ignored", "refused"] = "honoured"
    """What ListHpoExperiments does with the parameter `Tag`."""
    create_tags: Literal["accepted", "dropped", "refused"] = "accepted"
    """What CreateHpoExperiment does with the member `Tag`."""
    error_status: Literal[200, 400] = 200
    """The HTTP status of errors that PAI AutoML itself reports, as opposed to its gateway."""
    error_keys: Literal["pascal", "lower"] = "pascal"
    """The initial letters of the members of a gateway error."""
    success_code: bool = False
    """Whether an answer without error contains `Code: SUCCESS`."""
    strict_required: bool = True
    """Whether an experiment's configuration must have its documented members."""
    mask_configuration: bool = True
    """Whether GetHpoExperiment masks secrets in HpoExperimentConfiguration, as it always does in ConfigIni."""
    update_configuration: Literal["replaced", "merged"] = "replaced"
    """What UpdateHpoExperiment does with the configuration: replace it, or replace the sections that are given."""
    trial_success: Literal["as_documented", "SUCCEEDED", "FINISHED"] = "as_documented"
    """The status of a successful trial; documented are SUCCEEDED for ListHpoTrials and FINISHED for GetHpoTrial."""
    name_filter: Literal["keyword", "exact"] = "keyword"
    """What ListHpoExperiments compares `Name` with: any part of a name, or the whole name."""
    several_tags: Literal["all", "any"] = "all"
    """Which of several tags in a ListHpoExperiments call an experiment must have."""
    most_per_page: int = number(100, least=1)
    """The largest PageSize of ListHpoExperiments."""
    large_page: Literal["refused", "clamped"] = "refused"
    """What ListHpoExperiments does with a PageSize above the largest one."""
    total_count: Literal["matches", "page"] = "matches"
    """What TotalCount of ListHpoExperiments counts: all matches, or the rows of the page."""
    listing_total_offset: int = number(0, least=-1_000_000)
    """A number added to TotalCount of ListHpoExperiments, which then never agrees with the rows."""
    delete_running: Literal["accepted", "refused"] = "accepted"
    """Whether an experiment that has not ended can be deleted."""
    unknown_members: Literal["dropped", "refused"] = "dropped"
    """What creating and updating an experiment do with undocumented members of the body."""
    wrong_action: Literal["refused", "ignored"] = "refused"
    """What happens to a request whose x-acs-action does not fit its path."""
