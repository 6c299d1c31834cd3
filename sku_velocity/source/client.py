"""The HTTP client of one source: it maps responses to results or errors."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from functools import partial
from typing import Self, TypeVar

import httpx
from pydantic import SecretStr

from sku_velocity.errors import (
    NoSuchPageError,
    SourceAddressError,
    SourceAuthError,
    SourceMappingError,
    SourceThrottledError,
    SourceUnavailableError,
    UnreadableBodyError,
)
from sku_velocity.http.body import as_unicode
from sku_velocity.http.exchange import Exchange, Response, Server, Tally, redirect_target
from sku_velocity.http.pacing import Pacer
from sku_velocity.http.retries import MAX_WAIT, TRANSIENT_STATUSES
from sku_velocity.http.signing import Answer
from sku_velocity.process.capacity import affordable_concurrency
from sku_velocity.source.auth import signature_of
from sku_velocity.source.envelope import Envelope, EnvelopeFields
from sku_velocity.source.requests import RequestParts
from sku_velocity.source.spec import SourceSpec
from sku_velocity.text import quote

T = TypeVar("T")

CHECK_TOKEN = "check the token, its permissions, and auth in the spec"
WITH_CONTENT = {200, 203, 204, 206}  # statuses of a result; another 2xx, such as 202, has none yet, or a part
NOT_READY = {202}


@dataclass(frozen=True)
class SourceAnswer(Answer):
    """An answer with what its body says besides records; `status` is the body's, if it reports one."""

    envelope: EnvelopeFields


