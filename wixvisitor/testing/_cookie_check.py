"""What a test says about the visitor's cookie."""

from __future__ import annotations

from typing import Any, Final

_SECURE: Final = "__Host-"


def assert_visitor_cookie(response: Any, name: str = "__Host-wixvisitor", *, http_only: bool = True) -> None:
    """Checks that a response sets the visitor's cookie, once and safely.

    That is: for this host and all paths, ``Secure`` (if the name says so), ``HttpOnly``, ``SameSite=Lax`` (or
    ``SameSite=None`` and ``Partitioned``), on a response that varies by cookie and that no cache shares.

    Args:
        response: Of httpx, httpx2, aiohttp or a framework's test client.
        name: The cookie's name: ``"wixvisitor"`` with ``secure=False``, ``"wixSession"`` and so on with a
            ``SharedCookie``.
        http_only: Whether scripts may not read it; False for a ``SharedCookie``.

    Raises:
        AssertionError: It is not so; the message says what is wrong and never shows the cookie's value.

    """
    __tracebackhide__ = True  # pytest --showlocals would show the value
    found = [cookie for cookie in _values(response, "set-cookie") if cookie.partition("=")[0] == name]
    if len(found) != 1:
        set_names = ", ".join(cookie.partition("=")[0] for cookie in _values(response, "set-cookie")) or "none"
        raise AssertionError(f"expected one Set-Cookie for {name}, found {len(found)}; the cookies set: {set_names}")
    attributes = {part.strip().lower() for part in found[0].split(";")[1:]}
    wanted = {"path=/", *({"samesite=none", "partitioned"} if "samesite=none" in attributes else {"samesite=lax"})}
    wanted |= {"httponly"} if http_only else set()
    wanted |= {"secure"} if name.startswith(_SECURE) else set()
    wrong = [f"{attribute} is missing" for attribute in sorted(wanted - attributes)]
    wrong += ["Domain is set" for attribute in attributes if attribute.startswith("domain=")]
    wrong += [] if {"cookie", "*"} & _words(response, "vary") else ["Vary does not name Cookie"]
    cache_control = {word.partition("=")[0] for word in _words(response, "cache-control") if word}
    wrong += [] if cache_control else ["Cache-Control is missing"]
    wrong += ["Cache-Control lets caches share it"] if {"public", "s-maxage"} & cache_control else []
    if wrong:
        raise AssertionError(f"the cookie {name}: {'; '.join(wrong)}")


def assert_no_visitor_cookie(response: Any, name: str = "__Host-wixvisitor") -> None:
    """Checks that a response leaves the visitor's cookie alone.

    Raises:
        AssertionError: It sets it.

    """
    __tracebackhide__ = True
    if any(cookie.partition("=")[0] == name for cookie in _values(response, "set-cookie")):
        raise AssertionError(f"expected no Set-Cookie for {name}")


def _values(response: Any, name: str) -> list[str]:
    headers = response.headers
    for method in ("get_list", "getall", "getlist"):  # httpx and httpx2, aiohttp, Werkzeug and Quart
        if hasattr(headers, method):
            getter = getattr(headers, method)
            return list(getter(name, []) if method == "getall" else getter(name))
    return [headers[name]] if name in headers else []


def _words(response: Any, name: str) -> set[str]:
    return {word.strip().lower() for value in _values(response, name) for word in value.split(",")}
