"""Request signing: the secret in a header or in the body, or a token fetched with the secret."""

from __future__ import annotations

import asyncio
import json
import math
from base64 import b64encode
from collections.abc import Callable
from typing import Any
from urllib.parse import quote_plus as form_encode

import httpx
from pydantic import SecretStr

from sku_velocity.errors import ConfigurationError, SourceAuthError, SourceUnavailableError
from sku_velocity.http.body import RefusedBodyError
from sku_velocity.http.retries import requested_wait
from sku_velocity.http.signing import (
    Answer,
    Send,
    Signature,
    TokenWaitError,
    bearer,
    check_header_holds,
    copy_of,
    fits_header,
)
from sku_velocity.masking import in_base64
from sku_velocity.source.requests import put
from sku_velocity.source.spec import TOKEN, AuthSpec, SourceSpec

RETRY_AFTER = ("Retry-After",)  # the token URL is not the API: throttle.retry_after_headers is not about it
RENEW_EARLY = 30.0  # seconds before its expiry at which a token is renewed
DEFAULT_LIFETIME = 300.0  # seconds, if the token response has no expires_in that can be right
SHORTEST_USE, LONGEST_USE = 10.0, 86_400.0  # seconds; a token that expires earlier is rejected, then renewed


class BodySignature(Signature):
    """Signs requests with values in their JSON body."""

    def __init__(self, spec: AuthSpec, secret: str) -> None:
        super().__init__({}, secret=secret)
        self._values = {path: secret if value == TOKEN else value for path, value in spec.values.items()}

    async def sign(
        self, request: httpx.Request, send: Send, rejected: httpx.Request | None = None
    ) -> httpx.Request:
        signed = await super().sign(request, send)
        body = json.loads(signed.content)
        for path, value in self._values.items():
            put(body, path, value)
        content = json.dumps(body, ensure_ascii=False, separators=(",", ":"))
        return copy_of(signed, str(signed.url), content.encode(), {})


class ClientCredentials(Signature):
    """Signs with a bearer token fetched by client id and secret (RFC 6749, 4.4), shared by all requests.

    The token is renewed before it expires, and once more if the source rejects it. Raises SourceAuthError if
    the token URL rejects the client, SourceUnavailableError if it is temporarily unavailable, and
    TokenWaitError until a wait that it asked for is over.
    """

    is_renewable = True

    def __init__(self, name: str, spec: AuthSpec, secret: str, clock: Callable[[], float]) -> None:
        client = spec.client_id or ""
        # Both are form-encoded before they are joined (RFC 6749, 2.3.1).
        user, password = form_encode(client), form_encode(secret)
        super().__init__({}, secret=secret, **in_base64(user, password))
        self._basic = f"Basic {b64encode(f'{user}:{password}'.encode()).decode()}"
        self._name = name
        self._spec = spec
        self._secret = secret
        self._clock = clock
        self._token = ""
        self._expires_at = -math.inf
        self._not_before, self._busy_status = -math.inf, 0  # of the next token request, and why
        self._lock = asyncio.Lock()

    async def sign(
        self, request: httpx.Request, send: Send, rejected: httpx.Request | None = None
    ) -> httpx.Request:
        async with self._lock:
            is_rejected = rejected is not None and rejected.headers["Authorization"] == self._header
            if is_rejected or self._clock() >= self._expires_at:
                await self._fetch_token(send)
        return self._signed(request, {"Authorization": self._header})

    @property
    def _header(self) -> str:
        return f"Bearer {self._token}"

    async def _fetch_token(self, send: Send) -> None:
        self._raise_if_waiting()
        try:
            answer = await send(self._token_request())
        except RefusedBodyError as error:
            raise SourceAuthError(f"{self._place}: the response {error}: check auth.token_url") from error
        if _is_busy(answer) and (wait := requested_wait(answer.headers, RETRY_AFTER)):
            self._not_before, self._busy_status = self._clock() + wait, answer.status
            self._raise_if_waiting()
        self._store_token(answer)

    @property
    def _place(self) -> str:
        return f"{self._name}: token: {self._spec.token_url}"

    def _raise_if_waiting(self) -> None:
        if (wait := self._not_before - self._clock()) > 0:
            raise TokenWaitError(f"{self._place} returned HTTP {self._busy_status} and asks to wait", wait)

    def _token_request(self) -> httpx.Request:
        form = {"grant_type": "client_credentials"}
        if self._spec.scope:
            form["scope"] = self._spec.scope
        if self._spec.client_auth == "body":
            form |= {"client_id": self._spec.client_id or "", "client_secret": self._secret}
        headers = {"Authorization": self._basic} if self._spec.client_auth == "basic" else {}
        return httpx.Request("POST", str(self._spec.token_url), data=form, headers=headers)

    def _store_token(self, answer: Answer) -> None:
        place = f"{self._place} returned HTTP {answer.status}"
        if _is_busy(answer):
            raise SourceUnavailableError(f"{place}: the token URL is temporarily unavailable; retry later")
        try:
            content: dict[str, Any] = json.loads(answer.body)
            token = content["access_token"]
            if not (isinstance(token, str) and token and fits_header(token)):
                raise ValueError("not a token")
        except (ValueError, LookupError, TypeError, RecursionError):
            raise SourceAuthError(
                f"{place} with no access_token: check auth.token_url, auth.client_id and the secret"
            ) from None
        self._token, self._expires_at = token, self._clock() + _use_of(content.get("expires_in"))
        self.secrets.renew("token", token)


def _is_busy(answer: Answer) -> bool:
    return answer.status >= 500 or answer.status == httpx.codes.TOO_MANY_REQUESTS


def _use_of(expires_in: Any) -> float:
    """Return how many seconds a token is used, by the lifetime in its response."""
    try:
        lifetime = float(expires_in)
    except (TypeError, ValueError, OverflowError):
        lifetime = 0.0
    if not lifetime > 0:  # nor NaN
        lifetime = DEFAULT_LIFETIME
    return min(max(lifetime - RENEW_EARLY, lifetime / 2, SHORTEST_USE), LONGEST_USE)


def signature_of(spec: SourceSpec, token: SecretStr | None, clock: Callable[[], float]) -> Signature:
    """Return the signature for a source's requests.

    Raises ConfigurationError if auth needs a secret and there is none, or none that fits in a header.
    """
    auth = spec.auth
    if auth.kind == "none":
        return Signature({})
    secret = token.get_secret_value().strip() if token else ""
    if not secret:
        raise ConfigurationError(
            f"{spec.name}: token: auth.kind is {auth.kind}, but there is no token: "
            "set the block's token, or the environment variable named by --token-env"
        )
    if auth.kind == "oauth2_client_credentials":
        return ClientCredentials(spec.name, auth, secret, clock)
    if auth.kind == "json_body":
        return BodySignature(auth, secret)
    if auth.kind == "basic":
        return _basic(spec, secret)
    if auth.kind == "bearer":
        return bearer(spec.name, secret)
    check_header_holds(spec.name, secret)
    return Signature({auth.header: auth.prefix + secret}, secret=secret)


def _basic(spec: SourceSpec, secret: str) -> Signature:
    username, password = spec.auth.username, secret
    if username is None:
        username, colon, password = secret.partition(":")
        if not colon:
            raise ConfigurationError(
                f"{spec.name}: token: auth.kind is basic: set auth.username, or the token to user:password"
            )
    encoded = in_base64(username, password)
    header = {"Authorization": f"Basic {encoded['basic']}"}
    return Signature(header, secret=secret, password=password, **encoded)
