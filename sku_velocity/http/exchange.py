"""The HTTP core of all clients: it sends a request at the server's pace until an answer can be read."""

from __future__ import annotations

import asyncio
import socket
import struct
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any, Generic, Protocol, Self, TypeVar

import httpx

from sku_velocity.errors import ConfigurationError, RequestCost, RetriableError, VelocityError
from sku_velocity.http.body import CODINGS, DamagedBodyError, OversizedBodyError, RefusedBodyError, read_body
from sku_velocity.http.pacing import Pacer
from sku_velocity.http.retries import MAX_WAIT, attempts, requested_wait
from sku_velocity.http.signing import Answer, Signature, TokenWaitError
from sku_velocity.http.spec import PaceSpec, TimeoutSpec, TlsSpec
from sku_velocity.http.tls import explain_certificate_error, verification
from sku_velocity.masking import hide_messages
from sku_velocity.text import quote

T = TypeVar("T")
A = TypeVar("A", bound=Answer)

# A cache between us and the server must not answer in its place (the second is for HTTP/1.0).
HEADERS = {"Accept-Encoding": CODINGS, "Cache-Control": "no-cache", "Pragma": "no-cache"}
MAX_TOKEN_BYTES = 64 * 1024  # of the response to a request for a token


@dataclass
class Tally:
    """Counts of requests: sent, retried after a failure, and throttled."""

    requests: int = 0
    retried: int = 0
    throttled: int = 0

    def __add__(self, other: Tally) -> Tally:
        return Tally(
            self.requests + other.requests, self.retried + other.retried, self.throttled + other.throttled
        )

    def __sub__(self, other: Tally) -> Tally:
        return self + Tally(-other.requests, -other.retried, -other.throttled)


@dataclass(frozen=True)
class Response(Generic[T]):
    """What was read from an answer, the response headers, and the cost of the request."""

    content: T
    headers: Mapping[str, str]
    tally: Tally


@dataclass(frozen=True)
class Server(Generic[A]):
    """One kind of server: the errors that report its failures, its name in them, and how it throttles.

    `interpret` returns an answer with the status that its body reports, `place` what a message says of a
    request, and `if_too_large` the settings to change if a response is over the limit.
    """

    name: str
    if_too_large: str
    unavailable: type[RetriableError]
    throttled: type[RetriableError]
    address: type[ConfigurationError]
    contract: type[ConfigurationError]
    place: Callable[[httpx.Request], str]
    interpret: Callable[[Answer], A]
    throttle_statuses: frozenset[int] = frozenset({429, 503})
    retry_after_headers: Iterable[str] = ("Retry-After",)


class HttpSpec(Protocol):
    """The part of a spec about sending requests."""

    @property
    def name(self) -> str: ...
    @property
    def tls(self) -> TlsSpec: ...
    @property
    def pace(self) -> PaceSpec: ...
    @property
    def timeouts(self) -> TimeoutSpec: ...


