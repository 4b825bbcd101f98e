"""The command line, ``python -m wixvisitor``. What went wrong is one line on stderr and the exit code.

0: all well. 1: a claim of the demo failed, or the file or the session cannot be used. 2: wrong usage or configuration,
a missing extra included. 3: Wix could not be reached. 130: interrupted.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from typing import Final

from wixvisitor.cli import _output
from wixvisitor.cli._arguments import Arguments, parse
from wixvisitor.cli._facts import LIFE, LifeFailed
from wixvisitor.errors import ConfigurationError, TokenRequestError, WixVisitorError

__all__ = ["main"]

UNUSABLE: Final = 1
USAGE: Final = 2
UNREACHABLE: Final = 3
INTERRUPTED: Final = 130

_EXTRA: Final = frozenset({"rich", "graphql", "starlette", "uvicorn"})


def main(argv: Sequence[str] | None = None) -> int:
    """Runs one command and returns its exit code."""
    given = list(sys.argv[1:] if argv is None else argv)
    _output.accept_any_text()
    try:
        if given[:1] == [LIFE] and len(given) == 2:
            return _live(given[1])
        return _run(parse(given))
    except SystemExit as end:  # argparse's, after --help, --version or an error
        return end.code if isinstance(end.code, int) else USAGE
    except KeyboardInterrupt:
        _output.complain("interrupted")
        return INTERRUPTED
    except BrokenPipeError:
        _output.give_up()
        return UNUSABLE
    except (WixVisitorError, LifeFailed) as error:
        _output.complain(str(error))
        return exit_code(error)


def exit_code(error: WixVisitorError | LifeFailed) -> int:
    """Returns what this failure ends the program with."""
    kind = error.kind if isinstance(error, LifeFailed) else type(error)
    if issubclass(kind, ConfigurationError):
        return USAGE
    return UNREACHABLE if issubclass(kind, TokenRequestError) else UNUSABLE


def _run(arguments: Arguments) -> int:
    if arguments.command == "tokens":
        from wixvisitor.cli._tokens_command import run as show  # noqa: PLC0415 - each command pays for its own imports

        return show(arguments)
    try:
        from wixvisitor.cli._demo import run as perform  # noqa: PLC0415 - the core runs without this extra

        return perform(arguments)
    except ImportError as error:
        missing = (error.name or "").partition(".")[0]
        if missing not in _EXTRA:
            raise
        raise ConfigurationError(f"the demo needs {missing}: pip install 'wixvisitor[demo]'") from None


def _live(settings: str) -> int:
    from wixvisitor.cli._life import run as live  # noqa: PLC0415 - as above

    return live(settings)
