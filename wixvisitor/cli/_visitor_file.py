"""A file with a visitor's tokens, of ``FileStorage`` or ``@wix/sdk``. It is read even if it is not private."""

from __future__ import annotations

import json
import os
import stat
from contextlib import suppress
from pathlib import Path
from typing import Any

import attrs

from wixvisitor._renewal import records
from wixvisitor._tokens import Tokens
from wixvisitor._wire.json_text import parsed_object
from wixvisitor.errors import StorageError
from wixvisitor.storage import _file_record, _system


@attrs.frozen(kw_only=True)
class VisitorFile:
    """The content of one file.

    Attributes:
        path: the file's path.
        mode: the file's permissions; None on Windows, where they say nothing.
        tokens: the visitor's tokens.
        key: the visitor's key, None in a plain file of ``@wix/sdk``.
        client_id: the site's client ID, None in such a file, too.
        content: the file's JSON.

    """

    path: Path
    mode: int | None
    tokens: Tokens
    key: str | None = None
    client_id: str | None = None
    content: dict[str, Any] = attrs.field(repr=False)

    @property
    def is_record(self) -> bool:
        """Whether ``FileStorage`` wrote it."""
        return self.key is not None

    @property
    def problems(self) -> list[str]:
        """The problems of the file itself."""
        if self.mode is not None and self.mode & 0o077:
            return [f"{self.path} can be read by others, who could act as the visitor: chmod 600 it"]
        return []


def read(path: Path) -> VisitorFile:
    """Returns what the file holds.

    Raises:
        StorageError: it cannot be read, or holds no tokens. It is left as it is.

    """
    with _file_record.failures("read", path):
        if path.is_symlink():
            raise StorageError(f"{path} is a symlink; give the path of the file itself")
        with open(path, "rb", opener=_without_waiting) as file:
            found = os.fstat(file.fileno()).st_mode
            if not stat.S_ISREG(found):
                raise StorageError(f"{path} is not a regular file")
            data = file.read(1 << 20)
    mode = None if _system.is_windows() else stat.S_IMODE(found)
    content = parsed_object(data)
    if content is None:
        raise StorageError(f"{path} holds no tokens: it is no JSON object (cut off?). It is left as it is.")
    if "wixvisitor" in content:
        return _of_record(path, mode, data, content)
    try:
        return VisitorFile(path=path, mode=mode, tokens=Tokens.from_dict(content), content=content)
    except ValueError as error:
        raise StorageError(f"{path} holds no tokens: {error}. It is left as it is.") from None


def read_all(directory: Path) -> tuple[list[VisitorFile], list[StorageError]]:
    """Returns the visitors of a directory, and the errors of files that hold none."""
    with _file_record.failures("read", directory):
        places = sorted(place for place in directory.iterdir() if place.suffix == ".json")
    visitors, failures = [], []
    for place in places:
        try:
            visitors.append(read(place))
        except StorageError as error:
            failures.append(error)
    return visitors, failures


def replace_tokens(old: VisitorFile, tokens: Tokens) -> None:
    """Replaces the tokens in a plain file, atomically, with a mode for its owner only. Its other content stays.

    Raises:
        StorageError: it cannot be written, or another program has changed it meanwhile. Then it is left as it is.

    """
    if read(old.path).content != old.content:
        raise StorageError(f"{old.path} was changed by another program meanwhile; it is left as it is")
    more = set(old.content) - {"accessToken", "refreshToken"}
    text = json.dumps({**old.content, **tokens.to_dict()}, separators=(",", ":")) if more else tokens.to_json()
    draft = old.path.with_name(f"{old.path.name}.{os.getpid()}.tmp")
    with _file_record.failures("save", old.path):
        try:
            _file_record._write_private(draft, text.encode())
            _system.replace(draft, old.path)
        finally:
            with suppress(FileNotFoundError):
                draft.unlink()
        _system.sync_directory(old.path.parent)


def _of_record(path: Path, mode: int | None, data: bytes, content: dict[str, Any]) -> VisitorFile:
    scoped = content.get("key")
    if not isinstance(scoped, str) or ":" not in scoped:
        raise StorageError(f"{path} is damaged: its key is missing. It is left as it is.")
    record = _file_record._parsed(data, path, scoped)
    client_id, _, key = scoped.partition(":")
    try:
        tokens = records.parse(record.value, client_id)
    except StorageError as error:
        raise StorageError(f"{path}: {error}") from None
    return VisitorFile(path=path, mode=mode, tokens=tokens, key=key, client_id=client_id, content=content)


def _without_waiting(path: str, flags: int) -> int:
    """Opens a file without following a symlink, and without waiting for the other end of a pipe."""
    return _system.opened(path, flags | _system.NO_WAIT)
