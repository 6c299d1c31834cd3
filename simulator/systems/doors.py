"""How a simulated system checks a secret. A system without a secret admits every call."""

from __future__ import annotations

import hmac
from base64 import b64encode
from dataclasses import dataclass

from simulator.dialect import Call


@dataclass(frozen=True)
class Door:
    """The secret is in a header, after a prefix; without a header name, no secret is required.

    `basic`: the secret is user and password, joined by a colon, and is sent encoded (RFC 7617).
    """

    header: str = "authorization"
    prefix: str = "Bearer "
    basic: bool = False

    def lets_in(self, call: Call, secret: str) -> bool:
        """Return True if the call contains the secret."""
        expected = b64encode(secret.encode()).decode() if self.basic else secret
        return not self.header or is_same(call.headers.get(self.header, ""), self.prefix + expected)


BEARER = Door()
BASIC = Door(prefix="Basic ", basic=True)
OPEN = Door(header="")


def is_same(shown: str, secret: str) -> bool:
    """Return True if two secrets are equal, in a time that does not depend on the first difference."""
    return hmac.compare_digest(shown.encode(), secret.encode())
