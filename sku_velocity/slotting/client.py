"""The slotting engine's HTTP client: sends a batch at the engine's pace until it is answered, once."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import replace
from functools import partial
from typing import Self

import httpx
from pydantic import SecretStr

from sku_velocity.errors import (
    EngineAddressError,
    EngineAuthError,
    EngineContractError,
    EngineRefusalError,
    EngineThrottledError,
    EngineUnavailableError,
    VelocityError,
)
from sku_velocity.http.body import CODINGS, RefusedBodyError, read_body
from sku_velocity.http.exchange import Tally
from sku_velocity.http.pacing import Pacer
from sku_velocity.http.retries import PATIENCE, asked_wait, attempts
from sku_velocity.http.signing import Signature, bearer
from sku_velocity.http.tls import refused_certificate, verification
from sku_velocity.model.push import Batch
from sku_velocity.slotting.batches import Answer, read_answer
from sku_velocity.slotting.spec import EngineSpec
from sku_velocity.text import quote

# Of those below 500. 409: an earlier request with this key is still being worked on; that the key came with
# other content is said by 422 (https://datatracker.ietf.org/doc/draft-ietf-httpapi-idempotency-key-header).
PASSING = {408, 409, 425, 429}
MAX_IN_FLIGHT = 4  # requests, where the spec does not say
THROTTLED = frozenset({429, 503})


class SlottingClient:
    """Sends to one slotting engine. It belongs to the event loop that opened it.

    Every method raises EngineRefusalError or EngineContractError, which no retry helps, and
    EngineUnavailableError or EngineThrottledError, which a later one may: the same batch may be sent again
    at any time. No message shows the token. `tally` adds up what all requests so far have cost; `pacer` says
    when the next may start.
    """

    def __init__(
        self,
        spec: EngineSpec,
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
        self._sleep = sleep

    @classmethod
    @asynccontextmanager
    async def open(
        cls,
        spec: EngineSpec,
        token: SecretStr | None,
        clock: Callable[[], float] = time.monotonic,
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
    ) -> AsyncIterator[Self]:
        """A client with connections and a pace of its own, closed when the block is left.

        Raises ConfigurationError where there is a token that no header holds.
        """
        secret = token.get_secret_value().strip() if token else ""
        signature = bearer(spec.name, secret) if secret else Signature({})
        in_flight, timeouts = spec.pace.max_concurrency or MAX_IN_FLIGHT, spec.timeouts
        pace = spec.pace.model_copy(update={"max_concurrency": in_flight})
        async with httpx.AsyncClient(
            auth=signature,
            verify=verification(spec.name, spec.tls),
            headers={"Accept-Encoding": CODINGS},
            limits=httpx.Limits(
                max_connections=in_flight,
                max_keepalive_connections=in_flight,
                keepalive_expiry=timeouts.keepalive_expiry,
            ),
            timeout=httpx.Timeout(timeouts.read, connect=timeouts.connect, pool=timeouts.total),
            follow_redirects=False,
        ) as http:
            yield cls(spec, http, Pacer(pace, clock, sleep), signature, sleep)

    async def push_movements(self, batch: Batch) -> Answer:
        """Send movements, at most 4 times; gives what became of each record."""
        return await self._push(self.spec.movements_path, batch)

    async def push_classes(self, batch: Batch) -> Answer:
        """Send the velocity classes of SKUs, at most 4 times; gives what became of each record."""
        return await self._push(self.spec.classes_path, batch)

    async def _push(self, path: str, batch: Batch) -> Answer:
        headers = {self.spec.idempotency_header: batch.key, "Content-Type": "application/json"}
        request = self._http.build_request("POST", self.spec.url(path), content=batch.body, headers=headers)
        request.extensions["trace"] = self._before_send
        tally = Tally()
        try:
            async for attempt in attempts(EngineUnavailableError, self._sleep):
                with attempt:
                    tally.retried += attempt.retry_state.attempt_number > 1
                    body = await self._send_with_retries(request, tally)
                    answer = self._signature.decode(body, partial(read_answer, batch=batch))
        except VelocityError as error:
            if isinstance(error, EngineRefusalError):
                error.took_nothing = not tally.retried
            place = f"{self.spec.name}: POST {request.url}, {self.spec.idempotency_header} {batch.key}"
            error.args = (self._signature.hide(f"{place}: {error}"),)
            raise
        finally:
            self.tally += tally
        reasons = {record: self._signature.hide(why) for record, why in answer.rejected.items()}
        return replace(answer, rejected=reasons, requests=tally.requests)

    async def _send_with_retries(self, request: httpx.Request, tally: Tally) -> bytes:
        """Send a request, and again when the engine says how long to wait: that is pace, not failure."""
        waited = 0.0
        while True:
            tally.requests += 1
            response, body = await self._send(request)
            wait = asked_wait(response.headers, ["Retry-After"])
            if not wait or response.status_code not in THROTTLED:
                _raise_for_status(response, self._signature.quote(body), wait)
                return body
            tally.throttled += 1
            waited += wait
            if waited > PATIENCE:
                raise EngineThrottledError(
                    f"HTTP {response.status_code} asks to wait {waited:.0f} s altogether, more than the "
                    f"{PATIENCE:.0f} s that one batch waits: run again later, or lower "
                    "pace.requests_per_second"
                )
            self.pacer.pause(wait)

    async def _send(self, request: httpx.Request) -> tuple[httpx.Response, bytes]:
        """One answer; the pacer hears how it went."""
        async with self.pacer.slot() as started:
            try:
                response, body = await self._exchange(request)
            except EngineUnavailableError as error:
                if isinstance(error.__cause__, TimeoutError | httpx.TimeoutException):
                    self.pacer.timed_out(started)
                raise
            if response.status_code in THROTTLED:
                self.pacer.refused(started)
            elif response.is_success:
                self.pacer.answered(started)
            return response, body

    async def _exchange(self, request: httpx.Request) -> tuple[httpx.Response, bytes]:
        total = self.spec.timeouts.total
        try:
            async with asyncio.timeout(total):
                response = await self._http.send(request, stream=True)
                try:
                    return response, await read_body(response, self.spec.timeouts.max_page_bytes)
                finally:
                    await response.aclose()
        except RefusedBodyError as error:
            raise EngineContractError(
                f"the answer {error} (timeouts.max_page_bytes): lower batch_size; "
                f"it begins: {self._signature.quote(error.start)}"
            ) from error
        except TimeoutError as error:
            raise EngineUnavailableError(f"no whole answer within {total:g} s (timeouts.total)") from error
        except (httpx.TransportError, httpx.DecodingError, httpx.InvalidURL) as error:
            if refusal := refused_certificate(error):
                raise EngineAddressError(refusal) from error
            reason = quote((str(error) or type(error).__name__).encode())
            raise EngineUnavailableError(f"{reason}: check base_url and that the engine is up") from error

    async def _before_send(self, event: str, _: Mapping[str, object]) -> None:
        """Told by the connection of each of its steps: the request keeps its pace as it is written."""
        if event == "http11.send_request_headers.started":
            await self.pacer.before_send()


def _raise_for_status(response: httpx.Response, body: str, wait: float) -> None:
    status = response.status_code
    if status < 300:
        return
    told = f"HTTP {status}; it says: {body}"
    if status in PASSING or status >= 500:
        if wait > PATIENCE:
            raise EngineThrottledError(f"the engine asks to wait {wait:.0f} s: run again later: {told}")
        raise EngineUnavailableError(f"the engine is not well: {told}", wait)
    if status in (401, 403):
        raise EngineAuthError(f"check the token and its rights: {told}")
    if status < 400:
        target = httpx.URL(response.headers.get("location", "")).host or "another path"
        raise EngineAddressError(f"redirected to {target}, which is not followed: set base_url to it: {told}")
    if status in (404, 405, 410):
        raise EngineAddressError(f"check base_url, movements_path and classes_path: {told}")
    raise EngineRefusalError(f"the batch is refused as a whole: check batch_size and the engine: {told}")
