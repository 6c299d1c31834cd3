"""Signing requests with secrets, which are put into a copy: the request itself never holds one."""

from __future__ import annotations

import json
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from typing import ClassVar
from urllib.parse import quote as percent_encode

import httpx

from sku_velocity.errors import ConfigurationError
from sku_velocity.masking import PLACEHOLDER, Secrets


@dataclass(frozen=True)
class Answer:
    """A response read whole: its HTTP status, headers and decompressed body."""

    status: int
    headers: Mapping[str, str]
    body: bytes


class TokenWaitError(Exception):
    """The token URL asks to wait `wait` seconds before the next request for a token. The message names it."""

    def __init__(self, message: str, wait: float) -> None:
        super().__init__(message)
        self.wait = wait


Send = Callable[[httpx.Request], Awaitable[Answer]]


class Signature:
    """Signs requests with fixed headers. `secrets` are what it signs with.

    If `is_renewable`, signing again may help after a refusal.
    """

    is_renewable: ClassVar[bool] = False

    def __init__(self, headers: Mapping[str, str], **secrets: str) -> None:
        self._headers = headers
        self.secrets = Secrets(**secrets)

    async def sign(
        self, request: httpx.Request, send: Send, rejected: httpx.Request | None = None
    ) -> httpx.Request:
        """Return a signed copy of a request, in which the placeholders of secrets are filled in.

        `send` sends a request for a token. `rejected` is the last signed copy, if the server refused it.
        Raises TokenWaitError if no token can be requested yet.
        """
        return self._signed(request, self._headers)

    def _signed(self, request: httpx.Request, headers: Mapping[str, str]) -> httpx.Request:
        url, content = str(request.url), request.content
        if PLACEHOLDER in url:
            url = self.secrets.reveal(url, lambda secret: percent_encode(secret, ""))
        if PLACEHOLDER.encode() in content:
            content = self.secrets.reveal(content.decode(), lambda secret: json.dumps(secret)[1:-1]).encode()
        return copy_of(request, url, content, headers)


def copy_of(request: httpx.Request, url: str, content: bytes, headers: Mapping[str, str]) -> httpx.Request:
    """Return a copy of a request with this address and content, and with more headers."""
    all_headers = request.headers.copy()
    all_headers.pop("Content-Length", None)
    all_headers.update(headers)
    extensions = request.extensions
    return httpx.Request(
        request.method, url, headers=all_headers, content=content or None, extensions=extensions
    )


def bearer(name: str, secret: str) -> Signature:
    """Return a signature with a bearer token. Raises ConfigurationError if no header can carry the token."""
    check_header_holds(name, secret)
    return Signature({"Authorization": f"Bearer {secret}"}, secret=secret)


def fits_header(token: str) -> bool:
    """Return True if an HTTP header can carry a token."""
    return token.isascii() and token.isprintable()


def check_header_holds(name: str, secret: str) -> None:
    """Raise ConfigurationError if no header can carry the secret."""
    if not fits_header(secret):
        raise ConfigurationError(f"{name}: token: it contains characters that an HTTP header cannot carry")
