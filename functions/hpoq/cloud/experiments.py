"""Experiments as PAI AutoML reports them, read leniently where its documentation contradicts itself."""

from __future__ import annotations

from datetime import datetime, timezone

from fcruntime.dataclass import dataclass
from fcruntime.jsonvalue import JsonObject, JsonValue
from hpoq.cloud.answers import text_member


@dataclass(frozen=True)
class CreatedExperiment:
    """The result of a create. `remark` is what the service added although it gave an id: an error code with
    its message, which makes the experiment worth a look but not uncreated."""

    experiment_id: str
    request_id: str | None
    remark: str | None = None


@dataclass(frozen=True)
class Experiment:
    """One experiment.

    `created_at` is None if the service's form is not understood; a time without a zone, which the
    documentation leaves open, is taken as UTC.
    """

    experiment_id: str
    name: str | None
    description: str | None
    workspace_id: str | None
    creator: str | None
    status: str | None
    tags: tuple[tuple[str, str], ...]
    created_at: datetime | None
    deleted: bool


@dataclass(frozen=True)
class ExperimentPage:
    """One page of a listing. Whether `total_count` counts all matches or this page is not documented."""

    total_count: int | None
    experiments: tuple[Experiment, ...]
    request_id: str | None


class Unreadable(ValueError):
    """A listing that does not say what it lists; nobody may conclude from it that something is absent."""


def read_page(document: JsonObject, request_id: str | None) -> ExperimentPage:
    """A listing; raises Unreadable unless each row is an experiment with an id."""
    total = text_member(document, "TotalCount")
    count = int(total) if total is not None and total.isdecimal() else None
    rows = document.get("Experiments", document.get("experiments"))
    if rows is None and count == 0:
        rows = []
    if not isinstance(rows, list):
        raise Unreadable("no list of experiments")
    return ExperimentPage(count, tuple(read_experiment(row) for row in rows), request_id)


def read_experiment(row: JsonValue) -> Experiment:
    """One experiment; raises Unreadable if it has no id, or tags in a form that is not documented."""
    if not isinstance(row, dict):
        raise Unreadable("an experiment is not an object")
    experiment_id = text_member(row, "ExperimentId")
    if not experiment_id:
        raise Unreadable("an experiment without an id")
    return Experiment(
        experiment_id=experiment_id,
        name=text_member(row, "Name"),
        description=text_member(row, "Description"),
        workspace_id=text_member(row, "WorkspaceId"),
        creator=text_member(row, "Creator"),
        status=text_member(row, "Status"),
        tags=_tags(row.get("Tags", row.get("tags"))),
        created_at=_time(text_member(row, "GmtCreateTime")),
        deleted=_flag(row.get("Deleted", row.get("deleted"))),
    )


def _tags(value: JsonValue) -> tuple[tuple[str, str], ...]:
    """No tags at all may be left out; tags in a form that is not documented must not be taken for none."""
    if value is None:
        return ()
    if not isinstance(value, list):
        raise Unreadable("the tags of an experiment are not a list")
    pairs: list[tuple[str, str]] = []
    for tag in value:
        if not isinstance(tag, dict):
            raise Unreadable("a tag of an experiment is not an object")
        key = text_member(tag, "Key")
        # A key is not required by the documentation; one under another name must not be passed over.
        if key is None and tag.keys() - {"Key", "Value", "key", "value"}:
            raise Unreadable("a tag of an experiment is of an unknown form")
        pairs += [] if key is None else [(key, text_member(tag, "Value") or "")]
    return tuple(pairs)


def _flag(value: JsonValue) -> bool:
    return value is True or str(value).lower() in ("1", "true")


def _time(text: str | None) -> datetime | None:
    if not text:
        return None
    # Before Python 3.11 `fromisoformat` knows neither `Z` nor fractions of other than 3 or 6 digits.
    seconds = text.strip().removesuffix("Z").partition(".")[0].replace("T", " ")
    for form in ("%Y-%m-%d %H:%M:%S", "%Y-%m-%d %H:%M:%S%z"):
        try:
            moment = datetime.strptime(seconds, form)  # noqa: DTZ007 - the zone is filled in below
        except ValueError:
            continue
        return moment if moment.tzinfo else moment.replace(tzinfo=timezone.utc)
    return None
