"""Opens the store that an argument names: a path or a URL."""

from __future__ import annotations

import os
import re
from pathlib import Path
from typing import Any, Final

from wixvisitor.errors import ConfigurationError, StorageError
from wixvisitor.storage import FileStorage
from wixvisitor.storage.sqlite import SQLiteStorage

_TIMEOUT: Final = 10.0  # seconds for each call to a server; nobody waits for a page here
_REDIS: Final = ("redis", "rediss", "unix")
_DATABASE_FILES: Final = (".db", ".sqlite", ".sqlite3")
_DATABASES: Final = re.compile(r"(postgres|postgresql|mysql|mariadb|sqlite)(\+\w+)?")
_MAGIC: Final = b"SQLite format 3\0"  # https://www.sqlite.org/fileformat.html


def opened(text: str, *, prefix: str | None, must_exist: bool) -> Any:
    """Returns the store.

    Args:
        text: ``visitors/``, ``visitors.db``, ``sqlite:PATH``, ``file:PATH``, a URL, or ``env:NAME`` for the value of an
            environment variable.
        prefix: of the store's keys or tables; None: its own default.
        must_exist: whether a path has to be there already.

    Raises:
        ConfigurationError: it names no store, or an extra is missing.
        StorageError: there is no such file or directory.
    """
    scheme, separator, rest = text.partition(":")
    if scheme == "env" and separator:
        if not os.environ.get(rest):
            raise ConfigurationError(f"{text}: this environment variable is not set")
        return opened(os.environ[rest], prefix=prefix, must_exist=must_exist)
    options = {"timeout": _TIMEOUT, **({} if prefix is None else {"prefix": prefix})}
    if rest.startswith("//"):
        return _of_url(text, scheme, options)
    if prefix is not None:
        raise ConfigurationError("a prefix is for Redis and databases; files have none")
    return _of_path(scheme, rest, text, must_exist=must_exist)


def _of_url(url: str, scheme: str, options: dict[str, Any]) -> Any:
    try:
        if scheme in _REDIS:
            from wixvisitor.storage.redis import RedisStorage  # noqa: PLC0415 - needs an extra that others do not

            return RedisStorage(url, **options)
        if _DATABASES.fullmatch(scheme):
            from wixvisitor.storage.sqlalchemy import SQLAlchemyStorage  # noqa: PLC0415 - needs an extra, too

            return SQLAlchemyStorage(url, **options)
    except ImportError as error:
        raise ConfigurationError(str(error)) from None
    known = "redis://, rediss://, unix://, postgresql+psycopg://, mysql+asyncmy:// or sqlite+aiosqlite:///"
    raise ConfigurationError(f"{scheme}:// is no store's URL; expected {known}")


def _of_path(scheme: str, rest: str, text: str, *, must_exist: bool) -> Any:
    kind = scheme if scheme in {"sqlite", "file"} and rest else ""
    given = rest if kind else text
    path = Path(given).expanduser()
    if not given or "\0" in given:
        raise ConfigurationError("expected a path or a URL")
    if must_exist and not path.exists():
        raise StorageError(f"{path} does not exist")
    if kind == "sqlite" or (not kind and _is_database(path)):
        return SQLiteStorage(path)
    return FileStorage(str(path) + (os.sep if given.endswith(("/", os.sep)) else ""))


def _is_database(path: Path) -> bool:
    if path.is_file():
        with path.open("rb") as file:
            return file.read(len(_MAGIC)) == _MAGIC
    return path.suffix in _DATABASE_FILES
