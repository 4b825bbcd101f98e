"""Checks of the visitor's cookie in a web app's response."""

from __future__ import annotations

import re
from typing import Any, Final

_SECURE: Final = "__Host-"
_REMOVED: Final = re.compile(r"[^=;]*=\s*;")  # a removal has no value


def assert_visitor_cookie(response: Any, name: str = "__Host-wixvisitor", *, http_only: bool = True) -> None:
    """Checks that a response sets the visitor's cookie once, with safe attributes.

    The cookie must be for this host and all paths, ``Secure`` (if its name demands that), ``HttpOnly``, and
    ``SameSite=Lax`` (or ``SameSite=None`` and ``Partitioned``). The response must have ``Vary: Cookie`` and must not
    be stored by shared caches. If the tokens are too large for one cookie, the further cookies are checked, too.

    Args:
        response: A response of httpx, httpx2, aiohttp or a framework's test client.
        name: The cookie's name without the suffix for the site. With ``secure=False`` it is ``"wixvisitor"``; with a
            ``SharedCookie`` it is that cookie's name, such as ``"wixSession"``.
        http_only: Whether the cookie must be ``HttpOnly``; False for a ``SharedCookie``.

    Raises:
        AssertionError: A check failed. The message says which one, and never shows the cookie's value.

    """
    __tracebackhide__ = True  # otherwise pytest --showlocals would show the cookie's value
    cookies = [cookie for cookie in _values(response, "set-cookie") if not _REMOVED.match(cookie)]
    found = [cookie for cookie in cookies if _is_called(cookie, name)]
    if len(found) != 1:
        set_names = ", ".join(cookie.partition("=")[0] for cookie in cookies) or "none"
        raise AssertionError(f"expected one Set-Cookie for {name}, found {len(found)}; the cookies set: {set_names}")
    parts = [cookie for cookie in cookies if _is_called(cookie, name, part=r"\.[1-9]")]
    wrong = [fault for cookie in (*found, *parts) for fault in _faults(cookie, name, http_only=http_only)]
    wrong += [] if {"cookie", "*"} & _words(response, "vary") else ["Vary does not name Cookie"]
    cache_control = {word.partition("=")[0] for word in _words(response, "cache-control") if word}
    wrong += [] if cache_control else ["Cache-Control is missing"]
    wrong += ["Cache-Control allows shared caches"] if {"public", "s-maxage"} & cache_control else []
    if wrong:
        raise AssertionError(f"the cookie {name}: {'; '.join(wrong)}")


def assert_no_visitor_cookie(response: Any, name: str = "__Host-wixvisitor") -> None:
    """Checks that a response does not set the visitor's cookie.

    Args:
        response: As for ``assert_visitor_cookie``.
        name: As for ``assert_visitor_cookie``.

    Raises:
        AssertionError: The response sets the cookie.

    """
    __tracebackhide__ = True
    if any(_is_called(cookie, name, part=r"(\.[1-9])?") for cookie in _values(response, "set-cookie")):
        raise AssertionError(f"expected no Set-Cookie for {name}")


def _is_called(cookie: str, name: str, part: str = "") -> bool:
    return re.match(rf"{re.escape(name)}(-[0-9a-f]{{8}})?{part}=", cookie) is not None


def _faults(cookie: str, name: str, *, http_only: bool) -> list[str]:
    attributes = {part.strip().lower() for part in cookie.split(";")[1:]}
    is_embedded = {"samesite=none", "partitioned", "secure"} <= attributes
    wanted = {"path=/"} if is_embedded else {"path=/", "samesite=lax"}
    wanted |= {"httponly"} if http_only else set()
    wanted |= {"secure"} if name.startswith(_SECURE) else set()
    wrong = [f"{attribute} is missing" for attribute in sorted(wanted - attributes)]
    return wrong + ["Domain is set" for attribute in attributes if attribute.startswith("domain=")]


def _values(response: Any, name: str) -> list[str]:
    headers = response.headers
    for method in ("get_list", "getall", "getlist"):  # httpx and httpx2, aiohttp, Werkzeug and Quart
        if hasattr(headers, method):
            getter = getattr(headers, method)
            return list(getter(name, []) if method == "getall" else getter(name))
    return [headers[name]] if name in headers else []


def _words(response: Any, name: str) -> set[str]:
    return {word.strip().lower() for value in _values(response, name) for word in value.split(",")}
