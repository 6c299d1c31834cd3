"""The slotting engine's HTTP client: sends a batch at the engine's pace until it is answered."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Awaitable, Callable
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
from sku_velocity.http.exchange import Exchange, Server, Tally
from sku_velocity.http.pacing import Pacer
from sku_velocity.http.retries import MAX_WAIT
from sku_velocity.http.signing import Answer as HttpAnswer
from sku_velocity.http.signing import Signature, bearer
from sku_velocity.model.push import Batch
from sku_velocity.slotting.batches import Answer, read_answer
from sku_velocity.slotting.spec import EngineSpec
from sku_velocity.text import quote

# Temporary failures below 500. 409: an earlier request with this key is still in progress; a key reused with
# other content is answered with 422 (https://datatracker.ietf.org/doc/draft-ietf-httpapi-idempotency-key-header).
TEMPORARY = {408, 409, 425, 429}
MAX_IN_FLIGHT = 4  # requests, unless the spec says otherwise


class SlottingClient:
    """The client of one slotting engine. It belongs to the event loop that opened it.

    Every method raises EngineRefusalError or EngineContractError, which are not retriable, and
    EngineUnavailableError or EngineThrottledError, which are: the same batch may be sent again at any time.
    No message contains the token.
    """

    def __init__(self, spec: EngineSpec, exchange: Exchange[HttpAnswer]) -> None:
        self.spec = spec
        self._exchange = exchange

    @classmethod
    @asynccontextmanager
    async def open(
        cls,
        spec: EngineSpec,
        token: SecretStr | None,
        clock: Callable[[], float] = time.monotonic,
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
    ) -> AsyncIterator[Self]:
        """Open a client with its own connections and pace, closed on exit.

        Raises ConfigurationError if the token is not a valid header value.
        """
        secret = token.get_secret_value().strip() if token else ""
        signature = bearer(spec.name, secret) if secret else Signature({})
        in_flight = spec.pace.max_concurrency or MAX_IN_FLIGHT
        async with Exchange.open(spec, in_flight, _server_of(spec), signature, clock, sleep) as exchange:
            yield cls(spec, exchange)

    @property
    def tally(self) -> Tally:
        """The total cost of all requests so far."""
        return self._exchange.tally

    @property
    def pacer(self) -> Pacer:
        """Decides when the next request may start."""
        return self._exchange.pacer

    async def push_movements(self, batch: Batch) -> Answer:
        """Send movements, at most 4 times. Return the result of each record."""
        return await self._push(self.spec.movements_path, batch)

    async def push_classes(self, batch: Batch) -> Answer:
        """Send the velocity classes of SKUs, at most 4 times. Return the result of each record."""
        return await self._push(self.spec.classes_path, batch)

    async def _push(self, path: str, batch: Batch) -> Answer:
        headers = {self.spec.idempotency_header: batch.key, "Content-Type": "application/json"}
        request = self._exchange.build("POST", self.spec.url(path), content=batch.body, headers=headers)
        tally = Tally()

        def read(answer: HttpAnswer, wait: float) -> Answer:
            try:
                _raise_for_status(answer, wait)
                return read_answer(answer.body, batch)
            except VelocityError as error:
                error.args = (f"{_place(self.spec, request)}: {error}",)
                raise

        try:
            answer = (await self._exchange.send(request, read, tally)).content
        except EngineRefusalError as error:
            error.took_nothing = tally.requests == 1
            raise
        return replace(answer, requests=tally.requests)


def _server_of(spec: EngineSpec) -> Server[HttpAnswer]:
    return Server(
        "engine",
        if_too_large="check base_url, or raise timeouts.max_page_bytes",
        unavailable=EngineUnavailableError,
        throttled=EngineThrottledError,
        address=EngineAddressError,
        contract=EngineContractError,
        place=partial(_place, spec),
        interpret=lambda answer: answer,
    )


def _place(spec: EngineSpec, request: httpx.Request) -> str:
    header = spec.idempotency_header
    return f"{spec.name}: POST {request.url}, {header} {request.headers[header]}"


def _raise_for_status(answer: HttpAnswer, wait: float) -> None:
    status = answer.status
    if status < 300:
        return
    said = f"HTTP {status}; it says: {quote(answer.body)}"
    if status in TEMPORARY or status >= 500:
        if wait > MAX_WAIT:
            raise EngineThrottledError(f"the engine asks to wait {wait:.0f} s: retry later: {said}")
        raise EngineUnavailableError(f"the engine is temporarily unavailable: {said}", wait)
    if status in (401, 403):
        raise EngineAuthError(f"check the token and its permissions: {said}")
    if status < 400:
        target = httpx.URL(answer.headers.get("location", "")).host or "another path"
        raise EngineAddressError(f"redirected to {target}, which is not followed: set base_url to it: {said}")
    if status in (404, 405, 410):
        raise EngineAddressError(f"check base_url, movements_path and classes_path: {said}")
    raise EngineRefusalError(f"the engine refused the whole batch: check batch_size and the engine: {said}")
