"""How a request is signed, and how its secret is hidden in texts."""

from __future__ import annotations

import json
from collections.abc import AsyncGenerator, Callable
from typing import TypeVar
from urllib.parse import quote as percent_encode

import httpx

from sku_velocity.errors import ConfigurationError, VelocityError
from sku_velocity.text import quote

T = TypeVar("T")
QUOTED_BYTES = 64 * 1024  # of a body, searched for secrets before the first few of them are quoted


class Signature(httpx.Auth):
    """Signs requests with fixed headers, and hides from messages what it signs with."""

    def __init__(self, headers: dict[str, str], *secrets: str) -> None:
        self._headers = headers
        self._secrets = [secret for secret in secrets if secret]

    def hide(self, text: str) -> str:
        """A text without the secrets, as they are, in JSON or in a URL."""
        for form in sorted({form for secret in self._secrets for form in _forms(secret)}, key=len)[::-1]:
            text = text.replace(form, "***")
        return text

    def hide_in(self, body: bytes) -> bytes:
        """A body without the secrets; the same one where it holds none."""
        return self.hide(body.decode("latin-1")).encode("latin-1")

    def quote(self, body: bytes) -> str:
        """The beginning of a body, fit to stand in a message: on one line, without a secret."""
        return quote(self.hide_in(body[:QUOTED_BYTES]))

    def decode(self, body: bytes, decode: Callable[[bytes], T]) -> T:
        """What a body says. An error quotes the body, so it is met again without the secrets."""
        try:
            return decode(body)
        except VelocityError as error:
            refusal = error
        if (hidden := self.hide_in(body)) != body:
            decode(hidden)
        raise refusal

    async def async_auth_flow(self, request: httpx.Request) -> AsyncGenerator[httpx.Request, httpx.Response]:
        request.headers.update(self._headers)
        yield request


def _fits_header(token: str) -> bool:
    return token.isascii() and token.isprintable()


def _forms(secret: str) -> set[str]:
    """How a secret may be repeated: as it is, in JSON, in a URL; each as its bytes' letters."""
    forms = {
        secret,
        json.dumps(secret)[1:-1],
        json.dumps(secret, ensure_ascii=False)[1:-1],
        percent_encode(secret, ""),
    }
    return forms | {form.encode().decode("latin-1") for form in forms}


def bearer(name: str, secret: str) -> Signature:
    """What shows a bearer token to `name`. Raises ConfigurationError where no header holds the token."""
    _check_header_holds(name, secret)
    return Signature({"Authorization": f"Bearer {secret}"}, secret)


def _check_header_holds(name: str, secret: str) -> None:
    if not _fits_header(secret):
        raise ConfigurationError(f"{name}: token: it holds characters that no HTTP header can carry")
