"""``python -m wixvisitor copy FROM TO``: copies the visitors that a store lacks, while programs go on."""

from __future__ import annotations

import asyncio
import json
import sys
import time
from collections.abc import Callable
from contextlib import AsyncExitStack
from typing import Any, Final

import anyio
import attrs

from wixvisitor.cli import _places
from wixvisitor.cli._arguments import Arguments
from wixvisitor.cli._output import complain, say
from wixvisitor.errors import ConfigurationError
from wixvisitor.storage.moving import Copied, copy

_ON_A_SCREEN: Final = 0.2  # seconds between two reports of progress
_ELSEWHERE: Final = 10.0


def run(arguments: Arguments) -> int:
    """Copies, and tells how much; returns 0.

    Raises:
        StorageError: a store failed; what was copied stays.
        ConfigurationError: an argument names no store that can be copied from or to.

    """
    loop = {"loop_factory": asyncio.SelectorEventLoop}  # psycopg cannot use the usual one of Windows
    return anyio.run(_copied, arguments, backend_options=loop)


async def _copied(arguments: Arguments) -> int:
    async with AsyncExitStack() as stack:
        old = _places.opened(arguments.old, prefix=arguments.old_prefix, must_exist=True)
        await stack.enter_async_context(old)
        new = _places.opened(arguments.new, prefix=arguments.new_prefix, must_exist=False)
        await stack.enter_async_context(new)
        if repr(old) == repr(new):
            raise ConfigurationError("FROM and TO are the same store")
        if arguments.create_table:
            if not hasattr(new, "create_table"):
                raise ConfigurationError("--create-table: TO is no database")
            await new.create_table()
        complain(f"copying from {old!r} to {new!r}")
        tell, end = _progress(arguments)
        try:
            numbers = await copy(old, new, on_progress=tell)
        finally:
            end()
    say(json.dumps(attrs.asdict(numbers)) if arguments.as_json else _summary(numbers))
    return 0


def _progress(arguments: Arguments) -> tuple[Callable[[Copied], None], Callable[[], None]]:
    """Returns what tells the progress on stderr, and what ends the line that it is in."""
    on_a_screen = sys.stderr.isatty() and not arguments.as_json
    state: dict[str, Any] = {"at": time.monotonic(), "written": False}

    def tell(numbers: Copied) -> None:
        now = time.monotonic()
        if now - state["at"] < (_ON_A_SCREEN if on_a_screen else _ELSEWHERE):
            return
        state["at"] = now
        if on_a_screen:
            state["written"] = True
            sys.stderr.write(f"\r{_summary(numbers)} ")
            sys.stderr.flush()
        else:
            complain(_summary(numbers))

    def end() -> None:
        if state["written"]:
            sys.stderr.write("\n")

    return tell, end


def _summary(numbers: Copied) -> str:
    total = numbers.copied + numbers.present + numbers.gone
    gone = f", {numbers.gone:,} were removed meanwhile" if numbers.gone else ""
    counted = f"{total:,} visitor{'' if total == 1 else 's'}"
    return f"{counted}: {numbers.copied:,} copied, {numbers.present:,} were there already{gone}"
