"""What an application hands in, and header values that travel on: base URLs, URLs, client IDs, ``X-Wix-Consistent``."""

from __future__ import annotations

import ipaddress
import json
import uuid
from typing import Final

import anyio
import h11
import httpx

from tests.constants import CLIENT_ID
from wixvisitor import AccessToken, RefreshToken, TokenRole, Tokens, VisitorSession
from wixvisitor._http.origins import Origins
from wixvisitor._wire.token_endpoint import CONSISTENT_HEADER, is_header_safe, renew_request
from wixvisitor.errors import ConfigurationError

from .ends import NOW, ending

_HOME: Final = "https://www.wixapis.com"
_FRESH: Final = Tokens(AccessToken("OauthNG.JWS.a.b.c", int(NOW) + 14_400), RefreshToken("JWS.r", TokenRole.VISITOR))


def base_url(data: bytes) -> None:
    """A base URL: an origin over https, or on this machine; or a ``ConfigurationError`` that names the argument."""
    text = _text(data)
    end = ending(lambda: Origins(text), ConfigurationError, names="^base_url: ", given=text)
    if end.error is None:
        base = end.value.base
        assert base.scheme == "https" or (base.scheme == "http" and _is_this_machine(base.raw_host.decode()))
        assert not base.userinfo
        token_url = httpx.URL(end.value.absolute("/oauth2/token"))
        assert (token_url.raw_host, token_url.port) == (base.raw_host, base.port)
        assert end.value.allow(token_url)
    several = ending(lambda: Origins(_HOME, (text,)), ConfigurationError, names="^allowed_origins: ", given=text)
    assert (several.error is None) == (end.error is None)


def _is_this_machine(host: str) -> bool:
    if host == "localhost" or host.endswith(".localhost"):
        return True
    number = int(ipaddress.ip_address(host))
    return number in (1, 0xFFFF_7F00_0001) or number >> 24 == 127 or number >> 24 == 0xFFFF_7F


def request_url(data: bytes) -> None:
    """A request's URL: one that httpx can send, and whose token goes nowhere but home."""
    text, origins = _text(data), Origins(_HOME)
    end = ending(lambda: origins.absolute(text), ConfigurationError, names="^url: ", given=text)
    if end.error is None:
        url = httpx.URL(end.value)
        assert url.is_absolute_url
        home = (url.scheme, url.raw_host, url.port or 443) == ("https", b"www.wixapis.com", 443)
        assert origins.allow(url) == home
        assert h11.Request(method="GET", target=url.raw_path, headers=[("Host", "x")])


def client_id(data: bytes) -> None:
    """A client ID: a GUID that travels in a request, in a header and in a record's key, or a ``ConfigurationError``."""
    text = _text(data)
    end = ending(lambda: VisitorSession(text), ConfigurationError, names="^client_id: ", given=text)
    if end.error is None:
        assert uuid.UUID(text)
        assert len(text) == 36
        assert is_header_safe(text)
        assert ":" not in text
        assert json.loads(renew_request(text, "JWS.r").content)["clientId"] == text


def header_value(data: bytes) -> None:
    """A header value that Wix sends: the visitor's next request can be sent, whatever it was.

    The same text as a token is refused before anybody holds it, or can be sent as well.
    """
    sent: list[h11.Request] = []

    def answer(request: httpx.Request) -> httpx.Response:
        sent.append(h11.Request(method="GET", target=request.url.raw_path, headers=request.headers.raw))
        return httpx.Response(200, headers=[(CONSISTENT_HEADER.encode(), data)])

    async def ask(tokens: Tokens) -> None:
        async with httpx.AsyncClient(transport=httpx.MockTransport(answer)) as client:
            session = VisitorSession(CLIENT_ID, client=client, tokens=tokens, clock=lambda: NOW)
            await session.get("/a")
            await session.get("/b")

    anyio.run(ask, _FRESH)
    assert len(sent) == 2
    text = data.decode("latin-1")
    if text:
        tokens = Tokens(AccessToken(text, _FRESH.access_token.expires_at), _FRESH.refresh_token)
        end = ending(lambda: anyio.run(ask, tokens), ConfigurationError, names="^tokens: the access token", given=text)
        assert len(sent) == (4 if end.error is None else 2)


def _text(data: bytes) -> str:
    """Any text: lone surrogates too, which arrive from ``sys.argv`` and JSON."""
    return data.decode("utf-8", "surrogateescape")
