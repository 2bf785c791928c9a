"""A whole listing or none: pages read so that what none of them shows is surely not there.

What TotalCount counts, how a page beyond the last is answered, and in which order rows come is not documented,
and rows move between pages while others are created and deleted. So a listing is read until a pass over it is
complete by every sign there is, and no row of the pass before has gone meanwhile: a row can only slip by where
another was deleted from a page already read, and that one is then missing from the next pass.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from itertools import count

from fcruntime.dataclass import dataclass, field
from hpoq.cloud.experiments import Experiment, ExperimentPage
from hpoq.errors import UnknownEnd

_MOST_PASSES = 5

# One page of rows already seen is no end: as many may have been created since the page before.
_STALE_PAGES = 3


def read_through(
    read_page: Callable[[int], ExperimentPage], page_size: int
) -> Iterator[tuple[Experiment, ...]]:
    """The rows of page after page, of `read_page(number)` from 1 on, over two passes at least.

    To be read to its end, which it reaches only if nothing can be missing; else it raises UnknownEnd. What
    `read_page` raises goes through.
    """
    before: set[str] | None = None
    for _ in range(_MOST_PASSES):
        now = _Pass(page_size)
        for number in count(1):
            page = read_page(number)
            yield page.experiments
            if now.ends_with(page):
                break
        if now.is_complete and before is not None and before <= now.seen:
            return
        before = now.seen if now.is_complete else None
    raise _incomplete("rows are missing from the listing")


@dataclass
class _Pass:
    page_size: int
    seen: set[str] = field(default_factory=set)
    counted: int = 0
    stale: int = 0

    @property
    def is_complete(self) -> bool:
        return len(self.seen) >= self.counted

    def ends_with(self, page: ExperimentPage) -> bool:
        """Whether `page` is the last; raises UnknownEnd where that can never be told.

        A service may answer every page beyond the last with the last one, or ignore the page number: only a
        short page and a count that is reached tell them apart.
        """
        rows = {row.experiment_id for row in page.experiments}
        self.counted = max(self.counted, page.total_count or 0)
        self.stale = 0 if rows - self.seen else self.stale + 1
        self.seen |= rows
        if not rows:
            return True
        if self.stale < _STALE_PAGES:
            return False
        if page.total_count is None or len(page.experiments) >= self.page_size:
            raise _incomplete("the listing repeats a page")
        return True


def _incomplete(why: str) -> UnknownEnd:
    return UnknownEnd(why, service="paiautoml", operation="ListHpoExperiments")
