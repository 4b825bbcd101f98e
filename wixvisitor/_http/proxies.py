"""Proxies as desktops and companies name them in the environment: read so that none of them stops what needs no proxy.

httpx refuses to make a client at all where one variable holds what it does not know: ``socks://`` of GNOME and of many
VPNs, SOCKS without its package, ``[::1]`` in ``NO_PROXY``. Here a proxy that cannot be used is an error for the
requests that would go through it, and that error names the variable. It never quotes what that
holds: there may be a password in it.
"""

from __future__ import annotations

import importlib.util
import ipaddress
import os
import re
from collections.abc import Callable
from typing import Any, Final
from urllib.request import getproxies

import attrs
import httpx

_SCHEMES: Final = ("http", "https", "all")
_PORTS: Final = {"http": 80, "https": 443, "ws": 80, "wss": 443}
_HTTP: Final = ("http", "https")
_SOCKS: Final = ("socks5", "socks5h")
_Network = ipaddress.IPv4Network | ipaddress.IPv6Network


@attrs.frozen(eq=False, repr=False)
class Unusable:
    """A proxy that cannot be used, and why."""

    reason: str


def from_environment(proxy_class: Any) -> tuple[dict[str, Any], Bypass]:
    """Returns the proxies by URL pattern, as httpx keeps them, and what goes around them.

    Args:
        proxy_class: httpx's or httpx2's ``Proxy``.
    """
    given = getproxies()
    found = {
        f"{scheme}://": _proxy(given[scheme], _name_of(scheme), proxy_class) for scheme in _SCHEMES if given.get(scheme)
    }
    return found, Bypass(given.get("no", ""))


def complaint() -> str | None:
    """Returns what is wrong with the environment's variables for a client of httpx's own; None if nothing is."""
    found, bypass = from_environment(httpx.Proxy)
    for pattern, proxy in found.items():
        if isinstance(proxy, Unusable):
            return proxy.reason
        if getproxies()[pattern.removesuffix("://")].strip().lower().startswith("socks://"):
            return f"{_name_of(pattern.removesuffix('://'))}: this HTTP client knows no socks://, but socks5://"
    if found and bypass.is_beyond_httpx:
        return (
            f"{_name_of('no')}: it holds what this HTTP client cannot read; the one that is made with client=None can"
        )
    return None


def _proxy(text: str, name: str, proxy_class: Any) -> Any:
    text = text.strip()
    scheme, colon, rest = text.partition("://")
    scheme = scheme.lower() if colon else "http"
    if scheme == "socks":
        scheme = "socks5"  # glib, which reads this variable on desktops, tries this version first
    if scheme in _SOCKS and importlib.util.find_spec("socksio") is None:
        return Unusable(f"{name}: a SOCKS proxy needs a package: pip install 'httpx[socks]'. {_CURE}")
    if scheme not in (*_HTTP, *_SOCKS):
        return Unusable(f"{name}: expected a proxy like http://host:port, of http, https or socks5. {_CURE}")
    try:
        proxy = proxy_class(f"{scheme}://{rest if colon else text}")
        if proxy.url.host and proxy.url.raw_host:
            return proxy
    except Exception:  # noqa: S110 - it quotes what was given
        pass
    return Unusable(f"{name}: expected a proxy like http://host:port. {_CURE}")


_CURE: Final = "Or unset it for this process, or name the host in NO_PROXY, or give a client of your own"


def _name_of(scheme: str) -> str:
    """Returns the variable's name as it is spelt; the lower case goes before the upper one, as in urllib."""
    names = [name for name in os.environ if name.lower() == f"{scheme}_proxy" and os.environ[name]]
    names.sort(key=str.islower, reverse=True)
    return names[0] if names else "The system's proxy settings"


class Bypass:
    """What goes around the proxies: ``NO_PROXY`` with names, addresses, networks (CIDR), ports and ``*``.

    A name covers what is below it; with a dot or ``*.`` before it, that alone. What makes no sense covers nothing.

    Attributes:
        is_beyond_httpx: whether there is something in it that httpx does not read.
    """

    __slots__ = ("_rules", "is_beyond_httpx")

    def __init__(self, no_proxy: str) -> None:
        entries = [entry for entry in re.split(r"[\s,]+", no_proxy) if entry]
        self._rules = [rule for rule in map(_rule, entries) if rule is not None]
        self.is_beyond_httpx = any("[" in entry or "]" in entry for entry in entries)

    def covers(self, url: Any) -> bool:
        """Whether a request to this (httpx or httpx2) URL goes out directly."""
        return any(rule(url) for rule in self._rules)


def _rule(entry: str) -> Callable[[Any], bool] | None:
    if entry == "*":
        return lambda _: True
    scheme, colon, rest = entry.partition("://")
    scheme, rest = (scheme.lower(), rest) if colon else ("", entry)
    if (network := _network(rest)) is not None:
        return _Rule(scheme, None, network=network)
    host, port = _host_and_port(rest)
    if (network := _network(host)) is not None:
        return _Rule(scheme, port, network=network)
    below = re.sub(r"^\*?\.", "", host).rstrip(".").lower()
    try:
        name = httpx.URL(f"http://{below}").raw_host.decode("ascii")
    except (httpx.InvalidURL, UnicodeError):
        return None
    return _Rule(scheme, port, name=name, is_itself=not host.startswith((".", "*."))) if name else None


def _host_and_port(text: str) -> tuple[str, int | None]:
    found = re.fullmatch(r"(\[.*\]|[^:]*):([0-9]{1,5})/?", text)
    return (found[1], int(found[2])) if found else (text.rstrip("/"), None)


def _network(text: str) -> _Network | None:
    address, slash, length = text.partition("/")
    try:
        return ipaddress.ip_network(address.removeprefix("[").removesuffix("]") + slash + length, strict=False)
    except ValueError:
        return None


@attrs.frozen(eq=False, repr=False)
class _Rule:
    """One entry of ``NO_PROXY``."""

    scheme: str
    port: int | None
    name: str = ""
    is_itself: bool = True
    network: _Network | None = None

    def __call__(self, url: Any) -> bool:
        if self.scheme not in ("", "all", url.scheme):
            return False
        if self.port not in (None, url.port or _PORTS.get(url.scheme)):
            return False
        host: str = url.raw_host.decode("ascii").strip("[]").rstrip(".").lower()
        if self.network is not None:
            return _is_within(host, self.network)
        return (self.is_itself and host == self.name) or host.endswith(f".{self.name}")


def _is_within(host: str, network: _Network) -> bool:
    try:
        address = ipaddress.ip_address(host.partition("%")[0])
    except ValueError:
        return False
    return address in network  # never, if it is of the other version
