"""Reads one window of one warehouse from its source: the record count, and the records page by page."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import partial

from sku_velocity.errors import SourceMappingError, VelocityError
from sku_velocity.http.exchange import Tally
from sku_velocity.model.chunk import ChunkProgress, Page, PageResult
from sku_velocity.model.master import Master
from sku_velocity.model.run import FinalCheck, MasterVersion, SyncRun
from sku_velocity.model.window import Window
from sku_velocity.source.client import SourceClient
from sku_velocity.source.envelope import checked_count, read_count
from sku_velocity.source.final_check import FinalReader, count_equal_rows, read_edges, seen_page
from sku_velocity.source.pages import FetchedPage, Pages
from sku_velocity.source.paginators import Offset, PageNumber, Positional
from sku_velocity.source.paging import MAX_EMPTY_PAGES, EndlessPagingError, SeenPage, find_end
from sku_velocity.source.requests import Requests
from sku_velocity.source.second_look import SecondLook, SecondReader
from sku_velocity.source.spec import SourceSpec
from sku_velocity.source.validation import PageReader, RawPage
from sku_velocity.text import quote

SAMPLE_SIZE = 20  # records used to check the mapping before a window is read

MOST_READ = 2  # times the reported total: records that change while they are read make it no more


@dataclass(frozen=True)
class WindowProbe:
    """The first look at a window: its number of records (None if unknown) and of records per page."""

    total: int | None
    page_size: int


@dataclass
class WindowReader:
    """Reads one window of one warehouse. All methods raise what `SourceClient.fetch` raises."""

    client: SourceClient
    warehouse: str
    window: Window
    reader: PageReader
    master_version: MasterVersion | None = None
    _first_page: FetchedPage[RawPage] | None = None
    _first_seen: SeenPage | None = None
    _first_key: str | None = None
    _largest_total: int = 0
    _empty_pages: int = 0  # in a row

    def __post_init__(self) -> None:
        self._requests = Requests(self._spec, self.warehouse, self.window)
        self.pages = Pages(self.client, self._requests, self.reader.read)

    @classmethod
    def of(
        cls, client: SourceClient, warehouse: str, window: Window, master: Master | None = None
    ) -> WindowReader:
        """Build a reader and its schema; use one for all pages of a chunk."""
        reader = PageReader(client.spec, warehouse, window, master)
        return cls(client, warehouse, window, reader, master.of if master else None)

    async def check(self) -> None:
        """Request the first records to check that address, token and mapping are right.

        The error's message says which of the three is wrong.
        """
        self._check_mapping((await self.pages.at(0, self._probe_size)).content)

    async def probe(self) -> WindowProbe:
        """Check address, token and mapping, count the window and find the number of records per page.

        The first page is cached for the `read` that will request it.
        """
        requested = self._spec.paging.effective_page_size
        response = await self.pages.at(0, requested)
        self._check_mapping(response.content)
        received = len(response.content.records)
        if self.sends_page_size:
            self._check_page_size(0, requested, received)
        total = await self._count(response)
        if total is None and isinstance(self.pages.paginator, Positional):
            await self._check_first_position(response.content, self.pages.paginator)
            total = await self._find_end(response.content, self.pages.paginator)
        self._first_page, self._first_seen = response, seen_page(self.reader, response.content)
        self._first_key = self.reader.first_key(response.content)
        is_clamped = total is not None and 0 < received < min(requested, total)
        return WindowProbe(total, received if is_clamped or received > requested else requested)

    async def peek(self) -> tuple[WindowProbe, FetchedPage[RawPage]]:
        """Return the result of `probe` and the first page as received."""
        probe = await self.probe()
        response = self._first_page
        assert response is not None
        return probe, response

    async def final_check(self, run: SyncRun, chunks: Sequence[ChunkProgress]) -> FinalCheck:
        """Recount the window, reread its ends, and read what the proof of its paging style needs."""
        return await FinalReader(self.pages, self.reader, self._count).check(run, chunks)

    async def look_again(self, chunks: Sequence[ChunkProgress]) -> SecondLook:
        """Count a window that was read by these chunks, and read its first and its last page again."""
        return await SecondReader(self.pages, self.reader, self._count).look(chunks)

    async def read(self, page: Page) -> PageResult:
        """Read a page and validate its records. A page with too few is left for the proof to detect.

        Raises SourceMappingError if it has more records than requested, or too many pages in a row are empty,
        as if the total is far too high.
        """
        started = time.monotonic()
        response = self._take_first_page(page.offset)  # its size is checked by `probe`
        if response is None:
            response = await self._fetch_page(page)
            await self._check_page(page, response.content)
        self._empty_pages = 0 if response.content.records else self._empty_pages + 1
        if self._empty_pages > MAX_EMPTY_PAGES:
            raise SourceMappingError(
                f"{self._spec.name}: mapping: {self._empty_pages} pages in a row are empty, the last at "
                f"offset {page.offset}, although the total promises records there: check total in the spec, "
                "or start a new run if records have been deleted since"
            )
        ends, paginator = max(1, page.overlap), self.pages.paginator
        whole = response.content.cut(0, page.before + page.size)  # later ones are a change of the total
        before = page.before if page.before < page.offset else 0
        after = page.overlap if page.size == page.page_size else 0  # as far as the next page rereads this one
        result = replace(
            self.reader.validate(whole.cut(page.before, page.size), page),
            first_fingerprint=self.reader.fingerprint(whole, slice(page.before or ends)),
            last_fingerprint=self.reader.fingerprint(whole, slice(-ends, None)),
            equal_rows=0 if self._spec.has_ids else count_equal_rows(self.reader, whole, before, after),
            edges=None if isinstance(paginator, Offset) else read_edges(self.reader, whole, paginator),
            total=self._total_seen(page, response),
        )
        return _with_cost(result, response.tally, started)

    async def read_from(self, cursor: str | None, offset: int) -> PageResult:
        """Read the page of a cursor (None: the first page); the result holds the cursor of the next one.

        The positions of its records start at `offset`. Raises SourceMappingError if the cursor of the next
        page is not clear or leads back, and SourceAddressError if a link points to a host other than
        base_url's.
        """
        started = time.monotonic()
        response = self._take_first_page(offset) or await self.pages.after(cursor)
        self.pages.check_progress(cursor, offset, response)
        fingerprint = self.reader.fingerprint(response.content, slice(None))
        self._check_repetition(offset, response, fingerprint)
        page = Page(offset, len(response.content.records))
        result = replace(
            self.reader.validate(response.content, page),
            first_fingerprint=fingerprint,
            edges=read_edges(self.reader, response.content, self.pages.paginator),
            total=self._reported_total(response),
            cursor=cursor,
            next_cursor=response.following,
            is_last=response.following is None,
        )
        return _with_cost(result, response.tally, started)

    def _take_first_page(self, offset: int) -> FetchedPage[RawPage] | None:
        if offset:
            return None
        response, self._first_page = self._first_page, None
        return response

    @property
    def _spec(self) -> SourceSpec:
        return self.client.spec

    def _check_page_size(self, offset: int, requested: int, received: int) -> None:
        """Check that a page holds no more records than requested: to cut it would lose those at its end."""
        if received <= requested:
            return
        paging = self._spec.paging
        if paging.place == "range_header":
            why = f"the source ignores the range: check paging.range_header {paging.range_header}"
        elif paging.limit_param:
            why = f"the source ignores the page size: check paging.limit_param {paging.limit_param}"
        else:
            why = (
                "no page size is sent (paging.limit_param), and the pages differ in size, so their positions "
                "are unknown: set paging.limit_param if the API takes one, or start a new run if the API's "
                "page size has changed since"
            )
        raise SourceMappingError(
            f"{self._spec.name}: mapping: page at offset {offset}: requested {requested} records, got "
            f"{received}: {why}"
        )

    async def _check_page(self, page: Page, content: RawPage) -> None:
        requested = page.overlap + (page.page_size or page.size)
        self._check_page_size(page.offset, requested, len(content.records))
        await self._check_position(page.offset - page.before, requested, content)

    async def _check_position(self, offset: int, count: int, page: RawPage) -> None:
        """Check that a later page is not the first one, as from a source that ignores the position.

        The first page is read again to tell that from records inserted before it.
        """
        if not (offset and page.records and self._spec.has_ids):
            return
        if self.reader.first_key(page) != self._first_key:
            return  # decided without a fingerprint of the whole page
        seen = seen_page(self.reader, page)
        if seen != self._first_seen:
            return
        again = (await self.pages.at(0, count)).content
        if seen == seen_page(self.reader, again):
            raise SourceMappingError(
                f"{self._spec.name}: mapping: the page at offset {offset} is the same as the first one: the "
                f"source ignores the position: check {self.position_key}"
            )

    @property
    def position_key(self) -> str:
        """The key of the spec that names the position of a page, with the name."""
        paging = self._spec.paging
        if paging.place == "range_header":
            return f"paging.range_header {paging.range_header}"
        if isinstance(self.pages.paginator, PageNumber):
            return f"paging.page_param {paging.page_param}"
        return f"paging.offset_param {paging.offset_param}"

    @property
    def cursor_key(self) -> str:
        """The key of the spec that names the cursor or link of the next page."""
        paging = self._spec.paging
        return (
            f"paging.cursor_param {paging.cursor_param}" if paging.style == "cursor" else "paging.next_path"
        )

    def _check_repetition(self, offset: int, response: FetchedPage[RawPage], fingerprint: str | None) -> None:
        """Check that a chain of pages does not read the same records for ever: each may have a new cursor."""
        key, received = self.cursor_key, len(response.content.records)
        self._largest_total = max(self._largest_total, self._reported_total(response) or 0)
        try:
            first = self.reader.first_key(response.content)
            self.pages.trail.check_page(fingerprint, first, offset, self._spec.has_ids)
        except EndlessPagingError as error:
            raise SourceMappingError(
                f"{self._spec.name}: mapping: the page at offset {offset}: {error}: the source ignores the "
                f"cursor: check {key}"
            ) from error
        read = offset + received
        if received and self._largest_total and read > MOST_READ * self._largest_total:
            raise SourceMappingError(
                f"{self._spec.name}: mapping: {read} records read, but the source reports "
                f"{self._largest_total}: check {key} (the source may ignore the cursor) and total, or start "
                "a new run if records have been deleted since"
            )

    @property
    def sends_page_size(self) -> bool:
        """Whether requests name the number of records of a page."""
        return self._spec.paging.limit_param is not None or self._spec.paging.place == "range_header"

    @property
    def _probe_size(self) -> int:
        """The number of records used to check the mapping; numbered pages are requested whole."""
        size = self._spec.paging.effective_page_size
        return size if isinstance(self.pages.paginator, PageNumber) else min(SAMPLE_SIZE, size)

    async def _fetch_page(self, page: Page) -> FetchedPage[RawPage]:
        if isinstance(self.pages.paginator, PageNumber):
            return await self.pages.at(page.offset, page.page_size or page.size)
        return await self.pages.at(page.offset - page.before, page.before + (page.page_size or page.size))

    async def _check_first_position(self, first: RawPage, paginator: Positional) -> None:
        """Check that an API that is said to count from 1 has nothing at 0: no total would show the loss."""
        if self._spec.paging.first == 0:
            return
        size = self._spec.paging.effective_page_size
        try:
            content = (await self.pages.at(-paginator.step(1), size)).content
        except VelocityError:  # an API that counts from 1 may refuse it in any way
            return
        found, expected = (self.reader.fingerprint(page, slice(1)) for page in (content, first))
        if found is not None and found != expected:
            raise SourceMappingError(
                f"{self._spec.name}: mapping: the source has other records at 0 of {paginator.param} than at "
                "1, so it counts from 0: set paging.first to 0"
            )

    async def _find_end(self, first: RawPage, paginator: Positional) -> int:
        size = len(first.records)

        async def look(offset: int) -> SeenPage:
            page = seen_page(self.reader, (await self.pages.at(offset, size)).content)
            self._check_page_size(offset, size, page.received)
            return page

        repeats_last = self._spec.has_ids and isinstance(paginator, PageNumber)
        try:
            return await find_end(look, seen_page(self.reader, first), size, repeats_last)
        except EndlessPagingError as error:
            raise SourceMappingError(
                f"{self._spec.name}: mapping: the source reports no total, and the end cannot be found: "
                f"{error}: check {paginator.param}, or set total if the API reports one"
            ) from error

    def _total_seen(self, page: Page, response: FetchedPage[RawPage]) -> int | None:
        """Return the total that a page reports or, if it is the last one and not full, shows."""
        reported = self._reported_total(response)
        if reported is not None or page.size == (page.page_size or page.size):
            return reported
        return page.offset - page.before + len(response.content.records)

    def _reported_total(self, response: FetchedPage[RawPage]) -> int | None:
        """Return the total that a page reports. A page without one is not an error: only some may have it."""
        if response.is_missing or self._spec.total.source in ("none", "count_request"):
            return None
        try:
            return self._total(response)
        except SourceMappingError:
            return None

    async def _count(self, response: FetchedPage[RawPage]) -> int | None:
        """Return the number of records that the source reports, or None."""
        spec = self._spec
        if response.is_missing:
            return None
        if spec.total.request is not None:
            request = self.client.build_request(self._requests.count(spec.total.request))
            return (await self.client.fetch(request, partial(read_count, spec))).content
        return None if spec.total.source == "none" else self._total(response)

    def _check_mapping(self, page: RawPage) -> None:
        if missing := self.reader.unmapped_fields(page):
            fields = ", ".join(f"fields.{name}: {path}" for name, path in missing.items())
            raise SourceMappingError(
                f"{self._spec.name}: mapping: none of the first {len(page.records)} records has {fields}; "
                f"the response starts with: {quote(page.body)}"
            )

    def _total(self, response: FetchedPage[RawPage]) -> int:
        spec, headers = self._spec.total, response.headers
        value: int | str | None = response.content.total
        place = f"total.path {spec.path}"
        if spec.source == "header":
            place, value = f"header {spec.header}", headers.get(spec.header or "")
        if spec.source == "content_range":
            place, value = "header Content-Range", headers.get("Content-Range", "").rpartition("/")[2]
        if response.content.is_null and not value:
            return 0
        try:
            return checked_count(value)
        except (TypeError, ValueError):
            raise SourceMappingError(
                f"{self._spec.name}: mapping: no total at {place}; "
                f"the response starts with: {quote(response.content.body)}"
            ) from None


def _with_cost(result: PageResult, tally: Tally, started: float) -> PageResult:
    return replace(
        result,
        requests=tally.requests,
        retried=tally.retried,
        throttled=tally.throttled,
        seconds=time.monotonic() - started,
    )
