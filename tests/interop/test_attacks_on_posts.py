"""Attacks on the login's posts with curl, and with bytes that Node writes, on real servers over TLS.

``attacked.py`` says what has to hold after each.
"""

from __future__ import annotations

import gzip
import json
from urllib.parse import quote

import anyio
import pytest

from tests.web.logins import PASSWORD

from .attacked import SITE, refused, with_header

pytestmark = [pytest.mark.interop, pytest.mark.anyio]


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


# Posts

FOREIGN = [
    [],
    with_header("Origin: null"),
    with_header("Origin: https://evil.example"),
    with_header("Origin: https://evil.example", "Sec-Fetch-Site: same-origin"),
    with_header("Origin: https://shop.example"),  # another port is another origin
    with_header("Origin: https://SHOP.example.evil.example"),
    with_header("Origin: https://shop.example.", "Sec-Fetch-Site: same-site"),
    with_header("Sec-Fetch-Site: none"),
    with_header("Sec-Fetch-Site: same-origin, cross-site"),
    with_header("Sec-Fetch-Site: cross-site", "Sec-Fetch-Mode: navigate", "Sec-Fetch-User: ?1"),
    with_header("Origin: file://"),
]


async def test_posts_from_elsewhere(shop):
    """Without an own page's ``Origin`` or ``Sec-Fetch-Site``, no POST does anything; two of them are none."""
    both = with_header(f"Origin: {shop.origin}", "Origin: https://evil.example")
    other_way = with_header("Origin: https://evil.example", f"Origin: {shop.origin}")
    own = [
        with_header(f"Origin: {shop.origin}{more}", f"Sec-Fetch-Site: {site}")
        for more, site in (("", "cross-site"), ("", "same-site"), (" https://evil.example", "same-origin"))
    ]
    calls = len(shop.wix.calls)
    form = f"email=anna@example.com&password={quote(PASSWORD)}"
    given = [
        [f"/auth/{path}", *headers, "--data", form]
        for headers in (*FOREIGN, both, other_way, *own)
        for path in ("logout", "login", "register", "verify")
    ]
    for reply in await shop.ben.send_all(*given):
        refused(reply, 403)
    assert len(shop.wix.calls) == calls


KINDS = [
    *("text/plain", "text/plain;application/json", "multipart/form-data; boundary=x", "application/json;x", ""),
    *("application/x-www-form-urlencoded; charset=utf-16", "application/json; charset=utf-7", "a/" + "b" * 3_000),
]
BODIES = [b"", b"\x00", b"\xff\xfe", b"[" * 16_000, b'{"email":' * 1_500, b"a=&" * 5_000, b'{"email":1,"password":{}}']
PAIRS = [("application/json", body) for body in BODIES] + [
    ("application/x-www-form-urlencoded", body) for body in BODIES
]


async def test_wrong_bodies(shop):
    """Bodies of a wrong type, broken, too large or not of their length are an answer, and no call to Wix."""
    calls = len(shop.wix.calls)
    form = f"email=anna@example.com&password={quote(PASSWORD)}".encode()
    for kind, body in [
        *((kind, form if "x-www" not in kind else form.decode().encode("utf-16")) for kind in KINDS),
        *PAIRS,
    ]:
        given = ["-H", f"Content-Type: {kind}" if kind else "Content-Type;", *SITE]
        refused(await shop.anna.send("/auth/login", *given, body=body, keeps=False), 303, 400, 413)
    for encoding in ("identity", "chunked"):
        given = [*SITE, "-H", "Content-Type: application/json", "-H", f"Transfer-Encoding: {encoding}"]
        given = given if encoding == "chunked" else given[:-2]
        big = json.dumps({"email": "a" * 1_000_000, "password": PASSWORD}).encode()
        refused(await shop.anna.send("/auth/login", *given, body=big, keeps=False), 0, 413)  # 0: it may hang up before
    assert len(shop.wix.calls) == calls


async def test_compressed_bodies(shop):
    """A compressed body is not taken, whatever becomes of it, and a bomb or a broken one is an answer."""
    calls = len(shop.wix.calls)
    for encoding, body in (
        ("gzip", gzip.compress(b"a" * 30_000_000)),
        ("gzip", b"no gzip"),
        ("gzip", gzip.compress(b"email=a")[:-9]),
        ("deflate", b"\x78\x9c\xff"),
        ("br", b"\x00\x01"),
        ("unknown", b"email=a"),
    ):
        given = ["-H", f"Content-Encoding: {encoding}", "-H", "Content-Type: application/x-www-form-urlencoded", *SITE]
        refused(await shop.anna.send("/auth/login", *given, body=body, keeps=False), 303, 400, 413, 415)
    assert len(shop.wix.calls) == calls


# Bytes

