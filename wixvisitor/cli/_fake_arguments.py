"""The arguments of ``python -m wixvisitor fake``."""

from __future__ import annotations

import argparse
import math
import re
from pathlib import Path
from typing import Any, Final

import attrs

DEFAULT_PORT: Final = 8900

_FAKE: Final = (
    "Serves FakeWix, a stand-in for Wix that keeps visitors and carts, until Ctrl-C. Open its address in a browser to "
    "see the visitors and the calls, to let time pass, and to add faults. Needs the extra testing."
)


@attrs.frozen(kw_only=True)
class FakeArguments:
    """The options of ``fake``.

    Attributes:
        allow_host: Names by which it is called, besides localhost and IP addresses.
        allow_origin: Origins whose pages may call the API, besides those of this machine.
        client_id: The client IDs that exist; empty: every GUID.
        redirect_uri: Where logins may lead; empty: every ``https`` address, and ``http`` ones of this machine.
        hosted_url: Where a browser reaches the hosted pages; None: where the API was called.
        speed: How many seconds pass in a real second.
        access_token_lifetime: In seconds.
        max_visitors: How many visitors are kept.

    """

    command: str
    host: str
    port: int
    allow_host: list[str]
    allow_origin: list[str]
    reload_state: Path | None
    products: Path | None
    client_id: list[str]
    redirect_uri: list[str]
    hosted_url: str | None
    verify_emails: bool
    speed: float
    access_token_lifetime: float
    rotate_refresh_tokens: bool
    max_visitors: int


def add_fake(commands: Any, *, epilog: str) -> None:
    """Adds the command to the parser's commands."""
    fake: argparse.ArgumentParser = commands.add_parser(
        "fake", help="serve a stand-in for Wix", description=_FAKE, epilog=epilog
    )
    fake.add_argument("--port", type=_port, default=DEFAULT_PORT, help=f"default: {DEFAULT_PORT}; 0 is a free one")
    fake.add_argument("--host", default="127.0.0.1", help="where it listens; default: 127.0.0.1, this machine only")
    more = "also answer to this name; localhost and IP addresses always work"
    fake.add_argument("--allow-host", type=_host_name, action="append", default=[], metavar="NAME", help=more)
    more = "pages of this origin may call the API, too; those of localhost always may"
    fake.add_argument("--allow-origin", type=_origin, action="append", default=[], metavar="ORIGIN", help=more)
    more = "keep visitors and carts in this file over restarts"
    fake.add_argument("--reload-state", type=_path, metavar="FILE", help=more)
    more = 'the shop\'s products, as JSON: [{"name": "Mug", "price": "12.50"}]'
    fake.add_argument("--products", type=_path, metavar="FILE", help=more)
    more = "a client ID that exists; default: every GUID"
    fake.add_argument("--client-id", type=_guid, action="append", default=[], metavar="ID", help=more)
    more = "where a login may lead; default: every https address, and http ones of this machine"
    fake.add_argument("--redirect-uri", type=_redirect_uri, action="append", default=[], metavar="URI", help=more)
    more = "where a browser reaches the login and checkout pages; default: where the API was called"
    fake.add_argument("--hosted-url", type=_url, metavar="URL", help=more)
    more = "a new member has to type in the code of a mail, which the page shows"
    fake.add_argument("--verify-emails", action="store_true", help=more)
    more = "seconds that pass in a real second; 3600 lets an hour pass in one"
    fake.add_argument("--speed", type=_speed, default=1.0, metavar="N", help=more)
    more = "default: 14400, four hours, as at Wix"
    fake.add_argument("--access-token-lifetime", type=_seconds, default=14_400.0, metavar="SECONDS", help=more)
    fake.add_argument("--rotate-refresh-tokens", action="store_true", help="a renewal brings a new refresh token")
    more = "visitors who are kept, those seen last; default: 10000"
    fake.add_argument("--max-visitors", type=_count, default=10_000, metavar="N", help=more)


def _port(text: str) -> int:
    if not (text.isascii() and text.isdigit() and int(text) < 65_536):
        raise argparse.ArgumentTypeError("expected a port, 0 to 65535")
    return int(text)


def _host_name(text: str) -> str:
    if not re.fullmatch(r"[A-Za-z0-9._-]+", text):
        raise argparse.ArgumentTypeError("expected a name without a port, like fakewix")
    return text


def _origin(text: str) -> str:
    if not re.fullmatch(r"https?://[^/?#\s]+", text):
        raise argparse.ArgumentTypeError("expected an origin, like https://shop.example")
    return text.lower()


def _guid(text: str) -> str:
    if not re.fullmatch(r"[0-9A-Fa-f]{8}(-[0-9A-Fa-f]{4}){3}-[0-9A-Fa-f]{12}", text):
        raise argparse.ArgumentTypeError("expected a GUID")
    return text


def _number(text: str, least: float, most: float) -> float:
    try:
        number = float(text)
    except ValueError:
        number = math.nan
    if not least <= number <= most:
        raise argparse.ArgumentTypeError(f"expected a number from {least:g} to {most:g}")
    return number


def _speed(text: str) -> float:
    return _number(text, 0, 86_400)


def _seconds(text: str) -> float:
    return _number(text, 1, 31_536_000)


def _count(text: str) -> int:
    return int(_number(text, 1, 1_000_000))


def _redirect_uri(text: str) -> str:
    if not re.fullmatch(r"[A-Za-z][A-Za-z0-9+.-]*:[^#\s]+", text):
        raise argparse.ArgumentTypeError("expected an address without a fragment, like https://shop.example/callback")
    return text


def _url(text: str) -> str:
    if not re.fullmatch(r"https?://[^?#\s]+", text):
        raise argparse.ArgumentTypeError("expected an address like http://localhost:8900")
    return text


def _path(text: str) -> Path:
    if not text or "\0" in text:
        raise argparse.ArgumentTypeError("expected a file")
    return Path(text).expanduser()
