"""What is written to stdout and stderr: no token passes, and no control character."""

from __future__ import annotations

import io
import os
import re
import sys
from typing import Final

_TOKEN: Final = r"(?:(?:OauthNG\.)?JWS\.|eyJ)[A-Za-z0-9_=.-]{6,}"  # noqa: S105 - no token, but what one looks like


def accept_any_text() -> None:
    """Lets stdout take what its encoding cannot say, escaped, instead of failing on a product's name."""
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(errors="backslashreplace")


def complain(text: str) -> None:
    """Writes a line to stderr, and says who is complaining."""
    sys.stderr.write(f"wixvisitor: {clean(text)}\n")
    sys.stderr.flush()


def give_up() -> None:
    """Points stdout nowhere, after its reader has gone. Otherwise its last flush would fail, and say so."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def clean(text: str) -> str:
    """Returns the text without tokens, and with control characters escaped: a product must not steer a screen."""
    visible = "".join(letter if letter.isprintable() else ascii(letter)[1:-1] for letter in text)
    return re.sub(_TOKEN, "[token]", visible)
