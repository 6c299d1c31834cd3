"""Pages and chunks: the units of one request and of one task run."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from enum import StrEnum
from typing import NamedTuple

from sku_velocity.masking import hide_distinctive
from sku_velocity.model.movement import DeadLetter, ItemRow, MovementRow

MAX_TOTAL = 10**12  # records; a larger total of a window counts as none
MAX_EXTRA_FIELDS = 100  # names; some sources use data as keys
OTHER_FIELDS = "(other fields)"
MAX_VALUES = 20  # per place
SHOWN_VALUE = 60  # characters

# How many records had a value, by place in the spec and by value.
ValueCounts = Mapping[str, Mapping[str, int]]


@dataclass(frozen=True)
class Page:
    """One request's part of a chunk: `size` positions from `offset`.

    It rereads up to `overlap` positions before them. `page_size` is the size of every page but the last.
    """

    offset: int
    size: int
    overlap: int = 0
    page_size: int | None = None

    @property
    def before(self) -> int:
        """The number of positions before its own that the page rereads."""
        return min(self.overlap, self.offset)

    @property
    def end(self) -> int:
        return self.offset + self.size


@dataclass(frozen=True)
class Chunk:
    """A range of positions in a window, read by one task run in pages of at most `page_size` records.

    Each page also rereads the last `overlap` records of the page before it.
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
        """First and last position, as in `12000-12999`, or what the part of a push removes."""
        return "removals" if self.index < 0 else f"{self.offset}-{self.end - 1}"

    def followed_by(self, size: int) -> Chunk:
        """Return the next chunk, of `size` positions."""
        return replace(self, index=self.index + 1, offset=self.end, size=size)

    def pages(self, since: int | None = None) -> Iterator[Page]:
        """Yield the chunk's pages in order, from position `since` if some have landed already."""
        start = self.offset if since is None else since
        for offset in range(start, self.end, self.page_size):
            size = min(self.page_size, self.end - offset)
            yield Page(offset, size, self.overlap, self.page_size)


class PageEdges(NamedTuple):
    """The fingerprints of a page's first and last record, and of all of them if they are to be read again.

    Without record ids, `first_repeats` and `last_repeats` say whether the record next to it is equal.
    """

    first: str | None
    last: str | None
    whole: str | None = None
    first_repeats: bool = False
    last_repeats: bool = False


@dataclass(frozen=True)
class PageResult:
    """The result of one page: movements, or items if the source is a master.

    `fetched == loaded + len(dead_letters) + trimmed + filtered` always holds: `trimmed` counts records
    outside the window, `filtered` those that are not movements. `unloaded_ids` holds the record ids of those
    that were not loaded, by position; `dropped_values` counts the values for which records were filtered, or
    trimmed though the request excludes them. `unknown_skus` counts the movements of each
    SKU that the run's master does not know. `extra_fields` counts the records with a field that the spec does
    not map. `first_fingerprint` and `last_fingerprint` are of the first and last records read; `equal_rows`
    is how many equal records the page begins with, if all that it rereads are equal; `edges` are those of a
    page that does not overlap; `total` is what the page reports. If the source pages by cursor, `cursor` is
    that of the page (None: the first), `next_cursor` and `is_last` say where to continue. `retried` counts
    requests that were retried, `throttled` responses that asked to wait, `seconds` is from the first request
    to the last byte.
    """

    page: Page
    fetched: int
    movements: Sequence[MovementRow]
    dead_letters: list[DeadLetter]
    trimmed: int = 0
    filtered: int = 0
    first_fingerprint: str | None = None
    last_fingerprint: str | None = None
    equal_rows: int = 0
    edges: PageEdges | None = None
    total: int | None = None
    cursor: str | None = None
    next_cursor: str | None = None
    is_last: bool | None = None
    extra_fields: Mapping[str, int] = field(default_factory=dict)
    items: list[ItemRow] = field(default_factory=list)
    unknown_skus: Mapping[str, int] = field(default_factory=dict)
    unloaded_ids: Mapping[int, str] = field(default_factory=dict)
    dropped_values: ValueCounts = field(default_factory=dict)
    requests: int = 1
    retried: int = 0
    throttled: int = 0
    seconds: float = 0.0

    @property
    def loaded(self) -> int:
        """The number of valid records of the page."""
        return len(self.movements) + len(self.items)


class ChunkState(StrEnum):
    """The state of a chunk in the ledger."""

    PLANNED = "planned"
    LANDED = "landed"
    FAILED = "failed"


@dataclass(frozen=True)
class ChunkProgress:
    """A chunk's row of the ledger: its state and its counts of records, requests and seconds.

    `attempts` counts the task runs that landed the chunk or failed to; `next_offset` is the first position
    that has not landed; `error` is the last failure's message, if it failed. `first_fingerprint` and
    `last_fingerprint` are of the first record of its first page and the last record of its last,
    `broken_seams` counts the pages in between that did not join; `ambiguous_seams` counts those at which all
    reread records are equal, at most `equal_rows` in a row; `page_edges` are those of pages that do not
    overlap; `page_totals` counts pages by the total that they reported. `cursor` says where to continue if
    the source pages by cursor.
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
    ambiguous_seams: int = 0
    equal_rows: int = 0
    page_edges: Sequence[PageEdges] = ()
    page_totals: Mapping[str, int] = field(default_factory=dict)
    cursor: str | None = None
    extra_fields: Mapping[str, int] = field(default_factory=dict)
    unknown_skus: Mapping[str, int] = field(default_factory=dict)
    dropped_values: ValueCounts = field(default_factory=dict)
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


def count_values(values: Iterable[tuple[str, str]]) -> ValueCounts:
    """Count values by place: the most frequent, shortened."""
    counts: defaultdict[str, Counter[str]] = defaultdict(Counter)
    for place, value in values:
        counts[place][hide_distinctive(value)[:SHOWN_VALUE]] += 1
    return _most_frequent(counts)


def sum_values(counts: Iterable[ValueCounts]) -> ValueCounts:
    """Add up counts of values: the most frequent of each place."""
    total: defaultdict[str, Counter[str]] = defaultdict(Counter)
    for each in counts:
        for place, values in each.items():
            total[place].update(values)
    return _most_frequent(total)


def _most_frequent(counts: Mapping[str, Counter[str]]) -> ValueCounts:
    return {place: dict(values.most_common(MAX_VALUES)) for place, values in counts.items()}
