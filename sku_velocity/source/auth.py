"""How a request is signed: by the secret in a header or the body, or by a token that is fetched with it."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import AsyncGenerator, Callable
from typing import Any

import httpx
from pydantic import SecretStr

from sku_velocity.errors import ConfigurationError, SourceAuthError, SourceUnavailableError
from sku_velocity.http.body import RefusedBodyError, check_small
from sku_velocity.http.signing import Signature, _check_header_holds, _fits_header, bearer
from sku_velocity.source.requests import put
from sku_velocity.source.spec import TOKEN, AuthSpec, SourceSpec

EARLY = 30.0  # seconds before its end that a token is renewed
SHORT_LIFE = 300.0  # seconds that a token is taken to live where nothing tells
KEPT_TOKENS = 5  # the last ones fetched, which an answer may still repeat


class InBody(Signature):
    """Signs a copy of the request by values in its JSON body: what is kept and told of it holds no secret."""

    def __init__(self, spec: AuthSpec, secret: str) -> None:
        super().__init__({}, secret, json.dumps(secret)[1:-1])
        self._values = {path: secret if value == TOKEN else value for path, value in spec.values.items()}

    async def async_auth_flow(self, request: httpx.Request) -> AsyncGenerator[httpx.Request, httpx.Response]:
        body = json.loads(request.content)
        for path, value in self._values.items():
            put(body, path, value)
        headers = {name: value for name, value in request.headers.items() if name != "content-length"}
        extensions = request.extensions
        yield httpx.Request(request.method, request.url, headers=headers, json=body, extensions=extensions)


class ClientCredentials(Signature):
    """Signs with a bearer token fetched by client id and secret (RFC 6749, 4.4), for all requests at once.

    It is renewed before it ends, and once more where the source refuses it. Raises SourceAuthError where the
    token's address refuses the client, and SourceUnavailableError where it is not well.
    """

    def __init__(
        self, name: str, spec: AuthSpec, secret: str, clock: Callable[[], float] = time.monotonic
    ) -> None:
        super().__init__({}, secret)
        self._name = name
        self._spec = spec
        self._secret = secret
        self._clock = clock
        self._token = ""
        self._ends = 0.0
        self._turn = asyncio.Lock()

    async def async_auth_flow(self, request: httpx.Request) -> AsyncGenerator[httpx.Request, httpx.Response]:
        used = self._token
        for refused in (False, True):
            async with self._turn:
                if self._clock() >= self._ends or (refused and self._token == used):
                    response = yield self._token_request()
                    self._check(response)
                    self._take(response, await response.aread())
            used = self._token
            request.headers["Authorization"] = f"Bearer {used}"
            response = yield request
            if response.status_code != 401:
                return
            self._check(response)

    def _token_request(self) -> httpx.Request:
        form = {"grant_type": "client_credentials"}
        if self._spec.scope:
            form["scope"] = self._spec.scope
        client = self._spec.client_id or ""
        if self._spec.client_auth == "body":
            form |= {"client_id": client, "client_secret": self._secret}
        request = httpx.Request("POST", str(self._spec.token_url), data=form)
        if self._spec.client_auth == "basic":
            request = next(httpx.BasicAuth(client, self._secret).auth_flow(request))
        return request

    def _check(self, response: httpx.Response) -> None:
        try:
            check_small(response)
        except RefusedBodyError as error:
            raise SourceAuthError(
                f"{self._name}: token: {self._spec.token_url}: its answer {error}"
            ) from error

    def _take(self, response: httpx.Response, body: bytes) -> None:
        place = f"{self._name}: token: {self._spec.token_url} answers HTTP {response.status_code}"
        if response.status_code >= 500 or response.status_code == 429:
            raise SourceUnavailableError(f"{place}: no token for now")
        try:
            told: dict[str, Any] = json.loads(body)
            token, life = str(told["access_token"]), float(told.get("expires_in") or SHORT_LIFE)
            if not _fits_header(token):
                raise ValueError("not a token")
        except (ValueError, LookupError, TypeError, RecursionError) as error:
            raise SourceAuthError(
                f"{place} and no access_token: check auth.token_url, auth.client_id and the secret"
            ) from error
        self._token, self._ends = token, self._clock() + max(life - EARLY, life / 2)
        self._secrets = [self._secret, token, *self._secrets[1:KEPT_TOKENS]]


def signature_of(spec: SourceSpec, token: SecretStr | None) -> Signature:
    """What signs a source's requests.

    Raises ConfigurationError where the spec signs in and there is no secret, or none that a header holds.
    """
    auth = spec.auth
    if auth.kind == "none":
        return Signature({})
    secret = token.get_secret_value().strip() if token else ""
    if not secret:
        raise ConfigurationError(
            f"{spec.name}: token: auth.kind is {auth.kind}, but there is no token: "
            "set the block's token, or the environment variable that --token-env names"
        )
    if auth.kind == "oauth2_client_credentials":
        return ClientCredentials(spec.name, auth, secret)
    if auth.kind == "json_body":
        return InBody(auth, secret)
    if auth.kind == "basic":
        return _basic(spec, secret)
    if auth.kind == "bearer":
        return bearer(spec.name, secret)
    _check_header_holds(spec.name, secret)
    return Signature({auth.header: auth.prefix + secret}, secret)


def _basic(spec: SourceSpec, secret: str) -> Signature:
    username, password = spec.auth.username, secret
    if username is None:
        username, colon, password = secret.partition(":")
        if not colon:
            raise ConfigurationError(
                f"{spec.name}: token: auth.kind is basic: set auth.username, or give user:password as token"
            )
    signed = next(httpx.BasicAuth(username, password).auth_flow(httpx.Request("GET", str(spec.base_url))))
    header = signed.headers["Authorization"]
    return Signature({"Authorization": header}, secret, password, header.removeprefix("Basic "))
