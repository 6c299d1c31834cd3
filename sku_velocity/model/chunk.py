"""Pages and chunks: what is read by one request, and by one task run."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from enum import StrEnum

from sku_velocity.model.movement import DeadLetter, ItemRow, MovementRow

MAX_TOTAL = 10**12  # records; a source that tells of more in one window tells no total
MAX_EXTRA_FIELDS = 100  # names; some sources make keys of their data
OTHER_FIELDS = "(other fields)"


@dataclass(frozen=True)
class Page:
    """One request's share of a chunk: `size` positions from `offset` on.

    It reads up to `overlap` positions before them again. `page_size` is what every page but the last holds.
    """

    offset: int
    size: int
    overlap: int = 0
    page_size: int | None = None

    @property
    def before(self) -> int:
        """How many positions before its own the page reads again."""
        return min(self.overlap, self.offset)

    @property
    def end(self) -> int:
        return self.offset + self.size


@dataclass(frozen=True)
class Chunk:
    """A range of positions in a window, read by one task run in pages of at most `page_size` records.

    Each page reads `overlap` records before its own again, those of the page before it.
    """

    index: int
    offset: int
    size: int
    page_size: int
    overlap: int = 0

    @property
    def end(self) -> int:
        """The first position after the chunk."""
        return self.offset + self.size

    @property
    def label(self) -> str:
        """First and last position, as in `12000-12999`."""
        return f"{self.offset}-{self.end - 1}"

    def followed_by(self, size: int) -> Chunk:
        """The chunk of `size` positions that comes right after."""
        return replace(self, index=self.index + 1, offset=self.end, size=size)

    def pages(self, since: int | None = None) -> Iterator[Page]:
        """The chunk's pages in order, from position `since` on where some have landed already."""
        start = self.offset if since is None else since
        for offset in range(start, self.end, self.page_size):
            size = min(self.page_size, self.end - offset)
            yield Page(offset, size, self.overlap, self.page_size)


@dataclass(frozen=True)
class PageResult:
    """What one page came to: movements, or items where the source is a master.

    `fetched == loaded + len(dead_letters) + trimmed + filtered` always holds: `trimmed` counts records
    outside the window, `filtered` those that are no movements. `unknown_skus` counts the movements of each
    SKU that the run's master does not know. `extra_fields` counts the records that carry a field which the
    spec does not map. `first_fingerprint` and `last_fingerprint` are fingerprints of what the page read first
    and last. `next_cursor` and `is_last` say where to go on, where a source pages by cursor. `retried` counts
    requests that were sent again, `throttled` answers that asked to wait, `seconds` is from the first request
    to the last byte.
    """

    page: Page
    fetched: int
    movements: list[MovementRow]
    dead_letters: list[DeadLetter]
    trimmed: int = 0
    filtered: int = 0
    first_fingerprint: str | None = None
    last_fingerprint: str | None = None
    next_cursor: str | None = None
    is_last: bool | None = None
    extra_fields: Mapping[str, int] = field(default_factory=dict)
    items: list[ItemRow] = field(default_factory=list)
    unknown_skus: Mapping[str, int] = field(default_factory=dict)
    requests: int = 1
    retried: int = 0
    throttled: int = 0
    seconds: float = 0.0

    @property
    def loaded(self) -> int:
        """How many of the page's records may pass."""
        return len(self.movements) + len(self.items)


class ChunkState(StrEnum):
    """Where a chunk stands in the ledger."""

    PLANNED = "planned"
    LANDED = "landed"
    FAILED = "failed"


@dataclass(frozen=True)
class ChunkProgress:
    """A chunk's row of the ledger: its state and its counts of records, requests and seconds.

    `attempts` counts the times that a task run has landed the chunk or failed to; `next_offset` is the first
    position that has not landed; `error` is the last failure's message, where it failed. `first_fingerprint`
    and `last_fingerprint` are the fingerprints of what its first page read first and its last page last,
    `broken_seams` the pages in between that did not join; `cursor` is where to go on, where the source pages
    by cursor.
    """

    chunk: Chunk
    state: ChunkState
    next_offset: int
    attempts: int = 0
    fetched: int = 0
    loaded: int = 0
    rejected: int = 0
    trimmed: int = 0
    filtered: int = 0
    requests: int = 0
    retried: int = 0
    throttled: int = 0
    seconds: float = 0.0
    first_fingerprint: str | None = None
    last_fingerprint: str | None = None
    broken_seams: int = 0
    cursor: str | None = None
    extra_fields: Mapping[str, int] = field(default_factory=dict)
    unknown_skus: Mapping[str, int] = field(default_factory=dict)
    error: str | None = None


def sum_extra_fields(counts: Iterable[Mapping[str, int]]) -> dict[str, int]:
    """Add up counts of fields that a spec does not map: the most frequent by name, all others together."""
    total: Counter[str] = Counter()
    for each in counts:
        total.update(each)
    others = total.pop(OTHER_FIELDS, 0)
    named = total.most_common(MAX_EXTRA_FIELDS)
    others += total.total() - sum(count for _, count in named)
    return dict(named) | ({OTHER_FIELDS: others} if others else {})
