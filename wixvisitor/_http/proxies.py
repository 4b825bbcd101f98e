"""Reads the environment's proxy variables so that a wrong one affects only the requests that need it.

httpx cannot create a client at all if one variable has a value that it does not know: ``socks://``, which GNOME and
many VPNs set, SOCKS without its package, or ``[::1]`` in ``NO_PROXY``. Here a proxy that cannot be used is an error
only for the requests through it. The error names the variable. It never quotes the value, which may hold a password.
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
    """A proxy that cannot be used, and the reason."""

    reason: str


def from_environment(proxy_class: Any) -> tuple[dict[str, Any], Bypass]:
    """Returns the proxies by URL pattern, as httpx does, and the hosts that need no proxy.

    Args:
        proxy_class: ``Proxy`` of httpx or httpx2.
    """
    given = getproxies()
    found = {
        f"{scheme}://": _proxy(given[scheme], _name_of(scheme), proxy_class) for scheme in _SCHEMES if given.get(scheme)
    }
    return found, Bypass(given.get("no", ""))


def names() -> list[str]:
    """Returns the names of the environment variables that name a proxy."""
    given = getproxies()
    return [_name_of(scheme) for scheme in _SCHEMES if given.get(scheme)]


def environment_error() -> str | None:
    """Returns an error message if httpx's own client cannot use the environment's proxy variables, else None."""
    found, bypass = from_environment(httpx.Proxy)
    for pattern, proxy in found.items():
        if isinstance(proxy, Unusable):
            return proxy.reason
        if getproxies()[pattern.removesuffix("://")].strip().lower().startswith("socks://"):
            return f"{_name_of(pattern.removesuffix('://'))}: this HTTP client does not support socks://; use socks5://"
    if found and bypass.is_beyond_httpx:
        return (
            f"{_name_of('no')}: this HTTP client cannot read an entry with brackets. Remove the brackets, or use "
            "client=None, whose client can read it"
        )
    return None


def _proxy(text: str, name: str, proxy_class: Any) -> Any:
    text = text.strip()
    scheme, colon, rest = text.partition("://")
    scheme = scheme.lower() if colon else "http"
    if scheme == "socks":
        scheme = "socks5"  # GLib, which desktop programs use, also tries version 5 first
    if scheme in _SOCKS and importlib.util.find_spec("socksio") is None:
        return Unusable(f"{name}: a SOCKS proxy needs a package: pip install 'httpx[socks]'. {_CURE}")
    if scheme not in (*_HTTP, *_SOCKS):
        return Unusable(f"{name}: expected a proxy like http://host:port, with http, https or socks5. {_CURE}")
    try:
        proxy = proxy_class(f"{scheme}://{rest if colon else text}")
        if proxy.url.host and proxy.url.raw_host:
            return proxy
    except Exception:  # noqa: S110 - httpx's message would quote the value
        pass
    return Unusable(f"{name}: expected a proxy like http://host:port. {_CURE}")


_CURE: Final = "Or unset it for this process, add the host to NO_PROXY, or pass a client of your own"


def _name_of(scheme: str) -> str:
    """Returns the variable's name as the environment spells it. Lower case comes before upper case, as in urllib."""
    names = [name for name in os.environ if name.lower() == f"{scheme}_proxy" and os.environ[name]]
    names.sort(key=str.islower, reverse=True)
    return names[0] if names else "The system's proxy settings"


class Bypass:
    """The hosts that need no proxy: ``NO_PROXY`` with names, addresses, networks (CIDR), ports and ``*``.

    A name covers itself and its subdomains. With a dot or ``*.`` before it, it covers only the subdomains. An entry
    that cannot be read covers nothing.

    Attributes:
        is_beyond_httpx: whether an entry is one that httpx cannot read.
    """

    __slots__ = ("_rules", "is_beyond_httpx")

    def __init__(self, no_proxy: str) -> None:
        entries = [entry for entry in re.split(r"[\s,]+", no_proxy) if entry]
        self._rules = [rule for rule in map(_rule, entries) if rule is not None]
        self.is_beyond_httpx = any("[" in entry or "]" in entry for entry in entries)

    def covers(self, url: Any) -> bool:
        """Whether a request to this URL of httpx or httpx2 is sent without a proxy."""
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
    return address in network  # False if one is IPv4 and the other IPv6
