"""Token answers that were compressed, or dressed up in another way, on their way."""

from __future__ import annotations

import gzip
import json
import sys
import tracemalloc
import zlib
from collections.abc import Callable, Iterator
from types import ModuleType
from typing import Any

import brotli  # type: ignore[import-untyped]
import pytest

from tests.constants import SessionMaker
from wixvisitor import InvalidTokenResponse, TokenRequestError
from wixvisitor._http import encodings
from wixvisitor._http.encodings import decoded, names_of
from wixvisitor.testing import FakeWix

pytestmark = pytest.mark.usefixtures("no_backoff")

LIMIT = 65_536
BODY = json.dumps({"access_token": "A" * 30, "refresh_token": "R" * 30, "expires_in": 14400}).encode()


def raw_deflate(body: bytes) -> bytes:
    return zlib.compress(body)[2:-4]


PACKED = {
    "gzip": gzip.compress(BODY),
    "x-gzip": gzip.compress(BODY),
    "GZip": gzip.compress(BODY),
    "deflate": zlib.compress(BODY),
    "deflate ": raw_deflate(BODY),
    "br": brotli.compress(BODY),
    "identity": BODY,
    "": BODY,
    " , identity": BODY,
    "br, gzip": gzip.compress(brotli.compress(BODY)),
    "gzip, identity, gzip": gzip.compress(gzip.compress(BODY)),
    "gzip, deflate": raw_deflate(gzip.compress(BODY)),
}


@pytest.fixture(autouse=True)
def looked_up_anew() -> Iterator[None]:
    encodings._decoder_of.cache_clear()
    yield
    encodings._decoder_of.cache_clear()


@pytest.mark.parametrize("encoding", PACKED)
def test_what_is_read(encoding: str) -> None:
    """Each encoding that browsers read is undone, and several in a row from the last one on."""
    assert decoded(PACKED[encoding], encoding, LIMIT) == (BODY, False)


@pytest.mark.parametrize("encoding", ["aws-chunked", "compress", "gzip, snappy", "gzip", ", ".join(["gzip"] * 6)])
def test_what_is_not_read(encoding: str) -> None:
    """An encoding that is unknown, a body that is none, and more encodings than anybody uses give nothing."""
    assert decoded(BODY, encoding, LIMIT) is None


def test_the_end_is_missing() -> None:
    """Of a body that was cut off, what there is comes out: whether that is an answer is for JSON to say."""
    assert decoded(PACKED["gzip"][:-8], "gzip", LIMIT) == (BODY, False)


@pytest.mark.parametrize("pack", [gzip.compress, zlib.compress, raw_deflate, brotli.compress])
@pytest.mark.parametrize("size", [LIMIT, LIMIT + 1, 5_000_000])
def test_the_limit_is_of_what_comes_out(pack: Callable[[bytes], bytes], size: int) -> None:
    """No more than the limit is ever made of a body, however small it was."""
    encoding = {gzip.compress: "gzip", brotli.compress: "br"}.get(pack, "deflate")
    packed = pack(b" " * size)
    tracemalloc.start()
    try:
        found = decoded(packed, encoding, LIMIT)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert found == (b" " * LIMIT, size > LIMIT)
    assert peak < 1_000_000


def test_a_bomb_in_a_bomb() -> None:
    """The limit holds for each of several encodings."""
    bomb = gzip.compress(gzip.compress(b" " * 20_000_000, compresslevel=9) + b"\0" * 100_000)
    assert decoded(bomb, "gzip, gzip", LIMIT) == (decoded(bomb, "gzip", LIMIT) or (b"", False))


def test_names() -> None:
    """Names come without case and blanks, the one that was applied last first."""
    assert names_of(" BR ,gzip, identity,") == ["gzip", "br"]


# What a session makes of it


async def tokens_of(make: SessionMaker, still: FakeWix, family: ModuleType, body: bytes, **headers: str) -> str:
    still.fail(200, headers={name.replace("_", "-"): value for name, value in headers.items()}, body=body, times=None)
    async with still.serve() as url, family.AsyncClient() as client:
        return (await make(client=client, base_url=url).generate_visitor_tokens()).access_token.value


