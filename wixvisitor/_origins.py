"""Which origins may see a visitor's token. Pure."""

from __future__ import annotations

import functools
import ipaddress
from collections.abc import Iterable
from typing import Any, Final

import httpx

from wixvisitor._masking import mask
from wixvisitor.errors import ConfigurationError

_KEPT: Final = 512  # URLs that are not parsed again; parsing one takes longer than all else that a session does
_PORTS: Final = {"https": 443, "http": 80}


class Origins:
    """The base URL's origin and the allowed ones (RFC 6454: scheme, host and port).

    Raises:
        ConfigurationError: one of them is no URL, or plain http to anything but this machine.
    """

    __slots__ = ("_allowed", "_joined", "base")

    def __init__(self, base_url: str, allowed_origins: Iterable[str] = ()) -> None:
        if isinstance(allowed_origins, str):
            raise ConfigurationError("allowed_origins: expected several origins; put the one into a tuple")
        self.base = _checked(base_url, "base_url")
        others = (_checked(origin, "allowed_origins") for origin in allowed_origins)
        self._allowed = frozenset(_origin(url) for url in (self.base, *others))
        self._joined = functools.lru_cache(_KEPT)(functools.partial(_join, self.base))

    def allow(self, url: Any) -> bool:
        """Whether the token may go to this (httpx or httpx2) URL."""
        return _origin(url) in self._allowed

    def absolute(self, url: str | Any) -> str:
        """Returns the URL itself if it is absolute, else below the base URL, as httpx joins them.

        Raises:
            ConfigurationError: it is no URL.
        """
        return self._joined(str(url))


def _join(base: httpx.URL, url: str) -> str:
    target = _parsed(url, "url")
    if target.is_absolute_url:
        return str(target)
    path = base.raw_path.rstrip(b"/") + b"/" + target.raw_path.lstrip(b"/")
    return str(base.copy_with(raw_path=path))


def _parsed(url: str, name: str) -> httpx.URL:
    try:
        return httpx.URL(url)
    except (httpx.InvalidURL, TypeError) as error:
        raise ConfigurationError(f"{name}: {error}") from None


def _checked(text: str, name: str) -> httpx.URL:
    url = _parsed(text, name)
    if not url.is_absolute_url or url.scheme not in _PORTS or url.userinfo or url.query or url.fragment:
        got = mask(f"{url.scheme}://{url.host}") if url.host else "something else"
        raise ConfigurationError(f"{name}: expected an origin like https://www.wixapis.com, got {got}")
    if url.scheme == "http" and not _is_loopback(url.host):
        raise ConfigurationError(f"{name}: a token does not travel over plain http except on loopback; use https")
    return url


def _origin(url: Any) -> tuple[str, bytes, int | None]:
    return url.scheme, url.raw_host, url.port or _PORTS.get(url.scheme)


def _is_loopback(host: str) -> bool:
    if host == "localhost" or host.endswith(".localhost"):
        return True
    try:
        return ipaddress.ip_address(host.strip("[]")).is_loopback
    except ValueError:
        return False
