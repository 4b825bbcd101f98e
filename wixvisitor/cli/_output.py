"""What is written to stdout and stderr: no token passes, and no control character."""

from __future__ import annotations

import io
import os
import sys
from typing import TextIO

from wixvisitor._wire.redaction import redact


def accept_any_text() -> None:
    """Lets stdout take what its encoding cannot say, escaped, instead of failing on a product's name."""
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(errors="backslashreplace")


def say(text: str = "") -> None:
    """Writes a line to stdout."""
    _write(sys.stdout, text)


def complain(text: str) -> None:
    """Writes a line to stderr, and says who is complaining."""
    _write(sys.stderr, f"wixvisitor: {text}")


def give_up() -> None:
    """Points stdout nowhere, after whoever read it has gone; else its last flush would fail, and say so."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def clean(text: str) -> str:
    """Returns the text without tokens, and with control characters escaped: a file must not steer a screen."""
    visible = "".join(letter if letter.isprintable() else ascii(letter)[1:-1] for letter in text)
    return redact(visible)


def _write(stream: TextIO, text: str) -> None:
    stream.write(clean(text) + "\n")
    stream.flush()
