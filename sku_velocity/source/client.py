"""One source's HTTP client: asks at the source's pace, patiently, and sorts its answers from its refusals."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any, Generic, Self, TypeVar

import httpx
from pydantic import SecretStr

from sku_velocity.errors import (
    NoSuchPageError,
    SourceAddressError,
    SourceAuthError,
    SourceMappingError,
    SourceThrottledError,
    SourceUnavailableError,
    VelocityError,
)
from sku_velocity.http.body import CODINGS, RefusedBodyError, read_body
from sku_velocity.http.exchange import Tally, _explain, discard_on_close
from sku_velocity.http.pacing import Pacer
from sku_velocity.http.retries import PATIENCE, TRANSIENT_STATUSES, asked_wait, attempts
from sku_velocity.http.signing import Signature
from sku_velocity.http.tls import refused_certificate, verification
from sku_velocity.process.capacity import affordable_concurrency
from sku_velocity.source.auth import signature_of
from sku_velocity.source.envelope import BodyStatus
from sku_velocity.source.requests import Ask
from sku_velocity.source.spec import SourceSpec

T = TypeVar("T")


@dataclass(frozen=True)
class Answer(Generic[T]):
    """A decoded body, the headers it came with, and what it cost."""

    content: T
    headers: Mapping[str, str]
    tally: Tally


class SourceClient:
    """Asks one source. It belongs to the event loop that opened it, with its connections and its pace.

    `tally` adds up what all requests so far have cost; `pacer` says when the next may start.
    """

    def __init__(
        self,
        spec: SourceSpec,
        http: httpx.AsyncClient,
        pacer: Pacer,
        signature: Signature,
        sleep: Callable[[float], Awaitable[None]],
    ) -> None:
        self.spec = spec
        self.tally = Tally()
        self._http = http
        self.pacer = pacer
        self._signature = signature
        self._told = BodyStatus(spec)
        self._sleep = sleep

    @classmethod
    @asynccontextmanager
    async def open(
        cls,
        spec: SourceSpec,
        token: SecretStr | None,
        clock: Callable[[], float] = time.monotonic,
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
    ) -> AsyncIterator[Self]:
        """A client with a connection pool and a pacer of its own, closed when the block is left.

        Raises ConfigurationError where the spec signs in and there is no token, or none that a header holds.
        """
        signature = signature_of(spec, token)
        in_flight = spec.pace.max_concurrency or affordable_concurrency(spec.timeouts.max_page_bytes)
        pace = spec.pace.model_copy(update={"max_concurrency": in_flight})
        async with httpx.AsyncClient(
            auth=signature,
            verify=verification(spec.name, spec.tls),
            headers={"Accept-Encoding": CODINGS},
            limits=httpx.Limits(
                max_connections=in_flight,
                max_keepalive_connections=in_flight,
                keepalive_expiry=spec.timeouts.keepalive_expiry,
            ),
            timeout=httpx.Timeout(
                spec.timeouts.read, connect=spec.timeouts.connect, pool=spec.timeouts.total
            ),
            follow_redirects=False,
        ) as http:
            yield cls(spec, http, Pacer(pace, clock, sleep), signature, sleep)

    async def fetch(self, request: httpx.Request, decode: Callable[[bytes], T]) -> Answer[T]:
        """Send a request until its body decodes, at most 4 times.

        A network error, a timeout, a status that passes and a body that `decode` calls unreadable are tried
        again; any other error is raised at once. Raises SourceAddressError, SourceAuthError or
        SourceMappingError, which no retry helps, and SourceUnavailableError or SourceThrottledError, which
        a later one may.
        """
        tally = Tally()
        try:
            async for attempt in attempts(SourceUnavailableError, self._sleep):
                with attempt:
                    tally.retried += attempt.retry_state.attempt_number > 1
                    response, body = await self._send_with_retries(request, tally)
                    content = self._signature.decode(body, decode)
        except VelocityError as error:
            error.args = tuple(self._signature.hide(str(arg)) for arg in error.args)
            raise
        finally:
            self.tally += tally
        return Answer(content, response.headers, tally)

    def quote(self, body: bytes) -> str:
        """The beginning of a body, fit to stand in a message: on one line, without a secret."""
        return self._signature.quote(body)

    async def _send_with_retries(self, request: httpx.Request, tally: Tally) -> tuple[httpx.Response, bytes]:
        """Send a request, and again when the source says how long to wait: that is pace, not failure."""
        waited = 0.0
        while True:
            tally.requests += 1
            response, status, body = await self._send(request)
            wait = asked_wait(response.headers, self.spec.throttle.retry_after_headers)
            if not wait or status not in self.spec.throttle.statuses:
                self._raise_for_status(response, status, body, wait)
                return response, body
            tally.throttled += 1
            waited += wait
            if waited > PATIENCE:
                raise SourceThrottledError(
                    f"{self._place(request)}: HTTP {status} asks to wait {waited:.0f} s "
                    f"altogether, more than the {PATIENCE:.0f} s that one request waits: run again later, "
                    "or lower pace.requests_per_second"
                )
            self.pacer.pause(wait)

    async def _send(self, request: httpx.Request) -> tuple[httpx.Response, int, bytes]:
        """One answer, with the status that it or its body tells; the pacer hears how it went."""
        request.extensions["trace"] = self._before_send
        async with self.pacer.slot() as started:
            try:
                response, body = await self._exchange(request)
            except SourceUnavailableError as error:
                if isinstance(error.__cause__, TimeoutError | httpx.TimeoutException):
                    self.pacer.timed_out(started)
                raise
            status = self._told.status(body) or response.status_code
            if status in self.spec.throttle.statuses:
                self.pacer.refused(started)
            elif status < 400:
                self.pacer.answered(started)
            return response, status, body

    async def _exchange(self, request: httpx.Request) -> tuple[httpx.Response, bytes]:
        try:
            async with asyncio.timeout(self.spec.timeouts.total):
                response = await self._http.send(request, stream=True)
                try:
                    return response, await read_body(response, self.spec.timeouts.max_page_bytes)
                finally:
                    await response.aclose()
        except RefusedBodyError as error:
            raise SourceMappingError(
                f"{self._place(request)}: the answer {error} (timeouts.max_page_bytes): "
                f"lower paging.page_size; it begins: {self.quote(error.start)}"
            ) from error
        except TimeoutError as error:
            raise SourceUnavailableError(
                f"{self._place(request)}: no whole answer within {self.spec.timeouts.total:g} s "
                "(timeouts.total)"
            ) from error
        except (httpx.TransportError, httpx.DecodingError, httpx.InvalidURL) as error:
            if refusal := refused_certificate(error):
                asked = getattr(error, "request", request)  # it may be for a token
                raise SourceAddressError(f"{self._place(asked)}: {refusal}") from error
            raise SourceUnavailableError(
                f"{self._place(request)}: address: {_explain(error)}; "
                "check base_url and that the source is up"
            ) from error

    async def _before_send(self, event: str, told: Mapping[str, Any]) -> None:
        """Told by the connection of each of its steps: the request keeps its pace as it is written."""
        if event == "http11.send_request_headers.started":
            await self.pacer.before_send()
        elif event == "connection.connect_tcp.complete":
            discard_on_close(told["return_value"].get_extra_info("socket"))

    def _raise_for_status(self, response: httpx.Response, status: int, body: bytes, wait: float) -> None:
        if status < 300:
            if error := self._told.error(body):
                raise SourceMappingError(
                    f"{self._place(response.request)}: it tells an error (records.error_path): {error}"
                )
            return

        def said(wrong: str, advice: str) -> str:
            place = self._place(response.request)
            return f"{place}: {wrong}: HTTP {status}; {advice}; it says: {self.quote(body)}"

        if status in TRANSIENT_STATUSES | self.spec.throttle.statuses:
            if wait > PATIENCE:
                raise SourceThrottledError(said("answer", f"it asks to wait {wait:.0f} s: run again later"))
            raise SourceUnavailableError(said("answer", "the source is not well"), wait)
        if status in (401, 403):
            raise SourceAuthError(said("token", "check the token, its rights, and auth in the spec"))
        if status < 400:
            target = httpx.URL(response.headers.get("location", "")).host or "another path"
            raise SourceAddressError(
                said("address", f"redirected to {target}, which is not followed: set base_url to it")
            )
        if status in (404, 405, 410, 416):
            raise NoSuchPageError(said("address", "check base_url and request.path"))
        raise SourceMappingError(said("mapping", "check request, paging and window in the spec"))

    def build_request(self, ask: Ask) -> httpx.Request:
        """A request to the source. Raises SourceAddressError where HTTP cannot write what it asks for."""
        try:
            if not all(value.isprintable() for value in ask.headers.values()):
                raise ValueError("a header holds a line end or another control character")
            return self._http.build_request(
                ask.method, ask.url, params=ask.params, headers=ask.headers, json=ask.body
            )
        except (httpx.InvalidURL, ValueError) as error:
            raise SourceAddressError(
                f"{self.spec.name}: address: the request cannot be written: {error}: "
                "check the warehouse, and request and paging in the spec"
            ) from error

    def _place(self, request: httpx.Request) -> str:
        return f"{self.spec.name}: {request.method} {request.url}"
