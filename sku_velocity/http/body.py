"""An answer's body, taken in only as far as its limit, in bytes as unpacked."""

from __future__ import annotations

import httpx

CODINGS = "gzip, deflate"  # what is asked for: each unpacks to at most a thousand times its size
SMALL = 64 * 1024  # bytes as sent


class RefusedBodyError(Exception):
    """A body that is not taken in, and why; `start` is what of it has been read."""

    def __init__(self, reason: str, start: bytes = b"") -> None:
        super().__init__(reason)
        self.start = start


async def read_body(response: httpx.Response, limit: int) -> bytes:
    """The unpacked body. Raises RefusedBodyError where it is over `limit` bytes, or packed more than once."""
    _check_coding(response)
    body = bytearray()
    async for part in response.aiter_bytes():
        if len(body) + len(part) > limit:
            raise RefusedBodyError(f"is over {limit} bytes", bytes(body or part)[:limit])
        body += part
    return bytes(body)


def check_small(response: httpx.Response) -> None:
    """See that a body which httpx reads whole by itself is no bomb. Raises RefusedBodyError."""
    if _check_coding(response) and not 0 <= int(response.headers.get("Content-Length", -1)) <= SMALL:
        raise RefusedBodyError(f"is packed and does not say that it is below {SMALL} bytes")


def _check_coding(response: httpx.Response) -> bool:
    """Whether the body is packed."""
    packed: str = response.headers.get("Content-Encoding", "").strip().lower()
    if packed in ("", "identity"):
        return False
    if packed not in ("gzip", "x-gzip", "deflate"):
        # Packed twice, it is a thousand times a thousand; and other codings have no bound.
        raise RefusedBodyError(f"is packed as {packed[:80]!r}, and not as asked for: {CODINGS}")
    return True
