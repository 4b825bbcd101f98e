"""What the command line says, and how it travels to worker processes: in environment variables."""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Final, Self

import attrs

from examples.shop.catalogue import CLIENT_ID
from wixvisitor import ConfigurationError
from wixvisitor.cookies import IdCookie, SealedCookie, SharedCookie, VisitorCookie, generate_key
from wixvisitor.fastapi import login_router
from wixvisitor.storage import MemoryStorage, TokenStorage
from wixvisitor.storage.sqlite import SQLiteStorage

KEYS: Final = "SHOP_KEYS"
HOST: Final = "127.0.0.1"
ORIGIN: Final = f"http://{HOST}:8000"
_PREFIX: Final = "SHOP_"

_DESCRIPTION: Final = "A small storefront: each browser is one Wix visitor. Without a client ID, FakeWix plays Wix."
_STORES: Final = (
    "where visitors live: memory (the default), sqlite:PATH, redis:URL (redis:localhost:6379/0), a database's URL "
    "(postgresql+psycopg://user@host/shop), sealed (in the "
    "cookie), shared:NAME (in a cookie that JavaScript can read: wixSession, session, wix-session)"
)
_KEYS_HELP: Final = (
    f"{KEYS} in the environment holds the cookies' keys, separated by commas; wixvisitor.cookies.generate_key() makes "
    f"one. Without it they are made at the start: for sqlite:PATH they are kept in PATH.key."
)

_NEW_KEY: Final = f"{KEYS} is not set: the cookies' key is new, and this start's visitors are lost at the next.\n"


