"""The command line, ``python -m wixvisitor``. It reports an error as one line on stderr and by its exit code.

0: all well, also after Ctrl-C has ended ``fake``. 1: the file, store or session cannot be used. 2: wrong usage or
configuration. 3: Wix could not be reached. 130: interrupted.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from wixvisitor.cli import _output
from wixvisitor.cli._arguments import Arguments, parse
from wixvisitor.cli._fake_arguments import FakeArguments
from wixvisitor.errors import ConfigurationError, TokenRequestError, WixVisitorError

__all__ = ["main"]

UNUSABLE: Final = 1
USAGE: Final = 2
UNREACHABLE: Final = 3
INTERRUPTED: Final = 130


def main(argv: Sequence[str] | None = None) -> int:
    """Runs one command and returns its exit code."""
    _output.accept_any_text()
    try:
        return _run(parse(argv))
    except SystemExit as end:  # argparse raises it after --help, --version or an error
        return end.code if isinstance(end.code, int) else USAGE
    except KeyboardInterrupt:
        _output.complain("interrupted")
        return INTERRUPTED
    except BrokenPipeError:
        _output.give_up()
        return UNUSABLE
    except WixVisitorError as error:
        _output.complain(str(error))
        return exit_code(error)


def exit_code(error: WixVisitorError) -> int:
    """Returns the program's exit code for this error."""
    if isinstance(error, ConfigurationError):
        return USAGE
    return UNREACHABLE if isinstance(error, TokenRequestError) else UNUSABLE


def _run(arguments: Arguments | FakeArguments) -> int:
    # --help and --version pay for no imports
    if isinstance(arguments, FakeArguments):
        from wixvisitor.cli._fake_command import run as run_fake  # noqa: PLC0415

        return run_fake(arguments)
    if arguments.command == "copy":
        from wixvisitor.cli import _copy_command  # noqa: PLC0415

        return _copy_command.run(arguments)
    if arguments.command == "doctor":
        from wixvisitor.cli import _doctor_command  # noqa: PLC0415

        return _doctor_command.run(arguments)
    from wixvisitor.cli import _tokens_command  # noqa: PLC0415

    return _tokens_command.run(arguments)
