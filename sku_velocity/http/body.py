"""Reading a response body up to a limit, in bytes after decompression."""

from __future__ import annotations

import json
import zlib
from email.message import Message

import httpx

CODINGS = "gzip, deflate"  # what we ask for: each expands to at most a thousand times its size
MAX_MEMBERS = 10_000  # of a gzip body, each of which costs as much as a small page
_STEP = 64 * 1024  # bytes that are unpacked at once


class RefusedBodyError(Exception):
    """A body is refused, with the reason."""


class OversizedBodyError(RefusedBodyError):
    """A body is over the limit; `start` is the part that was read."""

    def __init__(self, limit: int, start: bytes) -> None:
        super().__init__(f"is over {limit} bytes")
        self.start = start


class DamagedBodyError(Exception):
    """A compressed body is truncated or damaged: the next attempt may get a whole one."""


async def read_body(response: httpx.Response, limit: int) -> bytes:
    """Return the decompressed body.

    Raises OversizedBodyError if it is over `limit` bytes, RefusedBodyError if it is compressed twice or in
    another way, and DamagedBodyError if it cannot be decompressed.
    """
    coding = _coding_of(response)
    packed = bytearray()
    async for part in response.aiter_raw():
        if len(packed) + len(part) > limit:
            start = bytes(packed or part)[:limit]
            raise OversizedBodyError(limit, b"" if coding else start)
        packed += part
    if not coding or not packed:
        return bytes(packed)
    try:
        return _unpack(bytes(packed), coding, limit)
    except zlib.error as error:
        raise DamagedBodyError(f"the {coding} body is damaged: {error}") from error


def as_unicode(body: bytes, content_type: str) -> bytes:
    """Return a body as JSON is written (RFC 8259, 8.1), converted if it is in the charset that it names.

    Many servers name a charset, but send UTF-8: so a body that is valid as it is remains as it is.
    """
    if "charset" not in content_type.lower():
        return body
    header = Message()
    header["Content-Type"] = content_type
    try:
        body.decode(json.detect_encoding(body))
        return body
    except UnicodeDecodeError:
        pass
    try:
        return body.decode(str(header.get_content_charset())).encode()
    except (LookupError, UnicodeError):
        return body


def _unpack(packed: bytes, coding: str, limit: int) -> bytes:
    """Decompress all members of a body (gzip: RFC 1952, 2.2; deflate has one)."""
    body = bytearray()
    position, members = 0, 0
    while position < len(packed) and not _is_padding(packed, position, coding):
        members += 1
        if members > (MAX_MEMBERS if coding == "gzip" else 1):
            raise DamagedBodyError(f"the {coding} body has too many parts ({members})")
        position = _unpack_member(packed, position, coding, body, limit)
    return bytes(body)


def _unpack_member(packed: bytes, position: int, coding: str, body: bytearray, limit: int) -> int:
    """Append the member at a position to the body. Return the position after it."""
    member = zlib.decompressobj(_window_bits(packed, coding))
    while not member.eof:
        if position == len(packed):
            raise DamagedBodyError(f"the {coding} body is truncated")
        part = packed[position : position + _STEP]
        body += member.decompress(part, limit + 1 - len(body))
        if len(body) > limit:
            raise OversizedBodyError(limit, bytes(body[:limit]))
        position += len(part) - len(member.unused_data) - len(member.unconsumed_tail)
    return position


def _is_padding(packed: bytes, position: int, coding: str) -> bool:
    """Return True if only zeros follow the members of a gzip body, as after some files."""
    is_zero = coding == "gzip" and position > 0 and packed[position] == 0
    return is_zero and not packed[position:].strip(b"\0")


def _window_bits(packed: bytes, coding: str) -> int:
    """Return the format for zlib. Some servers send `deflate` without zlib's header (RFC 9110, 8.4.1.2)."""
    if coding == "gzip":
        return 16 + zlib.MAX_WBITS
    has_header = packed[0] & 15 == zlib.DEFLATED and int.from_bytes(packed[:2]) % 31 == 0
    return zlib.MAX_WBITS if has_header else -zlib.MAX_WBITS


def _coding_of(response: httpx.Response) -> str:
    """Return the compression of a body: gzip, deflate, or nothing."""
    coding: str = response.headers.get("Content-Encoding", "").strip().lower()
    coding = "gzip" if coding == "x-gzip" else coding
    if coding in ("", "identity"):
        return ""
    if coding not in ("gzip", "deflate"):
        # Compressed twice, it may expand a million times; other codings have no bound.
        raise RefusedBodyError(f"is compressed as {coding[:80]!r}, but only {CODINGS} was requested")
    return coding