@attrs.frozen(kw_only=True)
class Settings:
    """What to serve, and where.

    Attributes:
        client_id: the site's; None: FakeWix's.
        base_url: where Wix is; None: at Wix, or at a FakeWix of our own.
        store: see ``--store``.
        origin: the shop's, as browsers see it.
        secure: whether browsers get cookies that they send over https only.
        keys: the cookies'; separated by commas.
    """

    client_id: str | None = None
    base_url: str | None = None
    store: str = attrs.field(default="memory", repr=False)  # a URL may hold a password
    origin: str = ORIGIN
    secure: bool = False
    keys: str = attrs.field(default="", repr=False)
    port: int = 8000
    workers: int = 1

    @classmethod
    def parse(cls, argv: Sequence[str]) -> Self:
        """Returns the settings. Prints the error and ends the program if they are wrong."""
        parser = _parser()
        given = vars(parser.parse_args(argv))
        given["origin"] = given["origin"] or f"http://{HOST}:{given['port']}"
        given["secure"] |= given["origin"].startswith("https:")
        try:
            settings = cls(**given)
            settings.check()
            return attrs.evolve(settings, keys=_keys(settings.store))
        except ConfigurationError as error:
            parser.error(str(error))

    @classmethod
    def from_environment(cls, environment: Mapping[str, str]) -> Self:
        """Returns what ``to_environment`` put there."""
        return cls(
            client_id=environment.get(f"{_PREFIX}CLIENT_ID"),
            base_url=environment.get(f"{_PREFIX}BASE_URL"),
            store=environment[f"{_PREFIX}STORE"],
            origin=environment[f"{_PREFIX}ORIGIN"],
            secure=environment[f"{_PREFIX}SECURE"] == "True",
            keys=environment[KEYS],
        )

    def to_environment(self) -> dict[str, str]:
        """Returns all that a worker process has to know."""
        names = ("client_id", "base_url", "store", "origin", "secure", "keys")
        values = {name: getattr(self, name) for name in names}
        return {f"{_PREFIX}{name.upper()}": str(value) for name, value in values.items() if value is not None}

    @property
    def needs_fake(self) -> bool:
        """Whether Wix has to be played here."""
        return self.client_id is None and self.base_url is None

    @property
    def site(self) -> str:
        """The client ID to use."""
        return self.client_id or CLIENT_ID

    @property
    def kept_in(self) -> str:
        """Where visitors live, in words."""
        return {
            "memory": "the server's memory",
            "sqlite": "a SQLite file",
            "redis": "Redis",
            "database": "the shop's database",
            "sealed": "the cookie, encrypted",
            "shared": "a cookie that JavaScript reads too",
        }[self._kind]

    @property
    def _kind(self) -> str:
        kind, _, place = self.store.partition(":")
        return "database" if place.startswith("//") and kind not in {"redis", "rediss"} else kind

    def check(self) -> None:
        """Raises ``ConfigurationError`` if that cannot be served."""
        if self.workers > 1 and self.store == "memory":
            raise ConfigurationError(
                "--workers: processes share no memory; choose another --store, sqlite:PATH for one"
            )
        if self._kind not in {"memory", "sqlite", "redis", "database", "sealed", "shared"}:
            raise ConfigurationError(f"--store: {_STORES}")
        if self.origin.count("/") != 2:
            raise ConfigurationError("--origin: expected what stands before a page's path, like https://shop.example")
        try:
            login_router(f"{self.origin}/auth/callback")
        except ConfigurationError as error:
            raise ConfigurationError(f"--origin: {error}") from None

    def storage(self) -> TokenStorage | None:
        """Returns where tokens are kept; None: in the cookie."""
        place = self.store.partition(":")[2]
        match self._kind:
            case "memory":
                return MemoryStorage()
            case "sqlite":
                return SQLiteStorage(place or "visitors.db")
            case "redis":
                from wixvisitor.storage.redis import RedisStorage  # noqa: PLC0415 - needs an extra that others do not

                return RedisStorage(place if "://" in place else f"redis://{place.lstrip('/') or 'localhost:6379/0'}")
            case "database":
                from wixvisitor.storage.sqlalchemy import SQLAlchemyStorage  # noqa: PLC0415 - needs an extra, too

                return SQLAlchemyStorage(self.store)
            case _:
                return None

    def cookie(self) -> VisitorCookie:
        """Returns what the browser gets."""
        kind, _, name = self.store.partition(":")
        keys = self.keys.split(",")
        if kind == "shared":
            return SharedCookie(name or "wixSession", secure=self.secure)
        if kind == "sealed":
            return SealedCookie(keys, secure=self.secure)
        return IdCookie(keys, secure=self.secure)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m examples.shop", description=_DESCRIPTION, epilog=_KEYS_HELP)
    default = os.environ.get("WIX_CLIENT_ID") or None
    parser.add_argument("--client-id", metavar="ID", default=default, help="your site's; default: WIX_CLIENT_ID")
    parser.add_argument("--base-url", metavar="URL", help="where Wix is, or python -m wixvisitor fake")
    parser.add_argument("--store", default="memory", help=_STORES)
    parser.add_argument("--port", type=int, default=8000)
    parser.add_argument("--workers", type=int, default=1, metavar="N", help="processes")
    parser.add_argument(
        "--origin",
        metavar="URL",
        help=f"the shop's as browsers see it, like https://shop.example; default: http://{HOST}:PORT",
    )
    parser.add_argument("--secure", action="store_true", help="cookies for https; the default if that is the origin's")
    return parser


def _keys(store: str) -> str:
    kind, _, path = store.partition(":")
    if given := os.environ.get(KEYS):
        return given
    if kind == "sqlite":
        return _kept_key(Path(f"{path or 'visitors.db'}.key"))
    if kind != "shared":  # there the keys are for logins that have begun, and for nothing that lasts
        sys.stderr.write(_NEW_KEY)
    return generate_key()


def _kept_key(path: Path) -> str:
    """Returns the key in this file, which is made if there is none. Only its owner may read it."""
    try:
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    except FileExistsError:
        if sys.platform != "win32" and path.stat().st_mode & 0o077:
            raise ConfigurationError(f"{path}: others can read this key; chmod 600, or better remove it") from None
        return path.read_text("utf-8").strip()
    except OSError as error:
        raise ConfigurationError(f"{path}: the key cannot be kept there ({error.strerror})") from None
    with os.fdopen(descriptor, "w", encoding="utf-8") as file:
        file.write(key := generate_key())
    return key