HOST = "Host: shop.example\r\n"
FORM = "Content-Type: application/x-www-form-urlencoded\r\n"
POST = f"POST /auth/login HTTP/1.1\r\n{HOST}Sec-Fetch-Site: same-origin\r\n{FORM}"
GET = f"GET /auth/login HTTP/1.1\r\n{HOST}"
UPGRADE = "Connection: Upgrade\r\nUpgrade: "
HIDDEN = f"POST /auth/logout HTTP/1.1\r\n{HOST}Sec-Fetch-Site: same-origin\r\nContent-Length: 0\r\n\r\n"
SMUGGLED = [
    f"{POST}Content-Length: 6\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n{HIDDEN}",
    f"{POST}Content-Length: {len(HIDDEN)}\r\nContent-Length: 0\r\n\r\n{HIDDEN}",
    f"{POST}Transfer-Encoding: xchunked\r\nContent-Length: {len(HIDDEN)}\r\n\r\n{HIDDEN}",
    f"{POST}Transfer-Encoding : chunked\r\nContent-Length: {len(HIDDEN)}\r\n\r\n{HIDDEN}",
    f"{POST}Transfer-Encoding: chunked\r\nTransfer-Encoding: identity\r\n\r\n0\r\n\r\n{HIDDEN}",
    f"{POST}Content-Length: +5\r\n\r\nemail{HIDDEN}",
    f"{POST}Content-Length: -1\r\n\r\n{HIDDEN}",
    f"{POST}Transfer-Encoding: chunked\r\n\r\nffffffffffffffff\r\nemail=a\r\n0\r\n\r\n",
    f"{POST}Transfer-Encoding: chunked\r\n\r\nzz\r\nemail=a\r\n0\r\n\r\n",
    f"{POST}Transfer-Encoding: chunked\r\n\r\n7;{'x' * 40_000}\r\nemail=a\r\n0\r\n\r\n",
    f"{GET}X: a\r\n b\r\n\r\n",
    f"GET /auth/login HTTP/1.1\n{HOST}\n",
    f"{GET}X: a\rSet-Cookie: b\r\n\r\n",
    f"{GET}X\x00: a\r\n\r\n",
    f"GET /auth/login?next=/\x00\x01 HTTP/1.1\r\n{HOST}\r\n",
    "GET /auth/login HTTP/1.1\r\nHost: shop.example\r\nHost: evil.example\r\nHost: shop.example\r\n\r\n",
    "GET /auth/login HTTP/1.1\r\n\r\n",
    "GET /auth/login HTTP/1.0\r\n\r\n",
    "GET /auth/login\r\n",
    f"GET /auth/login HTTP/9.9\r\n{HOST}\r\n",
    "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
    f"GET /auth/login?{'a' * 70_000} HTTP/1.1\r\n{HOST}\r\n",
    f"{GET}{''.join(f'X{number}: y{chr(13)}{chr(10)}' for number in range(2_000))}\r\n",
    f"{POST}Expect: 100-continue\r\nContent-Length: 7\r\n\r\nemail=a",
    f"{GET}{UPGRADE}websocket\r\nSec-WebSocket-Key: {'A' * 22}==\r\nSec-WebSocket-Version: 13\r\n\r\n",
    f"{GET}{UPGRADE}h2c\r\nHTTP2-Settings: AAA\r\n\r\n",
    f"CONNECT evil.example:443 HTTP/1.1\r\n{HOST}\r\n",
]


async def test_smuggled_requests(shop):
    """Requests with two lengths, broken chunks, stray bytes and the like are an answer, or a closed connection."""
    cookie = f"Cookie: {shop.ben.header()}\r\n"
    found = await shop.shop.raw([[(text.replace(HOST, HOST + cookie, 1), 0)] for text in SMUGGLED])
    for replies in found:
        assert [reply.status for reply in replies if reply.status >= 500 and reply.status not in (501, 505)] == []
    assert sum(len(replies) for replies in found) >= len(SMUGGLED) // 2


async def test_slow_and_cut_off_bodies(shop):
    """Bodies that come slowly, or stop in the middle, hold nobody up and are no error of the server."""
    cut = f"{POST}Content-Length: 1000\r\n\r\nemail=a"
    chunk = f"{POST}Transfer-Encoding: chunked\r\n\r\n5\r\nemail\r\n"

    connections = [[(text, 0), *more] for text in (cut, chunk) for more in ([], [("b", 300), ("c", 300)])]
    with anyio.fail_after(25):
        async with anyio.create_task_group() as group:
            group.start_soon(shop.shop.raw, connections)
            assert await shop.shop.who(shop.anna) == "visitor2"
            await shop.shop.begins(shop.shop.browser())
    assert await shop.shop.who(shop.anna) == "visitor2"
