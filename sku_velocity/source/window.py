"""One window of one warehouse, as its source tells it: how many records it holds, and page by page which."""

from __future__ import annotations

import time
from dataclasses import dataclass, replace
from urllib.parse import quote as quote_url

import httpx

from sku_velocity.errors import ShortPageError, SourceAddressError, SourceMappingError
from sku_velocity.models import Page, PageResult, Window, iso
from sku_velocity.source.client import Answer, SourceClient
from sku_velocity.source.fields import Scalar
from sku_velocity.source.paging import find_end
from sku_velocity.source.spec import SourceSpec
from sku_velocity.validation import PageReader, RawPage, quote

SAMPLE_SIZE = 20  # records by which the mapping is judged before a window is read


@dataclass(frozen=True)
class WindowReader:
    """Reads one window of one warehouse. All methods raise what `SourceClient.fetch` raises."""

    client: SourceClient
    warehouse: str
    window: Window
    reader: PageReader

    @classmethod
    def of(cls, client: SourceClient, warehouse: str, window: Window) -> WindowReader:
        """A reader with its schema built: make one for all pages of a chunk."""
        return cls(client, warehouse, window, PageReader(client.spec, warehouse, window))

    async def check(self) -> Answer[RawPage]:
        """Ask for the first few records, to see that address, token and mapping are right.

        The error's message says which of the three is wrong.
        """
        answer = await self._ask(Page(0, min(SAMPLE_SIZE, self._spec.paging.effective_page_size)))
        self._check_mapping(answer.content)
        return answer

    async def survey(self) -> int:
        """The number of records in the window, having checked address, token and mapping."""
        answer = await self.check()
        if self._spec.total.source == "none":
            return await find_end(self._has_record, self._spec.paging.effective_page_size)
        return self._total(answer)

    async def recount(self, total: int) -> int:
        """The number of records now, given the number there was: one request, or two where none is told."""
        if self._spec.total.source != "none":
            return self._total(await self._ask(Page(0, 1)))
        if await self._has_record(total) or (total and not await self._has_record(total - 1)):
            return await find_end(self._has_record, self._spec.paging.effective_page_size)
        return total

    async def read(self, page: Page) -> PageResult:
        """One page, its records sorted.

        Raises ShortPageError where it does not hold exactly the records that its place promises.
        """
        started = time.monotonic()
        answer = await self._ask(page)
        if (held := len(answer.content.records)) != page.size:
            raise ShortPageError(
                f"{self._spec.name}: asked for {page.size} records from offset {page.offset} on, got {held}: "
                f"either the source gives at most {held} a page (set paging.max_page_size to that), "
                "or its records changed while they were read (run again)"
            )
        return replace(
            self.reader.judge(answer.content, page),
            requests=answer.tally.requests,
            retried=answer.tally.retried,
            throttled=answer.tally.throttled,
            seconds=time.monotonic() - started,
        )

    @property
    def _spec(self) -> SourceSpec:
        return self.client.spec

    async def _ask(self, page: Page) -> Answer[RawPage]:
        return await self.client.fetch(self._request(page), self.reader.read)

    async def _has_record(self, position: int) -> bool:
        try:
            answer = await self._ask(Page(position, 1))
        except SourceAddressError:
            if position == 0:
                raise
            return False  # some APIs answer 404 to a page past the end
        return bool(answer.content.records)

    def _request(self, page: Page) -> httpx.Request:
        request, paging, window = self._spec.request, self._spec.paging, self._spec.window
        params: dict[str, Scalar] = {name: self._fill(value) for name, value in request.params.items()}
        params |= self._spec.order.params
        params[paging.offset_param] = page.offset + paging.first
        if paging.limit_param:
            params[paging.limit_param] = page.size
        if window.params.start:
            params[window.params.start] = iso(self.window.start)
        if window.params.end:
            params[window.params.end] = iso(self.window.end)
        url = self._spec.url.replace("{warehouse}", quote_url(self.warehouse, safe=""))
        headers = {name: str(self._fill(value)) for name, value in request.headers.items()}
        return self.client.build_request(url, params, headers)

    def _fill(self, value: Scalar) -> Scalar:
        return value.replace("{warehouse}", self.warehouse) if isinstance(value, str) else value

    def _check_mapping(self, page: RawPage) -> None:
        if missing := self.reader.unmapped_fields(page):
            wanted = ", ".join(f"fields.{name}: {path}" for name, path in missing.items())
            raise SourceMappingError(
                f"{self._spec.name}: mapping: none of the first {len(page.records)} records has {wanted}; "
                f"the answer begins: {quote(page.body)}"
            )

    def _total(self, answer: Answer[RawPage]) -> int:
        spec = self._spec.total
        told = answer.headers.get(spec.header) if spec.header else answer.content.total
        try:
            total = int(told)  # type: ignore[arg-type]  # what is not a number is what we ask
        except (TypeError, ValueError):
            place = f"header {spec.header}" if spec.header else f"total.path {spec.path}"
            raise SourceMappingError(
                f"{self._spec.name}: mapping: no total at {place}; "
                f"the answer begins: {quote(answer.content.body)}"
            ) from None
        return total
