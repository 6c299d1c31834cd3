"""Compressed bodies are read whole, or they are an error."""

from __future__ import annotations

import gzip
import zlib

import httpx
import pytest

from sku_velocity.http.body import MAX_MEMBERS, DamagedBodyError, RefusedBodyError, as_unicode, read_body

pytestmark = pytest.mark.anyio

PAGE = b'[{"id": 1}, {"id": 2}]'


async def read(body: bytes, coding: str, limit: int = 1_000_000) -> bytes:
    response = httpx.Response(200, headers={"Content-Encoding": coding}, stream=httpx.ByteStream(body))
    return await read_body(response, limit)


@pytest.mark.parametrize("coding", ["gzip", "x-gzip", "GZip "])
@pytest.mark.parametrize("members", [1, 2, 5])
async def test_a_gzip_body_of_several_members_is_read_whole(coding: str, members: int) -> None:
    size = -(-len(PAGE) // members)
    parts = [PAGE[start : start + size] for start in range(0, len(PAGE), size)]
    assert await read(b"".join(map(gzip.compress, parts)), coding) == PAGE


@pytest.mark.parametrize("bits", [15, -15])
async def test_a_deflate_body_is_read_with_and_without_a_header(bits: int) -> None:
    packer = zlib.compressobj(wbits=bits)
    assert await read(packer.compress(PAGE) + packer.flush(), "deflate") == PAGE


@pytest.mark.parametrize(
    "damage",
    [
        lambda body: body[:-1],
        lambda body: body[: len(body) // 2],
        lambda body: body + gzip.compress(PAGE)[:-4],
        lambda body: body + b"garbage",
        lambda body: body + b"\0garbage",
        lambda body: body[:-8] + b"\0" * 8,
        lambda body: b"not gzip",
    ],
    ids=["cut", "half", "second cut", "trailing", "padded", "checksum", "plain"],
)
async def test_a_damaged_gzip_body_is_an_error_that_is_retried(damage: object) -> None:
    assert callable(damage)
    with pytest.raises(DamagedBodyError, match="the gzip body is (truncated|damaged)"):
        await read(damage(gzip.compress(PAGE)), "gzip")


async def test_zeros_after_a_gzip_body_are_padding() -> None:
    assert await read(gzip.compress(PAGE) + b"\0" * 512, "gzip") == PAGE


@pytest.mark.parametrize("charset", ["iso-8859-1", '"ISO-8859-1"'])
def test_a_body_is_read_in_the_charset_it_names_unless_it_is_unicode(charset: str) -> None:
    content_type = f"application/json; charset={charset}"
    assert as_unicode('["Größe"]'.encode("latin-1"), content_type) == '["Größe"]'.encode()
    for body in ('["Größe"]'.encode(), '["Größe"]'.encode("utf-16")):
        assert as_unicode(body, content_type) == body
    latin = '["Größe"]'.encode("latin-1")
    assert as_unicode(latin, "application/json") == as_unicode(latin, "x; charset=no-such") == latin


async def test_data_after_a_deflate_body_is_an_error() -> None:
    with pytest.raises(DamagedBodyError, match=r"too many parts \(2\)"):
        await read(zlib.compress(PAGE) * 2, "deflate")


async def test_the_limit_counts_the_bytes_of_all_members() -> None:
    body = gzip.compress(b"x" * 600) * 2
    assert len(await read(body, "gzip", 1200)) == 1200
    with pytest.raises(RefusedBodyError, match="is over 1199 bytes") as caught:
        await read(body, "gzip", 1199)
    assert caught.value.start == b"x" * 1199


async def test_a_body_of_countless_empty_members_is_an_error() -> None:
    with pytest.raises(DamagedBodyError, match=r"too many parts \(10001\)"):
        await read(gzip.compress(b"") * (MAX_MEMBERS + 1), "gzip")


async def test_an_empty_body_needs_no_compression() -> None:
    assert await read(b"", "gzip") == b""
