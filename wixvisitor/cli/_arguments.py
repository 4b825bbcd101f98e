"""The arguments of the command line."""

from __future__ import annotations

import argparse
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Final

import attrs

from wixvisitor._version import __version__
from wixvisitor.cli._fake_arguments import FakeArguments, add_fake

CLIENT_ID_VARIABLE: Final = "WIX_CLIENT_ID"

_DESCRIPTION: Final = "Keeps anonymous Wix visitors alive: one visitor stays one visitor."
_CODES: Final = (
    "exit codes: 0 all well; 1 the file or the session cannot be used; 2 wrong usage or configuration; 3 Wix could not "
    "be reached; 130 interrupted"
)
_TOKENS: Final = (
    "Shows which visitor a file holds, never the secrets: a file or directory of FileStorage, or what @wix/sdk's "
    "JSON.stringify(auth.getTokens()) wrote."
)


@attrs.frozen(kw_only=True)
class Arguments:
    """The command ``tokens`` and its options, None where one was not given.

    Attributes:
        client_id: ``--client-id``.
        environment_client_id: ``WIX_CLIENT_ID``.

    """

    command: str
    file: str
    client_id: str | None
    environment_client_id: str | None
    base_url: str | None
    key: str | None = None
    renew: bool = False
    as_json: bool = False


def parse(argv: Sequence[str] | None) -> Arguments | FakeArguments:
    """Returns the parsed arguments; None: the program's own.

    Raises:
        SystemExit: after ``--help`` and ``--version`` with 0, after wrong usage with 2.

    """
    given = vars(_parser().parse_args(argv))
    if given["command"] == "fake":
        return FakeArguments(**given)
    return Arguments(environment_client_id=os.environ.get(CLIENT_ID_VARIABLE) or None, **given)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m wixvisitor", description=_DESCRIPTION, epilog=_CODES)
    parser.add_argument("--version", action="version", version=f"wixvisitor {__version__}")
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")
    tokens = commands.add_parser("tokens", help="which visitor a file holds", description=_TOKENS, epilog=_CODES)
    tokens.add_argument("--file", type=_path, required=True, metavar="PATH", help="a visitor's file, or a directory")
    tokens.add_argument("--key", metavar="KEY", help="which visitor of a directory")
    tokens.add_argument("--renew", action="store_true", help="ask Wix for a new access token, and keep it in the file")
    tokens.add_argument("--json", action="store_true", dest="as_json", help="for programs")
    purpose = f"the site's client ID, if the file does not hold it; default: {CLIENT_ID_VARIABLE}"
    tokens.add_argument("--client-id", metavar="ID", help=purpose)
    tokens.add_argument("--base-url", metavar="URL", help="default: https://www.wixapis.com")
    add_fake(commands, epilog=_CODES)
    return parser


def _path(text: str) -> str:
    if not text or "\0" in text:
        raise argparse.ArgumentTypeError("expected a path")
    return str(Path(text).expanduser()) + (os.sep if text.endswith(os.sep) else "")
