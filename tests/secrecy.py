"""Looks for secrets in everything that a user, a log or an error reporter could get to see."""

from __future__ import annotations

import gc
import json
import logging
import re
import traceback
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import attrs
import pytest

import wixvisitor
from wixvisitor.testing import FakeWix

PACKAGE = Path(wixvisitor.__file__).parent
LOOKS_LIKE_A_TOKEN = re.compile(r"eyJ[A-Za-z0-9_-]{32,}")  # longer than the header, which is no secret


@attrs.define
class Watch:
    """Everything that was logged, and the check of whatever a user or an error reporter could get to see.

    Attributes:
        known: secrets beside the stand-in's tokens.
    """

    fake: FakeWix
    records: list[logging.LogRecord]
    known: set[str] = attrs.field(factory=set)

    def secrets(self) -> set[str]:
        """Every token, the signature of each, and what else is known."""
        tokens = {*self.fake._visitors.access_tokens, *self.fake._visitors.refresh_tokens}
        known = {json.dumps(secret, ensure_ascii=how)[1:-1] for secret in self.known for how in (True, False)}
        return {needle for token in tokens for needle in (token, token.rpartition(".")[2][:16])} | known | self.known

    def check(self, text: str, where: str) -> None:
        """Fails if there is (a part of) a token, or another secret, in this text."""
        places = [text.find(secret) for secret in self.secrets() if secret in text]
        found = LOOKS_LIKE_A_TOKEN.search(text)
        if found is not None or places:
            start = max(0, (found.start() if found is not None else places[0]) - 160)
            pytest.fail(f"a secret in {where}: …{text[start : start + 240]}…")

    def check_exception(self, error: BaseException, name: str) -> None:
        """Checks texts, arguments, attributes, the printed traceback, and the locals of our own frames."""
        self.check("".join(traceback.format_exception(error)), f"{name}: the printed traceback")
        for link in chain(error):
            kind = f"{name}: {type(link).__name__}"
            self.check(f"{link} {link!r} {link.args!r} {getattr(link, '__notes__', '')}", kind)
            for attribute, value in _attributes(link):
                self.check(repr(value), f"{kind}.{attribute}")
            frames = traceback.TracebackException.from_exception(link, capture_locals=True).stack
            for frame in frames:
                path = Path(frame.filename)
                if PACKAGE in path.parents and PACKAGE / "testing" not in path.parents:
                    for local, text in (frame.locals or {}).items():
                        where = f"{kind}: local {local!r} of {path.name}:{frame.lineno} {frame.name}"
                        self.check(text, where)

    def check_log(self, name: str) -> None:
        """Checks every record so far: its text, arguments, extras and exception."""
        for record in self.records:
            where = f"{name}: the log of {record.name}"
            self.check(f"{record.getMessage()} {record.args!r} {record.__dict__!r}", where)
            if record.exc_info and record.exc_info[1] is not None:
                self.check_exception(record.exc_info[1], where)

    def check_live_objects(self, name: str) -> None:
        """Checks the repr and str of every object of ours that is alive now."""
        for thing in gc.get_objects():
            module = str(getattr(type(thing), "__module__", ""))
            if module.startswith("wixvisitor") and not module.startswith("wixvisitor.testing"):
                self.check(f"{thing!r} {thing!s} {thing}", f"{name}: the repr of {type(thing).__name__}")


def chain(error: BaseException) -> Iterator[BaseException]:
    """The exception and those that print with it."""
    todo, seen = [error], set[int]()
    while todo:
        link = todo.pop()
        if id(link) in seen:
            continue
        seen.add(id(link))
        yield link
        context = None if link.__suppress_context__ else link.__context__
        todo += [other for other in (link.__cause__, context) if other is not None]
        todo += getattr(link, "exceptions", ())


def _attributes(error: BaseException) -> Iterator[tuple[str, Any]]:
    for name in dir(error):
        if not name.startswith("__"):
            try:
                yield name, getattr(error, name)
            except Exception:  # httpx's .request raises where there is none
                continue


@contextmanager
def watching(fake: FakeWix) -> Iterator[Watch]:
    """Logs everything at DEBUG, and checks the log at the end."""
    records: list[logging.LogRecord] = []

    class Keep(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            records.append(record)

    names = (None, "httpx", "httpx2", "httpcore", "httpcore2", "anyio", "wixvisitor", "asyncio")
    loggers = [logging.getLogger(name) for name in names]
    before = [logger.level for logger in loggers]
    handler = Keep(logging.DEBUG)
    loggers[0].addHandler(handler)
    for logger in loggers:
        logger.setLevel(logging.DEBUG)
    gc.freeze()  # what is older than this test needs no look
    watch = Watch(fake, records)
    yield watch
    gc.unfreeze()
    loggers[0].removeHandler(handler)
    for logger, level in zip(loggers, before, strict=True):
        logger.setLevel(level)
    watch.check_log("afterwards")


async def failure_of(call: Callable[[], Awaitable[Any]]) -> Exception:
    """What the call raises."""
    try:
        await call()
    except Exception as error:
        return error
    raise AssertionError("nothing was raised")
