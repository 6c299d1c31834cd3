"""How a simulated system is shown a secret. A system that was given none is open."""

from __future__ import annotations

import hmac
from base64 import b64encode
from dataclasses import dataclass

from simulator.dialect import Call


@dataclass(frozen=True)
class Door:
    """The secret stands in a header, behind a prefix; without a header, nothing is asked for.

    `basic`: the secret is user and password, joined by a colon, and is shown encoded (RFC 7617).
    """

    header: str = "authorization"
    prefix: str = "Bearer "
    basic: bool = False

    def lets_in(self, call: Call, secret: str) -> bool:
        """Whether the call shows the secret."""
        told = b64encode(secret.encode()).decode() if self.basic else secret
        return not self.header or is_same(call.headers.get(self.header, ""), self.prefix + told)


BEARER = Door()
BASIC = Door(prefix="Basic ", basic=True)
OPEN = Door(header="")


def is_same(shown: str, secret: str) -> bool:
    """Whether two secrets are the same, in a time that tells nothing of where they differ."""
    return hmac.compare_digest(shown.encode(), secret.encode())
