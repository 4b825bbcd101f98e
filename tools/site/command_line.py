"""The commands of ``python -m wixvisitor`` as Markdown, made from the parser. Pure.

It does not use argparse's own help, whose form depends on the version of Python.
"""

from __future__ import annotations

import argparse
import re
from collections.abc import Iterator

from tools.site.markdown import wrapped
from wixvisitor.cli import _arguments

_CODE = re.compile(r"\[\{.*\}\]|--[a-z][a-z-]*|MovingStorage\(old, new\)|[\w+]+://[^\s,;]+|WIX_CLIENT_ID")
_PAGE = re.compile(r"docs/(how-to/([\w-]+)\.md)")


def parts() -> dict[str, str]:
    """Returns the Markdown of each command, by its name, and of the exit codes."""
    parser = _arguments._parser()
    commands = next(action for action in parser._actions if isinstance(action, argparse._SubParsersAction))
    codes = _arguments._CODES.removeprefix("exit codes: ").split("; ")
    return {
        **{name: _command(command) for name, command in commands.choices.items()},
        "exit codes": "".join(f"- `{code}`: {meaning}\n" for code, _, meaning in (one.partition(" ") for one in codes)),
    }


def _command(command: argparse.ArgumentParser) -> str:
    actions = [action for action in command._actions if not isinstance(action, argparse._HelpAction)]
    items = "".join(wrapped(_option(action), first="- ", others="  ") for action in actions)
    return f"```sh\n{' '.join(_usage(command, actions))}\n```\n\n{wrapped(_marked(command.description or ''))}\n{items}"


def _usage(command: argparse.ArgumentParser, actions: list[argparse.Action]) -> Iterator[str]:
    yield command.prog
    yield from (_spelling(action) for action in actions if action.required)
    if any(not action.required for action in actions):
        yield "[OPTIONS]"


def _spelling(action: argparse.Action) -> str:
    value = action.metavar if isinstance(action.metavar, str) else action.dest.upper()
    if not action.option_strings:
        return value
    return action.option_strings[-1] if action.nargs == 0 else f"{action.option_strings[-1]} {value}"


def _option(action: argparse.Action) -> str:
    notes = ["required"] if action.required and action.option_strings else []
    if isinstance(action, argparse._AppendAction):
        notes.append("may be given several times")
    more = f" ({', '.join(notes)})" if notes else ""
    return f"`{_spelling(action)}`{more}: {_marked(action.help or '')}"


def _marked(text: str) -> str:
    """Returns a text of the help with code and links as Markdown has them."""
    return _PAGE.sub(r"[\2](../\1)", _CODE.sub(r"`\g<0>`", text))
