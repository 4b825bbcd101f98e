"""Writes to stdout and stderr, without tokens and control characters."""

from __future__ import annotations

import errno
import io
import os
import sys
from typing import TextIO

from wixvisitor._wire.redaction import redact


def accept_any_text() -> None:
    """Makes stdout escape characters that its encoding lacks, instead of failing on a product's name."""
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(errors="backslashreplace")


def say(text: str = "") -> None:
    """Writes a line to stdout."""
    _write(sys.stdout, text)


def complain(text: str) -> None:
    """Writes a line to stderr, with the program's name."""
    _write(sys.stderr, f"wixvisitor: {text}")


def give_up() -> None:
    """Redirects stdout to the null device after its reader has gone. Else the last flush would fail."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def clean(text: str) -> str:
    """Returns the text without tokens, and with control characters escaped, so a file cannot control the terminal."""
    visible = "".join(letter if letter.isprintable() else ascii(letter)[1:-1] for letter in text)
    return redact(visible)


def _write(stream: TextIO, text: str) -> None:
    try:
        stream.write(clean(text) + "\n")
        stream.flush()
    except OSError as error:
        if error.errno == errno.EINVAL:  # what Windows says if the reader of a pipe has gone
            raise BrokenPipeError(errno.EPIPE, os.strerror(errno.EPIPE)) from None
        raise
