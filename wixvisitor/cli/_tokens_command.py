"""``python -m wixvisitor tokens``: shows which visitor's tokens a file holds, and renews them on request."""

from __future__ import annotations

import os
import time
from pathlib import Path

import anyio

from wixvisitor._session import VisitorSession
from wixvisitor._tokens import Tokens
from wixvisitor.cli import _report
from wixvisitor.cli._arguments import CLIENT_ID_VARIABLE, Arguments
from wixvisitor.cli._output import complain, say
from wixvisitor.cli._visitor_file import VisitorFile, read, read_all, replace_tokens
from wixvisitor.errors import ConfigurationError, StorageError
from wixvisitor.storage import FileStorage


def run(arguments: Arguments) -> int:
    """Shows the visitors; returns 1 if a session could not use a file, else 0. Shows no secrets.

    Raises:
        StorageError, SessionExpired: the file or the session cannot be used.
        ConfigurationError: the arguments do not fit the file.
        TokenRequestError: Wix could not be reached.

    """
    path = Path(arguments.file)
    is_directory = arguments.file.endswith(("/", os.sep)) or path.is_dir()
    if is_directory and arguments.key is None:
        return _list(path, arguments)
    found = _of_directory(path, arguments) if is_directory else _checked(read(path), arguments)
    old = found.tokens
    if arguments.renew:
        found = anyio.run(_renewed, found, arguments)
    _show(found, old if arguments.renew else None, arguments)
    return _complain(found)


def _list(path: Path, arguments: Arguments) -> int:
    if arguments.renew:
        raise ConfigurationError(f"{path} is a directory: name the visitor to renew with --key")
    visitors, failures = read_all(path)
    visitors = [visitor for visitor in visitors if arguments.client_id in (None, visitor.client_id)]
    if arguments.as_json:
        say(_report.as_json([_report.of(visitor, time.time()) for visitor in visitors]))
    else:
        for visitor in visitors:
            say(_report.line(visitor, time.time()))
        say(f"{len(visitors)} visitor{'' if len(visitors) == 1 else 's'} in {path}")
    for failure in failures:
        complain(str(failure))
    unusable = [_complain(visitor) for visitor in visitors]
    return 1 if failures or any(unusable) else 0


def _of_directory(path: Path, arguments: Arguments) -> VisitorFile:
    """Returns the one visitor of the directory with that key."""
    visitors, _ = read_all(path)
    found = [one for one in visitors if one.key == arguments.key and arguments.client_id in (None, one.client_id)]
    if len(found) > 1:
        raise ConfigurationError(f"{path} has that key for several sites: name the site with --client-id")
    if not found:
        raise StorageError(f"{path} holds no visitor with that key")
    return found[0]


def _checked(found: VisitorFile, arguments: Arguments) -> VisitorFile:
    """Returns the visitor if it is the one that the arguments name."""
    if arguments.key is not None and not found.is_record:
        raise ConfigurationError(f"{found.path} is a plain file of @wix/sdk, whose visitor has no key: omit --key")
    if arguments.key not in (None, found.key):
        raise StorageError(f"{found.path} is another visitor's file; this one's key is {_report.shown_key(found.key)}")
    if found.is_record and arguments.client_id not in (None, found.client_id):
        raise StorageError(f"{found.path} belongs to another client ID: {found.client_id}")
    return found


async def _renewed(old: VisitorFile, arguments: Arguments) -> VisitorFile:
    if not old.tokens.refresh_token.value:
        raise StorageError(f"{old.path} holds no refresh token, so there is nothing to renew")
    client_id = old.client_id or arguments.client_id or arguments.environment_client_id
    if client_id is None:
        raise ConfigurationError(f"--renew needs the site's client ID: --client-id or {CLIENT_ID_VARIABLE}")
    base_url = arguments.base_url or None
    # A file in a directory is read and locked like a single file.
    async with FileStorage(old.path) as storage, session_of(old, client_id, base_url, storage) as session:
        tokens = await session.renew_token()
    if not old.is_record:
        replace_tokens(old, tokens)
    return _kept(old, tokens)


def session_of(old: VisitorFile, client_id: str, base_url: str | None, storage: FileStorage) -> VisitorSession:
    """Returns a session that never replaces the visitor: no command must put a new visitor into a file."""
    if old.key is None:
        return VisitorSession(client_id, tokens=old.tokens, base_url=base_url, on_refused="raise")
    return VisitorSession(client_id, storage=storage, key=old.key, base_url=base_url, on_refused="raise")


def _kept(old: VisitorFile, tokens: Tokens) -> VisitorFile:
    """Returns what the file holds now. A session could go on from memory, but this program ends."""
    new = read(old.path)
    if new.tokens == old.tokens and new.tokens != tokens:
        raise StorageError(f"Wix renewed the token, but {old.path} could not be written; it holds the old one")
    return new


def _show(found: VisitorFile, old: Tokens | None, arguments: Arguments) -> None:
    now = time.time()
    if arguments.as_json:
        say(_report.as_json(_report.of(found, now, before=old)))
        return
    for text in _report.lines(found, now, before=old):
        say(text)


def _complain(found: VisitorFile) -> int:
    for problem in found.problems:
        complain(problem)
    return 1 if found.problems and found.is_record else 0
