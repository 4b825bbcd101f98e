"""The command line of the demo. What went wrong is one line on stderr and the exit code.

0: every claim held. 1: a claim failed, or the file cannot be used. 2: wrong usage or configuration, a missing package
included. 3: Wix could not be reached. 130: interrupted.
"""

from __future__ import annotations

import argparse
import os
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Final

import anyio

from examples.demo import screen
from examples.demo.facts import LifeFailed, Setting
from wixvisitor import ConfigurationError, TokenRequestError, VisitorSession, WixVisitorError

UNUSABLE: Final = 1
USAGE: Final = 2
UNREACHABLE: Final = 3
INTERRUPTED: Final = 130

WIX: Final = "https://www.wixapis.com"
_NEEDED: Final = frozenset({"rich", "graphql", "starlette", "uvicorn"})
_DESCRIPTION: Final = (
    "Tells a visitor's life in chapters, each claim checked: it is made, fills its cart, dies with its process, is "
    "resumed by another, outlives its token and an outage, and is replaced only when Wix refuses it. Without a client "
    "ID Wix is played by FakeWix, on this machine."
)
_CODES: Final = (
    "exit codes: 0 all well; 1 a claim of the demo failed, or the file cannot be used; 2 wrong usage or configuration; "
    "3 Wix could not be reached; 130 interrupted"
)


def main(argv: Sequence[str] | None = None) -> int:
    """Runs the demo and returns its exit code."""
    screen.accept_any_text()
    try:
        return _run(_parser().parse_args(argv))
    except SystemExit as end:  # argparse's, after --help or an error
        return end.code if isinstance(end.code, int) else USAGE
    except KeyboardInterrupt:
        screen.complain("interrupted")
        return INTERRUPTED
    except BrokenPipeError:
        screen.give_up()
        return UNUSABLE
    except (WixVisitorError, LifeFailed) as error:
        screen.complain(str(error))
        return exit_code(error)


def exit_code(error: WixVisitorError | LifeFailed) -> int:
    """Returns what this failure ends the program with."""
    kind = error.kind if isinstance(error, LifeFailed) else type(error)
    if issubclass(kind, ConfigurationError):
        return USAGE
    return UNREACHABLE if issubclass(kind, TokenRequestError) else UNUSABLE


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m examples.demo", description=_DESCRIPTION, epilog=_CODES)
    parser.add_argument("--file", type=_path, metavar="PATH", help="keep the visitor here; default: a temporary file")
    default = os.environ.get("WIX_CLIENT_ID") or None
    purpose = "run what makes sense against the real Wix, as this site's visitor; default: WIX_CLIENT_ID"
    parser.add_argument("--client-id", metavar="ID", default=default, help=purpose)
    parser.add_argument("--base-url", metavar="URL", help=f"default: {WIX}")
    return parser


def _path(text: str) -> str:
    if not text or "\0" in text:
        raise argparse.ArgumentTypeError("expected a path")
    return str(Path(text).expanduser()) + (os.sep if text.endswith(("/", os.sep)) else "")


def _run(arguments: argparse.Namespace) -> int:
    """Returns 0 if every claim held, else 1.

    Raises:
        ConfigurationError: the arguments do not fit together, or a package is missing.
        LifeFailed: one of the visitor's processes could not do its part.

    """
    try:
        if arguments.file is not None:
            return _perform(_own_file(arguments.file, arguments.client_id), arguments)
        with tempfile.TemporaryDirectory(prefix="wixvisitor-demo-") as directory:
            return _perform(Path(directory) / "visitor.json", arguments)
    except ImportError as error:
        missing = (error.name or "").partition(".")[0]
        if missing not in _NEEDED:
            raise
        raise ConfigurationError(f"the demo needs {missing}: pip install '.[testing]' rich") from None


def _perform(file: Path, arguments: argparse.Namespace) -> int:
    from examples.demo.story import Story  # noqa: PLC0415 - needs rich, and the error for that is ours

    story, client_id, base_url = Story(), arguments.client_id, arguments.base_url
    if client_id:
        from examples.demo import real  # noqa: PLC0415 - as above

        VisitorSession(client_id, base_url=base_url or WIX)  # says what is wrong with them
        setting = Setting(file=str(file), client_id=client_id, base_url=base_url or WIX)
        return 0 if anyio.run(real.perform, story, setting) else 1
    if base_url:
        raise ConfigurationError("--base-url needs --client-id: without one the demo brings its own stand-in for Wix")
    from examples.demo import fake  # noqa: PLC0415 - the real Wix needs no stand-in

    return 0 if anyio.run(fake.perform, story, file) else 1


def _own_file(path: str, client_id: str | None) -> Path:
    file = Path(path)
    if path.endswith(("/", os.sep)) or file.is_dir():
        raise ConfigurationError(f"--file {path}: expected the path of one visitor's file, this is a directory")
    if file.exists() and not client_id:
        raise ConfigurationError(f"--file {path}: exists, and the demo begins with a new visitor; give another path")
    return file
