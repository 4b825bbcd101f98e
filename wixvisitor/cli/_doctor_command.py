"""``python -m wixvisitor doctor``: says what is wrong with a site, a client ID or this machine, and what to do."""

from __future__ import annotations

import json
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Final

import anyio

from wixvisitor._diagnose import diagnose
from wixvisitor._session import VisitorSession
from wixvisitor._wire.diagnosis import Diagnosis, Finding
from wixvisitor.cli._arguments import CLIENT_ID_VARIABLE, Arguments
from wixvisitor.cli._output import complain, say
from wixvisitor.cli._tokens_command import session_of
from wixvisitor.cli._visitor_file import read, replace_tokens
from wixvisitor.errors import ConfigurationError
from wixvisitor.storage import FileStorage

_PROBLEM: Final = 1
_UNREACHABLE: Final = 3
_WIDTH: Final = 16  # characters of the longest check's name
_MARKS: Final = {"ok": "ok", "note": "note", "problem": "PROBLEM", "skipped": "-"}


def run(arguments: Arguments) -> int:
    """Prints the findings. Returns 0 if there is no problem, 3 if Wix could not be reached, else 1.

    Raises:
        ConfigurationError: there is no client ID, or the arguments do not fit the file.
        StorageError: the file cannot be read.

    """
    found = anyio.run(_diagnosed, arguments)
    if arguments.as_json:
        say(json.dumps(found.to_dict()))
    else:
        problems = sum(finding.state == "problem" for finding in found.findings)
        say(f"{problems or 'no'} problem{'' if problems == 1 else 's'}, calls to Wix: {found.calls}")
    if found.is_healthy:
        return 0
    return _UNREACHABLE if any(finding.is_unreachable for finding in found.findings) else _PROBLEM


async def _diagnosed(arguments: Arguments) -> Diagnosis:
    tell = _tell_briefly if arguments.as_json else _tell
    async with _session(arguments) as session:
        return await diagnose(session, redirect_uri=arguments.redirect_uri, on_finding=tell)


@asynccontextmanager
async def _session(arguments: Arguments) -> AsyncGenerator[VisitorSession]:
    """Yields a session: the file's visitor, which is never replaced, or a new visitor, which nothing keeps."""
    given, base_url = arguments.client_id or arguments.environment_client_id, arguments.base_url or None
    found = read(Path(arguments.file)) if arguments.file else None
    client_id = (found.client_id if found is not None else None) or given
    if client_id is None:
        raise ConfigurationError(f"doctor needs the site's client ID: --client-id or {CLIENT_ID_VARIABLE}")
    if found is None:
        async with VisitorSession(client_id, base_url=base_url) as session:
            yield session
        return
    if arguments.client_id not in (None, client_id):
        raise ConfigurationError(f"{found.path} belongs to another client ID: {client_id}")
    async with FileStorage(found.path) as storage, session_of(found, client_id, base_url, storage) as session:
        yield session
    if not found.is_record and session.get_tokens() != found.tokens:  # no storage keeps a file of ``@wix/sdk``
        replace_tokens(found, session.get_tokens())


def _tell(finding: Finding) -> None:
    say(f"{_MARKS[finding.state]:<8} {finding.check:<{_WIDTH}} {finding.text}")
    if finding.advice:
        say(f"{'':<8} {'':<{_WIDTH}} -> {finding.advice}")
    if finding.request_id and finding.state != "ok":
        say(f"{'':<8} {'':<{_WIDTH}}    Wix's request id: {finding.request_id}")


def _tell_briefly(finding: Finding) -> None:
    complain(f"{finding.check}: {finding.state}")
