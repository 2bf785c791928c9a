"""The selection of the cells that a read returns.

Parameters: https://help.aliyun.com/en/tablestore/developer-reference/getrow. A filter is applied to the cells that
the other parameters select: https://www.alibabacloud.com/help/doc-detail/67671.htm.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from alilocal.tablestore.conditions import PAGINATION, check_filter, passes
from alilocal.tablestore.errors import ParameterInvalid
from alilocal.tablestore.messages import (
    ColumnPaginationFilter,
    Filter,
    GetRangeRequest,
    GetRowRequest,
    TableInBatchGetRowRequest,
    TimeRange,
)
from alilocal.tablestore.model import Versions
from alilocal.tablestore.plainbuffer import Cell, Value
from alilocal.tablestore.proto import Message
from alilocal.tablestore.validation import check_requested

_LATEST = 2**63
_Read = type[GetRowRequest] | type[GetRangeRequest] | type[TableInBatchGetRowRequest]


@dataclass(frozen=True)
class Selection:
    """The parameters of a read.

    Selected are columns in `names` (all if empty) from `first` to before `last`, and up to `most` versions of each
    from `since` to before `until`. `keep` is a filter on rows. `restricted` is True unless all columns are requested.
    """

    names: frozenset[str]
    first: str
    last: str | None
    most: int | None
    since: int
    until: int
    restricted: bool
    keep: Message | None

    @classmethod
    def read(cls, request: Message, members: _Read) -> Selection:
        """Read the selection of `request`, which has the given `members`. Raises ParameterInvalid."""
        asked = request.texts(members.COLUMNS_TO_GET)
        check_requested(asked)
        keep = request.message(members.FILTER) if request.has(members.FILTER) else None
        if keep is not None:
            check_filter(keep, is_page=True)
        has_most, has_times = request.has(members.MAX_VERSIONS), request.has(members.TIME_RANGE)
        if not has_most and not has_times:
            raise ParameterInvalid("No version condition is specified while querying row.")
        most = request.number(members.MAX_VERSIONS) if has_most else None
        if most is not None and most <= 0:
            raise ParameterInvalid("The max versions must be greater than 0.")
        times = request.message(members.TIME_RANGE)
        if most is not None and times.has(TimeRange.SPECIFIC_TIME):
            raise ParameterInvalid("The max versions and a specific time must not be set together.")
        since, until = _read_times(times) if has_times else (0, _LATEST)
        ends = (members.START_COLUMN, members.END_COLUMN)
        return cls(
            frozenset(asked),
            request.text(members.START_COLUMN),
            request.text(members.END_COLUMN) if request.has(members.END_COLUMN) else None,
            most,
            since,
            until,
            restricted=any(map(request.has, (members.COLUMNS_TO_GET, *ends))),
            keep=keep,
        )

    def cells(self, row: dict[str, Versions], key: Mapping[str, Value]) -> tuple[list[Cell], bool]:
        """Return the selected cells by name, newest first, and whether the row is returned.

        `key` are the columns of the primary key, which every row has, and which a filter may name.
        """
        wanted = {name: kept for name, kept in sorted(row.items()) if self._wants(name)}
        columns = {name: found for name, kept in wanted.items() if (found := self._versions(kept))}
        # If columns are requested, a row without a version of any of them is not returned, else its key is.
        kept = not self.restricted or bool(columns) or not self.names.isdisjoint(key)
        if self.keep is not None and self.keep.number(Filter.TYPE) == PAGINATION:
            columns = _page(self.keep.message(Filter.FILTER), columns)
        elif self.keep is not None and kept:
            kept = passes(self.keep, {**columns, **{name: {0: value} for name, value in key.items()}})
        return [Cell(name, value, at) for name, found in columns.items() for at, value in found.items()], kept

    def _wants(self, name: str) -> bool:
        named = not self.names or name in self.names
        return named and self.first <= name and (self.last is None or name < self.last)

    def _versions(self, kept: Versions) -> Versions:
        found = [(at, value) for at, value in kept.items() if self.since <= at < self.until]
        return dict(found[: self.most])


def _read_times(given: Message) -> tuple[int, int]:
    """Return the start and the end of a time range in milliseconds; the end is excluded."""
    if given.has(TimeRange.SPECIFIC_TIME):
        time = given.number(TimeRange.SPECIFIC_TIME)
        return time, time + 1
    since, until = given.number(TimeRange.START_TIME), given.number(TimeRange.END_TIME, _LATEST)
    if since >= until:
        raise ParameterInvalid("The start of a time range must be less than its end.")
    return since, until


def _page(asked: Message, columns: dict[str, Versions]) -> dict[str, Versions]:
    """Return the columns from an offset on, up to a limit."""
    offset = asked.number(ColumnPaginationFilter.OFFSET)
    limit = asked.number(ColumnPaginationFilter.LIMIT)
    if offset < 0 or limit <= 0:
        raise ParameterInvalid("The offset or limit of a column pagination filter is not valid.")
    return dict(list(columns.items())[offset : offset + limit])
