"""What a browser sends: the three forms of the cookie, and the header that they come in."""

from __future__ import annotations

from functools import cache
from typing import Any, Final
from urllib.parse import unquote

import attrs

from tests.constants import CLIENT_ID
from tests.web.browsers import PlainRequest
from wixvisitor import EMPTY_TOKENS
from wixvisitor._checks import is_empty
from wixvisitor._web.headers import additions, cookies_of
from wixvisitor._web.request import opens_page
from wixvisitor._web.site_cookie import SiteCookie
from wixvisitor.cookies import CookieContent, IdCookie, SealedCookie, SharedCookie, Unreadable
from wixvisitor.errors import ConfigurationError

from .ends import NOW, check_sendable, ending

_KEY: Final = b"0123456789abcdef0123456789abcdef"
_LARGEST: Final = 4_096  # bytes of a cookie's name and value
_SHARED: Final = ("wixSession", "session", "wix-session")


def id_cookie(data: bytes) -> None:
    """An ``IdCookie``; what stands behind ``seal:`` is sealed first, as if another version had written it."""
    _sealed(_forms()["id"], data)


def sealed_cookie(data: bytes) -> None:
    """A ``SealedCookie``; what stands behind ``seal:`` is sealed first, as if another version had written it."""
    _sealed(_forms()["sealed"], data)


def shared_cookie(data: bytes) -> None:
    """A ``SharedCookie`` of each of its three names, as the page or whoever else may have written it."""
    for name in _SHARED:
        _read(_forms()[name], data.decode("latin-1"), given=unquote(data[: 3 * _LARGEST].decode("latin-1")))


def cookie_header(data: bytes) -> None:
    """A ``Cookie`` header, and in further lines ``Accept``, ``Vary`` and ``Cache-Control``."""
    header, accept, vary, cache_control, *_ = [*data.decode("latin-1").split("\n"), "", "", "", ""]
    for values in cookies_of(header, "").values():
        assert len(values) == len(set(values))
        assert all(value in header and ";" not in value for value in values)
    for site in _sites():
        _answered(site, header, path=accept)
    request = PlainRequest({"accept": accept, "sec-fetch-dest": vary})
    assert isinstance(opens_page(request, is_embedded=True), bool)
    added = additions(["a=b"], vary=vary, cache_control=cache_control)
    assert added.vary is None or added.vary.endswith("Cookie")
    assert added.cache_control is None or "private" in added.cache_control


@cache
def _forms() -> dict[str, Any]:
    shared = {name: SharedCookie(name) for name in _SHARED}
    return {"id": IdCookie([_KEY]), "sealed": SealedCookie([_KEY]), **shared}


@cache
def _sites() -> list[SiteCookie]:
    sealed: list[Any] = [IdCookie([_KEY], secure=False), SealedCookie([_KEY], name="wixvisitor", secure=False)]
    return [SiteCookie(form, CLIENT_ID, lambda: NOW) for form in (*sealed, SharedCookie("wixSession"))]


def _answered(site: SiteCookie, header: str, *, path: str) -> None:
    """Whatever a browser sends, an answer's headers are headers."""
    reading = site.read(header)
    assert reading.content is None or reading.content.key
    headers = [*site.write(reading, CookieContent("i" * 43), anew=True), *site.forget(reading)]
    headers += site.remove_copies(reading, path) + site.remove_copies(attrs.evolve(reading, doubled=("a",)), path)
    assert all(each.isascii() and each.isprintable() for each in headers)
    assert sum(map(len, headers)) < 3 * _LARGEST


def _sealed(cookie: Any, data: bytes) -> None:
    text = data.decode("latin-1")
    if data.startswith(b"seal:"):
        text = cookie._sealer.seal(data[5:], (CLIENT_ID, cookie.names(CLIENT_ID).first))
    _read(cookie, text, given=data.decode("utf-8", "replace"))


def _read(cookie: Any, text: str, *, given: str) -> None:
    names = "^it |^what is sealed in it is not"
    end = ending(lambda: cookie.read(text, CLIENT_ID, NOW), Unreadable, names=names, given=given)
    if end.error is not None:
        return
    content = end.value
    assert isinstance(content, CookieContent)
    assert content.key
    check_sendable(content.tokens)
    assert content.tokens == EMPTY_TOKENS or cookie.holds_tokens
    _written_back(cookie, content, given)


def _written_back(cookie: Any, content: CookieContent, given: str) -> None:
    names = "^The visitor's cookie .* would be"
    end = ending(lambda: cookie.write(content, CLIENT_ID, NOW), ConfigurationError, names=names, given=given)
    if end.error is None:
        pair = end.value.partition(";")[0]
        name, _, value = pair.partition("=")
        assert len(pair) <= _LARGEST + 1
        assert pair.isascii()
        assert pair.isprintable()
        assert cookies_of(f"other=1; {pair}", name)[name] == [value]
        tokens = EMPTY_TOKENS if is_empty(content.tokens) else content.tokens
        assert cookie.read(value, CLIENT_ID, NOW).tokens == tokens
