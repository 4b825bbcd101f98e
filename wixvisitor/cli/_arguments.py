"""The arguments of the command line."""

from __future__ import annotations

import argparse
import os
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final, NoReturn

import attrs

from wixvisitor._version import __version__
from wixvisitor.cli._fake_arguments import FakeArguments, add_fake

CLIENT_ID_VARIABLE: Final = "WIX_CLIENT_ID"

_DESCRIPTION: Final = "Keeps anonymous Wix visitors alive: one visitor stays one visitor."
_CODES: Final = (
    "exit codes: 0 all well; 1 the file, store or session cannot be used; 2 wrong usage or configuration; 3 Wix could "
    "not be reached; 130 interrupted"
)
_TOKENS: Final = (
    "Shows which visitor a file holds, never the secrets: a file or directory of FileStorage, or what @wix/sdk's "
    "JSON.stringify(auth.getTokens()) wrote."
)


_COPY: Final = (
    "Copies the visitors that TO lacks, and overwrites none. It may be interrupted and called again. Programs may go "
    "on meanwhile, if all of them use MovingStorage(old, new): docs/how-to/stores.md has the recipe."
)
_DOCTOR: Final = (
    "Looks at a site as a visitor, with at most 15 calls, and says what to do where something is wrong. It changes no "
    "cart and logs nobody in. It makes one visitor, or renews the one of --file."
)
_PLACE: Final = (
    "visitors/, visitors.db, sqlite:PATH, file:PATH, redis://…, postgresql+psycopg://…, mysql+asyncmy://…, or env:NAME "
    "for a URL in an environment variable, where no list of processes shows its password"
)
_PASSWORD: Final = re.compile(r"(://[^/@\s]*:)[^@\s]+@")


class _Parser(argparse.ArgumentParser):
    """A parser whose errors show no password of a URL."""

    def error(self, message: str) -> NoReturn:
        super().error(_PASSWORD.sub(r"\1[password]@", message))


@attrs.frozen(kw_only=True)
class Arguments:
    """A command and its options, None where one was not given.

    Attributes:
        client_id: ``--client-id``.
        environment_client_id: ``WIX_CLIENT_ID``.
        old: where ``copy`` reads.
        new: where ``copy`` writes.
        redirect_uri: where the ``doctor`` lets logins and checkouts return.

    """

    command: str
    file: str = ""
    client_id: str | None = None
    environment_client_id: str | None = None
    base_url: str | None = None
    key: str | None = None
    renew: bool = False
    as_json: bool = False
    old: str = attrs.field(default="", repr=False)
    new: str = attrs.field(default="", repr=False)
    old_prefix: str | None = None
    new_prefix: str | None = None
    create_table: bool = False
    redirect_uri: str | None = None


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
    parser = _Parser(prog="python -m wixvisitor", description=_DESCRIPTION, epilog=_CODES)
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
    _add_copy(commands)
    _add_doctor(commands)
    return parser


def _add_copy(commands: Any) -> None:
    copy = commands.add_parser("copy", help="visitors from one store to another", description=_COPY, epilog=_CODES)
    copy.add_argument("old", metavar="FROM", help=_PLACE)
    copy.add_argument("new", metavar="TO", help="the same")
    copy.add_argument("--from-prefix", dest="old_prefix", metavar="P", help="of Redis's keys or the tables in FROM")
    copy.add_argument("--to-prefix", dest="new_prefix", metavar="P", help="of Redis's keys or the tables in TO")
    copy.add_argument("--create-table", action="store_true", help="create the tables in TO where they do not exist")
    copy.add_argument("--json", action="store_true", dest="as_json", help="the numbers, for programs")


def _path(text: str) -> str:
    if not text or "\0" in text:
        raise argparse.ArgumentTypeError("expected a path")
    return str(Path(text).expanduser()) + (os.sep if text.endswith(("/", os.sep)) else "")


def _add_doctor(commands: Any) -> None:
    doctor = commands.add_parser("doctor", help="what is wrong, and what to do", description=_DOCTOR, epilog=_CODES)
    doctor.add_argument("--client-id", metavar="ID", help=f"the site's client ID; default: {CLIENT_ID_VARIABLE}")
    doctor.add_argument("--redirect-uri", metavar="URI", help="can a login and a checkout return there?")
    doctor.add_argument(
        "--file", type=_path, default=argparse.SUPPRESS, metavar="PATH", help="look as the visitor of this file"
    )
    doctor.add_argument("--base-url", metavar="URL", help="default: https://www.wixapis.com")
    doctor.add_argument("--json", action="store_true", dest="as_json", help="for programs")
