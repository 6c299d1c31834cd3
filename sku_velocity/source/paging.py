"""Splits a window into chunks, finds its end if the API reports no total, and detects endless paging."""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from hashlib import blake2b
from math import ceil, sqrt

from sku_velocity.model.chunk import MAX_TOTAL, Chunk

# A chunk is a task run with an artifact: more CPU than a page, here and in Prefect's server. So chunks of a
# longer window hold more pages: 100 pages are 25 chunks, 1,000 are 72.
MAX_CHUNKS = 200
ONE_PAGE_CHUNKS = 20
CHUNKS_PER_ROOT = 2.3
MAX_EMPTY_PAGES = 100  # in a row, each with a cursor
MIN_OVERLAP_WITHOUT_IDS = 5  # records: longer runs of equal ones are rare
KEPT_CURSORS = 100_000  # digests, about 10 MB
MAX_REPEATED_PAGES = 3  # in a row; one may repeat because records were inserted before it
MAX_REPEATS = 100  # pages of a window
PAGES_BEYOND = (1, 2, 4)  # after an empty page, to see whether its records are only hidden


def plan_chunks(
    total: int, page_size: int, overlap: int = 0, pages_per_chunk: int | None = None
) -> list[Chunk]:
    """Split `total` positions into chunks of whole pages; only the last may be shorter.

    Up to 20 pages each is a chunk; then chunks grow with the root of the number of pages, so that there are
    never more than 200. `pages_per_chunk` overrides both. Each page also rereads the last `overlap` records
    of the page before it, in addition to its `page_size`.
    """
    size = page_size * (pages_per_chunk or _pages_per_chunk(ceil(total / page_size)))
    return [
        Chunk(index, offset, min(size, total - offset), page_size, overlap)
        for index, offset in enumerate(range(0, total, size))
    ]


def _pages_per_chunk(pages: int) -> int:
    few = max(ONE_PAGE_CHUNKS, CHUNKS_PER_ROOT * sqrt(pages))
    return max(1, round(pages / few), ceil(pages / MAX_CHUNKS))