@pytest.mark.anyio
@pytest.mark.parametrize("encoding", ["gzip", "deflate", "br", "br, gzip"])
async def test_a_compressed_answer(encoding: str, still: FakeWix, session_of: SessionMaker, family: ModuleType) -> None:
    """A token answer that a gateway compressed makes a visitor."""
    assert await tokens_of(session_of, still, family, PACKED[encoding], content_encoding=encoding) == "A" * 30


@pytest.mark.anyio
@pytest.mark.parametrize(
    ("body", "headers"),
    [
        (b"\xef\xbb\xbf" + BODY, {}),
        (gzip.compress(b"\xef\xbb\xbf" + BODY), {"content_encoding": "gzip"}),
        (b" \r\n\t" + BODY + b"\r\n \t\n", {}),
        (BODY, {"content_type": "text/html; charset=utf-16"}),
        (BODY, {"content_type": "nonsense"}),
        (BODY, {"content_encoding": "utf-8"}),
        (BODY, {"content_encoding": "gzip"}),
        (BODY[:-1] + b', "scope": "\xff"}', {}),
    ],
    ids=["BOM", "BOM, gzip", "blanks", "charset", "no type", "unknown encoding", "decoded, but labelled", "no UTF-8"],
)
async def test_what_fetch_forgives(
    body: bytes, headers: dict[str, str], still: FakeWix, session_of: SessionMaker, family: ModuleType
) -> None:
    """What ``response.json()`` reads in a browser is read here."""
    assert await tokens_of(session_of, still, family, body, **headers) == "A" * 30


@pytest.mark.anyio
@pytest.mark.parametrize("encoding", ["compress", "br"])
async def test_an_encoding_that_cannot_be_read(
    encoding: str, still: FakeWix, session_of: SessionMaker, family: ModuleType, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An encoding that is unknown, or whose library is not installed, is named by the error."""
    for name in ("brotli", "brotlicffi"):
        monkeypatch.setitem(sys.modules, name, None)
    with pytest.raises(InvalidTokenResponse, match=rf"compressed \({encoding}\)") as caught:
        await tokens_of(session_of, still, family, PACKED["br"], content_encoding=encoding)
    assert caught.value.body == ""


@pytest.mark.anyio
async def test_an_old_brotli_is_not_used(still: FakeWix, session_of: SessionMaker, family: ModuleType) -> None:
    """A library that cannot stop at a limit inflates nothing here."""

    class Decompressor:
        def process(self, data: bytes) -> bytes:
            raise AssertionError("it might never end")

    class Old(ModuleType):
        pass

    old: Any = Old("brotli")
    old.Decompressor = Decompressor
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(sys.modules, "brotli", old)
        with pytest.raises(TokenRequestError, match=r"\(br\)"):
            await tokens_of(session_of, still, family, PACKED["br"], content_encoding="br")


@pytest.mark.anyio
async def test_a_compressed_refusal(still: FakeWix, session_of: SessionMaker, visitor: Any, family: ModuleType) -> None:
    """What Wix says about a refresh token counts in a compressed answer, too; a retry's time does as well."""
    headers = {"Content-Encoding": "gzip", "Retry-After": "7"}
    busy, refused = gzip.compress(b'{"message": "busy"}'), gzip.compress(b'{"error": "invalid_grant"}')
    async with still.serve() as url, family.AsyncClient() as client:
        session = session_of(client=client, base_url=url, tokens=visitor)
        await session.auth_headers()
        still.fail(503, body=busy, headers=headers, path="/oauth2/token", times=1)
        with pytest.raises(TokenRequestError) as caught:
            await session.renew_token()
        assert (caught.value.retry_after, caught.value.body) == (7.0, '{"message": "busy"}')
        still.fail(400, body=refused, headers=headers, grant_type="refresh_token", path="/oauth2/token", times=1)
        still.advance(14_401)
        await session.auth_headers()
        assert session.get_tokens().refresh_token != visitor.refresh_token