class Exchange(Generic[A]):
    """Sends requests to one server. Bound to the event loop that opened it, as are its connections and pacer.

    `tally` is the total cost of all requests so far; `pacer` decides when the next may start. Its secrets are
    hidden in all messages while it is open.
    """

    def __init__(
        self,
        http: httpx.AsyncClient,
        server: Server[A],
        timeouts: TimeoutSpec,
        pacer: Pacer,
        signature: Signature,
        sleep: Callable[[float], Awaitable[None]],
    ) -> None:
        self.tally = Tally()
        self.pacer = pacer
        self.signature = signature
        self._http = http
        self._server = server
        self._timeouts = timeouts
        self._sleep = sleep

    @classmethod
    @asynccontextmanager
    async def open(
        cls,
        spec: HttpSpec,
        in_flight: int,
        server: Server[A],
        signature: Signature,
        clock: Callable[[], float],
        sleep: Callable[[float], Awaitable[None]],
    ) -> AsyncIterator[Self]:
        """Open an exchange with its own connections, at most `in_flight`, and pacer; close it on exit.

        Raises ConfigurationError if `tls.ca_file` cannot be read.
        """
        timeouts, pace = spec.timeouts, spec.pace.model_copy(update={"max_concurrency": in_flight})
        async with httpx.AsyncClient(
            verify=verification(spec.name, spec.tls),
            headers=HEADERS,
            limits=httpx.Limits(
                max_connections=in_flight,
                max_keepalive_connections=in_flight,
                keepalive_expiry=timeouts.keepalive_expiry,
            ),
            timeout=httpx.Timeout(timeouts.read, connect=timeouts.connect, pool=timeouts.total),
            follow_redirects=False,
        ) as http:
            with signature.secrets.masked():
                yield cls(http, server, timeouts, Pacer(pace, clock, sleep), signature, sleep)

    def build(
        self, method: str, url: str, params: Mapping[str, Any] | None = None, **content: Any
    ) -> httpx.Request:
        """Build a request. Raises ValueError or httpx.InvalidURL if HTTP cannot represent it."""
        request = self._http.build_request(method, url, params=params, **content)
        if params:  # a blank as %20: OData services read + as a plus
            request.url = request.url.copy_with(query=request.url.query.replace(b"+", b"%20"))
        request.extensions["trace"] = self._trace
        return request

    async def send(
        self, request: httpx.Request, read: Callable[[A, float], T], tally: Tally | None = None
    ) -> Response[T]:
        """Send a request until `read` can read its answer, at most 4 times.

        `read` gets the answer and the seconds that it asks to wait, and raises the errors of the server's
        kind. Only `unavailable` is retried, which a network error, a timeout and a damaged body raise, too.
        """
        tally, started = Tally() if tally is None else tally, time.monotonic()
        try:
            async for attempt in attempts(self._server.unavailable, self._sleep):
                with attempt:
                    tally.retried += attempt.retry_state.attempt_number > 1
                    answer, wait = await self._send_with_waits(request, tally)
                    content = read(answer, wait)
        except Exception as error:
            hide_messages(error.__cause__ if isinstance(error, VelocityError) else error)
            if isinstance(error, VelocityError):
                seconds = time.monotonic() - started
                error.cost = RequestCost(tally.requests, tally.retried, tally.throttled, seconds)
            raise
        finally:
            self.tally += tally
        return Response(content, answer.headers, tally)

    async def _send_with_waits(self, request: httpx.Request, tally: Tally) -> tuple[A, float]:
        """Send a request; resend it after each wait the server asks for: throttling is not a failure."""
        server, waited = self._server, 0.0
        while True:
            tally.requests += 1
            try:
                answer = await self._send_in_slot(request)
            except TokenWaitError as error:
                wait, asks, advice = error.wait, str(error), "retry later"
            else:
                wait = requested_wait(answer.headers, server.retry_after_headers)
                if not wait or answer.status not in server.throttle_statuses:
                    return answer, wait
                asks = f"{server.place(request)}: HTTP {answer.status} asks to wait"
                advice = "retry later, or lower pace.requests_per_second"
            tally.throttled += 1
            waited += wait
            if waited > MAX_WAIT:
                raise server.throttled(
                    f"{asks} {waited:.0f} s in total, more than the {MAX_WAIT:.0f} s limit per request: "
                    f"{advice}"
                )
            self.pacer.pause(wait)

    async def _send_in_slot(self, request: httpx.Request) -> A:
        """Send a request when the pacer allows, and report the result to it."""
        async with self.pacer.slot() as started:
            try:
                answer = await self._send_in_time(request)
            except self._server.unavailable as error:
                if isinstance(error.__cause__, TimeoutError | httpx.TimeoutException):
                    self.pacer.on_timeout(started)
                raise
            interpreted = self._server.interpret(answer)
            if interpreted.status in self._server.throttle_statuses:
                self.pacer.on_refusal(started)
            elif interpreted.status < 400:
                self.pacer.on_success(started)
            return interpreted

    async def _send_in_time(self, request: httpx.Request) -> Answer:
        server, total = self._server, self._timeouts.total
        try:
            async with asyncio.timeout(total):
                return await self._send_signed(request)
        except OversizedBodyError as error:
            raise server.contract(
                f"{server.place(request)}: the response {error} (timeouts.max_page_bytes): "
                f"{server.if_too_large}; the response starts with: {quote(error.start, is_cut=True)}"
            ) from error
        except RefusedBodyError as error:
            raise server.contract(
                f"{server.place(request)}: the response {error}: turn that off at the {server.name}, or at "
                "the proxy before it"
            ) from error
        except TimeoutError as error:
            raise server.unavailable(
                f"{server.place(request)}: no complete response within {total:g} s (timeouts.total)"
            ) from error

    async def _send_signed(self, request: httpx.Request) -> Answer:
        """Send a signed copy of a request, and another one if the server refuses a signature that expires."""
        signed = await self.signature.sign(request, self._send_for_token)
        answer = await self._send(signed, request, self._timeouts.max_page_bytes)
        if answer.status == httpx.codes.UNAUTHORIZED and self.signature.is_renewable:
            signed = await self.signature.sign(request, self._send_for_token, signed)
            answer = await self._send(signed, request, self._timeouts.max_page_bytes)
        return answer

    async def _send_for_token(self, request: httpx.Request) -> Answer:
        request.headers.update(HEADERS)
        return await self._send(request, request, MAX_TOKEN_BYTES)

    async def _send(self, signed: httpx.Request, request: httpx.Request, limit: int) -> Answer:
        """Send a signed request once, and read its response; messages name the original `request`."""
        server = self._server
        try:
            response = await self._http.send(signed, stream=True)
            try:
                body = await read_body(response, limit)
            finally:
                await response.aclose()
        except (httpx.TransportError, httpx.DecodingError, httpx.InvalidURL) as error:
            if refusal := explain_certificate_error(error):
                raise server.address(f"{server.place(request)}: {refusal}") from error
            if _is_unknown_host(error):
                raise server.address(
                    f"{server.place(request)}: address: there is no host {request.url.host}: correct base_url"
                ) from error
            reason = quote((str(error) or type(error).__name__).encode())
            raise server.unavailable(
                f"{server.place(request)}: address: {reason}; check base_url and that the {server.name} is up"
            ) from error
        except DamagedBodyError as error:
            raise server.unavailable(f"{server.place(request)}: {error}") from error
        if response.status_code == httpx.codes.NO_CONTENT:
            body = b"null"
        return Answer(response.status_code, response.headers, body)

    async def _trace(self, event: str, info: Mapping[str, Any]) -> None:
        """Handle an httpx trace event: the pacer delays the request right before it is written."""
        if event == "http11.send_request_headers.started":
            await self.pacer.before_send()
        elif event in ("http11.send_request_headers.complete", "http11.send_request_headers.failed"):
            self.pacer.after_send()
        elif event == "connection.connect_tcp.complete":
            _discard_on_close(info["return_value"].get_extra_info("socket"))


def _is_unknown_host(error: BaseException) -> bool:
    """Return True if a name server knows of no such host. That none answers is a temporary failure."""
    cause: BaseException | None = error
    while cause is not None and not isinstance(cause, socket.gaierror):
        cause = cause.__cause__ or cause.__context__
    return isinstance(cause, socket.gaierror) and cause.errno == socket.EAI_NONAME


def redirect_target(request: httpx.Request, answer: Answer) -> str:
    """Return the address of a redirect for a message, without its query, which may contain a token."""
    try:
        target = request.url.join(answer.headers.get("location", ""))
        return quote(str(target.copy_with(query=None, fragment=None, userinfo=b"")).encode())
    except (httpx.InvalidURL, ValueError):
        return "an invalid address"


def _discard_on_close(connection: socket.socket) -> None:
    """Make a connection discard its unsent data when it is closed.

    Otherwise, after a network outage, all requests that were given up during it would arrive at once, long
    after their slot in the pace.
    """
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