def overlap_of(overlap: int, page_size: int, has_ids: bool) -> int:
    """Return how many records of the page before a page of `page_size` rereads: `overlap`, if there are ids.

    Without ids more than one, as two different records must be among them for a shift to show.
    """
    if overlap and not has_ids:
        overlap = max(overlap, min(MIN_OVERLAP_WITHOUT_IDS, page_size // 4), 2)
    return min(overlap, page_size - 1)


class EndlessPagingError(ValueError):
    """Pages repeat, have a hole among them, or do not end."""


@dataclass(frozen=True)
class SeenPage:
    """A page as far as the search for the end needs it: its number of records, and their fingerprint."""

    received: int
    fingerprint: str | None


async def find_end(
    look: Callable[[int], Awaitable[SeenPage]], first: SeenPage, size: int, repeats_last: bool = False
) -> int:
    """Find the number of records by requesting whole pages of `size` by their offset: O(log n) requests.

    Starting after the `first` page, it doubles the distance until a page is empty, then bisects. A single
    position would not do: a source that hides a row after cutting the page returns nothing for it.

    With `repeats_last`, a page equal to an earlier one repeats the last page, unless that is the first: then
    the source may ignore the position. Otherwise, and for pages beyond MAX_TOTAL, raises EndlessPagingError.
    """
    return await _EndSearch(look, size, repeats_last, {0: first}).run() if first.received else 0


@dataclass
class _EndSearch:
    """The search for the last page that has records. Pages are numbered from the first one, 0."""

    look: Callable[[int], Awaitable[SeenPage]]
    size: int
    repeats_last: bool
    pages: dict[int, SeenPage]
    repeated: SeenPage | None = None  # the last page, if the source returns it past the end, too

    async def run(self) -> int:
        last, beyond = await self._double()
        while beyond - last > 1:
            middle = (last + beyond) // 2
            if await self._is_before_the_end(middle):
                last = middle
            else:
                beyond = middle
        final = beyond if self.repeated else last
        if not self.repeated:
            for pages in PAGES_BEYOND:
                await self._check_beyond(final + 1, pages)
        return final * self.size + self.pages[final].received

    async def _check_beyond(self, empty: int, pages: int) -> None:
        """Check that no page with records follows the empty one, whose records may all be hidden."""
        number = empty + pages
        if number not in self.pages and (await self.look(number * self.size)).received:
            raise EndlessPagingError(
                f"it returns no record at {empty * self.size}, but records at {number * self.size}"
            )

    async def _double(self) -> tuple[int, int]:
        """Return a page before the end and one that is not."""
        last, beyond = 0, 1
        while await self._is_before_the_end(beyond):
            last, beyond = beyond, 2 * beyond + 1
            if beyond * self.size > MAX_TOTAL:
                raise EndlessPagingError(f"it still returns records at {last * self.size}")
        if self.repeated:
            beyond = min(number for number, page in self.pages.items() if page == self.repeated)
            last = max(number for number, page in self.pages.items() if page != self.repeated)
        return last, beyond

    async def _is_before_the_end(self, number: int) -> bool:
        page = await self.look(number * self.size)
        same = next((before for before, seen in self.pages.items() if seen == page), None)
        self.pages[number] = page
        if not page.received or page == self.repeated:
            return False
        if same is None:
            return True
        if not (self.repeats_last and same):
            raise EndlessPagingError(
                f"it returns the same page at {same * self.size} and {number * self.size}"
            )
        self.repeated = page
        return False


@dataclass
class CursorTrail:
    """The cursors that a run has requested, as digests, to detect one that leads back.

    A cursor may be requested twice at the same offset: after a failure its page is read again.
    """

    _offsets: dict[bytes, int] = field(default_factory=dict)
    _empty: list[bytes] = field(default_factory=list)
    _pages: dict[str, int] = field(default_factory=dict)  # the offset of each page, by fingerprint
    _repeated: int = 0  # pages in a row
    _first_records: dict[str, int] = field(default_factory=dict)  # likewise, by that of its first record
    _repeats: int = 0  # pages that begin with the first record of an earlier one

    @property
    def is_new(self) -> bool:
        """Whether no cursor has been added yet."""
        return not self._offsets

    def add(self, cursor: str | None, offset: int) -> None:
        """Add a cursor that is requested at an offset; None, the first page, starts a new trail."""
        key = _digest(cursor)
        if cursor is None:
            self._offsets.clear()
            self._empty.clear()
            self._pages.clear()
            self._first_records.clear()
            self._repeated = self._repeats = 0
        elif key in self._empty:
            del self._empty[self._empty.index(key) :]
        self._offsets[key] = offset
        if len(self._offsets) > KEPT_CURSORS:
            del self._offsets[next(iter(self._offsets))]

    def check(self, cursor: str | None, following: str, offset: int, received: int) -> None:
        """Check that the page of a cursor at an offset, with `received` records, leads on.

        Raises EndlessPagingError if it leads to a cursor that was requested before, or if too many pages in a
        row are empty.
        """
        key = _digest(following)
        if received:
            self._empty.clear()
        else:
            self._empty.append(_digest(cursor))
        is_known = self._offsets.get(key, offset + received) != offset + received
        if following == cursor or is_known or key in self._empty:
            raise EndlessPagingError("it returned a cursor or link that was requested before")
        if len(self._empty) > MAX_EMPTY_PAGES:
            raise EndlessPagingError(
                f"{len(self._empty)} pages in a row are empty, but more are said to follow"
            )

    def check_page(self, fingerprint: str | None, first: str | None, offset: int, has_ids: bool) -> None:
        """Check that a page is not the same as one at another offset, of a source that ignores the cursor.

        `first` identifies its first record: some records of a page that is read again may have changed.
        Without record ids, different pages may be equal. Raises EndlessPagingError if too many are.
        """
        if fingerprint is None or first is None:
            return
        before = _first_offset(self._pages, fingerprint, offset)
        self._repeated = self._repeated + 1 if before != offset else 0
        earlier = _first_offset(self._first_records, first, offset)
        self._repeats += earlier != offset
        if has_ids and self._repeated >= MAX_REPEATED_PAGES:
            raise EndlessPagingError(
                f"{self._repeated} pages in a row hold the same records as earlier pages, this one as that "
                f"at offset {before}"
            )
        if self._repeats >= MAX_REPEATS:
            raise EndlessPagingError(
                f"{self._repeats} pages begin with the same record as earlier pages, this one as that at "
                f"offset {earlier}"
            )


def _first_offset(offsets: dict[str, int], key: str, offset: int) -> int:
    """Return the offset at which a key was added first: this one, if it is new."""
    first = offsets.setdefault(key, offset)
    if len(offsets) > KEPT_CURSORS:
        del offsets[next(iter(offsets))]
    return first


def _digest(cursor: str | None) -> bytes:
    return blake2b((cursor or "").encode("utf-8", "replace"), digest_size=12).digest()
