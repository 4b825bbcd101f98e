"""What every input has to end in: a value that is well-formed, or a typed error that names what is wrong.

Inputs carry a canary: a made-up token whose signature nobody else has. Where it stands in an input as part of what
looks like a token it is a secret, and no message, repr, traceback or log record may show it.
"""

from __future__ import annotations

import logging
import math
import re
import traceback
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, Final

import attrs

from wixvisitor import Tokens
from wixvisitor._checks import checked_tokens
from wixvisitor._renewal.decision import adopted, role_of, snapshot_of
from wixvisitor._wire.token_endpoint import is_header_safe
from wixvisitor.errors import ConfigurationError

NOW: Final = 1_800_000_000.0
SIGNATURE: Final = "c4n4ry-S1gn4tur3-0f-n0b0dy"
CANARY: Final = f"OauthNG.JWS.eyJraWQiOiIwIn0.eyJpYXQiOjF9.{SIGNATURE}"
REFRESH_CANARY: Final = f"JWS.eyJraWQiOiIwIn0.eyJpYXQiOjF9.{SIGNATURE}"

# Written down anew, and not taken from wixvisitor: what is to be masked is decided here.
_TOKEN: Final = re.compile(r"(?:(?:OauthNG\.)?JWS\.|IST\.|eyJ)[A-Za-z0-9_=.-]{6,}")
_REPR_ESCAPE: Final = re.compile(r"\\(?:x[0-9a-f]{2}|u[0-9a-f]{4})")
_WHOLE_TOKEN: Final = re.compile(r"(?:JWS\.|IST\.|eyJ)[A-Za-z0-9_=.-]{24,}")


@attrs.frozen
class End:
    """How a call ended: with a value, or with an error of the types that were allowed."""

    value: Any = None
    error: Exception | None = None


def ending(
    call: Callable[[], Any], *allowed: type[Exception], names: str, given: str, secrets: tuple[str, ...] = ()
) -> End:
    """Returns how the call ended. An error of any other type goes on, and is a finding.

    Args:
        call: feeds the input to the real code.
        allowed: the errors that belong there.
        names: a pattern that an error's text has to match, since it says what is wrong.
        given: the input as a text, to see whether the canary is a secret in it.
        secrets: further texts that may not be shown.
    """
    hidden = (*secrets, *((SIGNATURE,) if is_planted(given) else ()))
    with _log() as records:
        try:
            end = End(call())
        except allowed as error:
            end = End(error=error)
    if end.error is not None:
        assert re.search(names, str(end.error)), f"{str(end.error)[:200]!r} does not say what is wrong"
        _check_hidden(_surfaces(end.error), hidden)
    _check_hidden((f"{record.getMessage()} {record.args!r} {record.exc_text}" for record in records), hidden)
    return end


def is_planted(text: str) -> bool:
    """Whether the canary's signature stands in the text, and nowhere but in what looks like a token."""
    return SIGNATURE in text and SIGNATURE not in _TOKEN.sub("", text)


def check_tokens(tokens: Tokens) -> None:
    """Fails unless the tokens are well-formed, or are refused where an application hands them in."""
    assert tokens.from_json(tokens.to_json()) == tokens
    assert tokens.to_json().encode()
    assert type(tokens.access_token.expires_at) is int
    assert 0 <= tokens.access_token.expires_at < 1e12
    is_safe = is_header_safe(tokens.access_token.value + tokens.refresh_token.value)
    try:
        checked_tokens(tokens)
    except ConfigurationError:
        assert not is_safe
        return
    assert is_safe
    assert math.isfinite(snapshot_of(adopted(tokens), renew_before=900.0, jitter=0.5).renew_at)
    assert role_of(tokens) is not None


def check_sendable(tokens: Tokens) -> None:
    """Fails unless the tokens are well-formed, and a header could carry them."""
    check_tokens(tokens)
    assert is_header_safe(tokens.access_token.value + tokens.refresh_token.value)


def _surfaces(error: BaseException) -> Iterator[str]:
    """What a user, a log or an error reporter gets to see of an error."""
    yield f"{error} {error!r} {error.args!r} {vars(error)!r} {getattr(error, '__notes__', '')}"
    yield "".join(traceback.format_exception(error))


def _check_hidden(surfaces: Iterator[str], hidden: tuple[str, ...]) -> None:
    for surface in surfaces:
        shown = [secret for secret in hidden if secret in surface]
        shown += _WHOLE_TOKEN.findall(_REPR_ESCAPE.sub(" ", surface))  # r"\x1eyJ" is no "eyJ"
        assert not shown, f"a secret is shown: {shown[0][:12]}…"


class _Keep(logging.Handler):
    def __init__(self, records: list[logging.LogRecord]) -> None:
        super().__init__(logging.DEBUG)
        self._records = records

    def emit(self, record: logging.LogRecord) -> None:
        self._records.append(record)


@contextmanager
def _log() -> Iterator[list[logging.LogRecord]]:
    """Collects what wixvisitor logs at any level."""
    logger = logging.getLogger("wixvisitor")
    records: list[logging.LogRecord] = []
    handler, level, propagate = _Keep(records), logger.level, logger.propagate
    logger.addHandler(handler)
    logger.setLevel(logging.DEBUG)
    logger.propagate = False
    try:
        yield records
    finally:
        logger.removeHandler(handler)
        logger.setLevel(level)
        logger.propagate = propagate