class SourceClient:
    """Sends requests to one source, at its pace. Bound to the event loop that opened it.

    `tally` is the total cost of its requests so far.
    """

    def __init__(self, spec: SourceSpec, exchange: Exchange[SourceAnswer]) -> None:
        self.spec = spec
        self.tally = Tally()
        self._exchange = exchange

    @classmethod
    @asynccontextmanager
    async def open(
        cls,
        spec: SourceSpec,
        token: SecretStr | None,
        clock: Callable[[], float] = time.monotonic,
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
    ) -> AsyncIterator[Self]:
        """Open a client with its own connection pool and pacer, and close it on exit.

        Raises ConfigurationError if auth needs a token and there is none, or none that fits in a header.
        """
        signature = signature_of(spec, token, clock)
        in_flight = spec.pace.max_concurrency or affordable_concurrency(spec.timeouts.max_page_bytes)
        async with Exchange.open(spec, in_flight, _server_of(spec), signature, clock, sleep) as exchange:
            yield cls(spec, exchange)

    def apart(self) -> SourceClient:
        """Return a client with the same connections and pace, which counts only its own requests."""
        return SourceClient(self.spec, self._exchange)

    @property
    def pacer(self) -> Pacer:
        """Decides when the next request may start."""
        return self._exchange.pacer

    async def fetch(self, request: httpx.Request, decode: Callable[[bytes], T]) -> Response[T]:
        """Send a request until its body decodes, at most 4 times.

        A network error, a timeout, a transient status and a body that `decode` cannot read are retried; any
        other error is raised immediately. Raises SourceAddressError, SourceAuthError or SourceMappingError,
        which no retry can fix, and SourceUnavailableError or SourceThrottledError, which a later one may.
        """

        def read(answer: SourceAnswer, wait: float) -> T:
            if _is_empty_range(answer):
                return decode(b"null")
            self._raise_for_status(request, answer, wait)
            try:
                return decode(answer.body)
            except UnreadableBodyError as error:
                if not _is_html(answer):
                    raise
                raise UnreadableBodyError(
                    f"{_place(self.spec, request)}: the response is an HTML page, not JSON (HTTP "
                    f"{answer.status}): probably a login page: {CHECK_TOKEN}; otherwise check base_url and "
                    f"request.path; body: {quote(answer.body)}"
                ) from error

        tally = Tally()
        try:
            return await self._exchange.send(request, read, tally)
        finally:
            self.tally += tally

    def conceal(self, cursor: str, is_link: bool) -> str:
        """Return a cursor or link without secrets. A request that contains it gets them back when signed."""
        return self._exchange.signature.secrets.conceal(cursor, is_url=is_link)

    def _raise_for_status(self, request: httpx.Request, answer: SourceAnswer, wait: float) -> None:
        status, envelope, place = answer.status, answer.envelope, _place(self.spec, request)
        error = envelope.error if status < 300 else None
        # A search by POST is answered with 201 by some frameworks.
        if error is None and (status in WITH_CONTENT or (status, request.method) == (201, "POST")):
            return

        def message(problem: str, advice: str) -> str:
            return f"{place}: {problem}: HTTP {status}; {advice}; body: {quote(answer.body)}"

        if envelope.is_auth_error:
            raise SourceAuthError(message("token", CHECK_TOKEN))
        if error is not None:
            shown = quote(error.encode("utf-8", "replace"))
            raise SourceMappingError(f"{place}: the response contains an error (records.error_path): {shown}")
        if status in NOT_READY | TRANSIENT_STATUSES | self.spec.throttle.statuses:
            if wait > MAX_WAIT:
                advice = f"the source asks to wait {wait:.0f} s: retry later"
                raise SourceThrottledError(message("response", advice))
            advice = "the source is temporarily unavailable: retry later"
            raise SourceUnavailableError(message("response", advice), wait)
        if status in (401, 403):
            raise SourceAuthError(message("token", CHECK_TOKEN))
        if status < 300:
            advice = "this status has no list of records: check request.method and request.path"
            raise SourceMappingError(message("mapping", advice))
        if status == 304:
            advice = (
                "a cache answers instead of the source: turn it off, and remove If-None-Match and "
                "If-Modified-Since from request.headers"
            )
            raise SourceAddressError(message("address", advice))
        if status < 400:
            raise SourceAddressError(
                message(
                    "address",
                    f"redirected to {redirect_target(request, answer)}, which is not followed: set "
                    f"base_url and request.path to it or, if it is a login page, {CHECK_TOKEN}",
                )
            )
        if status in (404, 416):
            named = "base_url, request.path, and that the warehouse is named as in the source (--warehouse)"
            advice = f"check {named if self.spec.request.names_warehouse else 'base_url and request.path'}"
            raise NoSuchPageError(message("address", advice))
        if status in (405, 410):
            raise SourceAddressError(message("address", "check base_url, request.path and request.method"))
        raise SourceMappingError(message("mapping", "check request, paging and window in the spec"))

    def build_request(self, parts: RequestParts) -> httpx.Request:
        """Build an HTTP request. Raises SourceAddressError if HTTP cannot represent it."""
        try:
            if not all(value.isprintable() for value in parts.headers.values()):
                raise ValueError("a header contains a line break or another control character")
            return self._exchange.build(
                parts.method, parts.url, parts.params, headers=parts.headers, json=parts.body
            )
        except (httpx.InvalidURL, ValueError) as error:
            raise SourceAddressError(
                f"{self.spec.name}: address: the request cannot be built: {quote(str(error).encode())}: "
                "check the warehouse name, and request and paging in the spec"
            ) from None


def _server_of(spec: SourceSpec) -> Server[SourceAnswer]:
    envelopes = Envelope(spec)

    def interpret(answer: Answer) -> SourceAnswer:
        body = as_unicode(answer.body, answer.headers.get("Content-Type", ""))
        envelope = envelopes.read(body)
        return SourceAnswer(envelope.status(answer.status), answer.headers, body, envelope)

    return Server(
        "source",
        if_too_large="lower paging.page_size, or raise timeouts.max_page_bytes",
        unavailable=SourceUnavailableError,
        throttled=SourceThrottledError,
        address=SourceAddressError,
        contract=SourceMappingError,
        place=partial(_place, spec),
        interpret=interpret,
        throttle_statuses=spec.throttle.statuses,
        retry_after_headers=spec.throttle.retry_after_headers,
    )


def _is_empty_range(answer: Answer) -> bool:
    """Return True if the source has no record at all (RFC 9110, 15.5.17): an empty window, not an error."""
    total = answer.headers.get("Content-Range", "").rpartition("*/")[2].strip()
    return answer.status == 416 and total == "0"


def _is_html(answer: SourceAnswer) -> bool:
    is_html = answer.headers.get("Content-Type", "").partition(";")[0].strip().lower() == "text/html"
    return is_html or answer.body.lstrip()[:100].lower().startswith((b"<!doctype html", b"<html"))


def _place(spec: SourceSpec, request: httpx.Request) -> str:
    return f"{spec.name}: {request.method} {request.url}"
