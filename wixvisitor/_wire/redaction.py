"""Keeps secrets out of text and tracebacks. Pure."""

from __future__ import annotations

import functools
import re
import sys
from collections.abc import Callable, Iterable, Iterator
from typing import Any, Final, TypeVar, cast

E = TypeVar("E", bound=BaseException)
F = TypeVar("F", bound=Callable[..., Any])

# Wix's access tokens are "OauthNG.JWS.<header>.<payload>.<signature>", its refresh tokens "JWS.<…>" (read from the
# public samples in Wix's own documentation); any other JWT starts with "eyJ", which is '{"' in base64url.
# What was cut off in the middle of a token is masked as well, so only the beginning has to match.
_TOKEN: Final = r"(?:(?:OauthNG\.)?JWS\.|IST\.|eyJ)[A-Za-z0-9_=.-]{6,}"  # noqa: S105 - no token, but what one looks like
# Whatever a field of that name holds, in JSON (also in @wix/sdk's shape) or a query, and where it was cut off. Only
# what is quoted, or stands behind "=": what is left has to be JSON still.
_NAMED: Final = (  # the name, what leads to the value, and the value
    r"""(?i:((?:access|refresh)_?token["']?"""
    r"""\s*(?::\s*(?:\{\s*["']value["']\s*:\s*)?["']|=\s*["']?))"""
    r"""(?!\[token\])[^"'&,;\s]+)"""
)
_MASK: Final = "[token]"
_ESCAPED: Final = r"\\u00([2-7][0-9A-Fa-f])"


def redact(text: str, secrets: Iterable[str] = ()) -> str:
    """Returns ``text`` with each known secret, and what looks like a Wix token or is called one, as ``[token]``."""
    for secret in sorted(filter(None, secrets), key=len, reverse=True):  # the longer one first, if one holds the other
        text = text.replace(secret, _MASK)
    return re.sub(_NAMED, rf"\1{_MASK}", re.sub(_TOKEN, _MASK, text))  # compiled when they are needed, and kept


def unescaped(text: str) -> str:
    """Returns a text with JSON's escapes of ASCII read, behind which a token may hide; it may be no JSON any more."""
    return re.sub(_ESCAPED, lambda found: chr(int(found[1], 16)), text).replace("\\/", "/")


def safe_cause(error: E, secrets: Iterable[str] = ()) -> E | None:
    """Returns the exception as a cause that may be printed: without frames; None if a text in its chain is secret."""
    known = tuple(secrets)
    texts = (f"{link} {link!r} {getattr(link, '__notes__', '')}" for link in _chain(error))
    return without_frames(error) if all(redact(text, known) == text for text in texts) else None


def without_frames(error: E) -> E:
    """Drops the frames of an exception and its causes, whose locals hold the bytes of a token request."""
    for link in _chain(error):
        link.__traceback__ = None
    return error


def drop_request_frames(
    error: BaseException, transport_error: type[BaseException], outer: BaseException | None
) -> None:
    """Drops the frames that hold a request's bytes: those of a cancellation, and of what a transport error came from.

    Args:
        error: what the client raised. Its own frames stay, unless it is a cancellation.
        transport_error: the class of the client's transport errors.
        outer: what was being handled before, whose frames are the caller's.
    """
    if not isinstance(error, Exception):
        error.__traceback__ = None
    elif isinstance(error, transport_error):
        for link in _chain(error, outer):
            if link is not error:
                link.__traceback__ = None


def drops_frames(function: F) -> F:
    """Makes a function whose locals hold secrets raise without its frames: error reporters print local variables."""

    @functools.wraps(function)
    def hidden(*arguments: Any, **options: Any) -> Any:
        outer = sys.exception()
        try:
            return function(*arguments, **options)
        except BaseException as error:
            drop_inner_frames(error, outer)
            del arguments, options, outer
            raise

    return cast("F", hidden)


def drops_frames_async(function: F) -> F:
    """``drops_frames`` for an asynchronous function; a cancellation leaves it without its frames, too."""

    @functools.wraps(function)
    async def hidden(*arguments: Any, **options: Any) -> Any:
        outer, work = sys.exception(), function(*arguments, **options)
        del arguments, options
        try:
            return await work
        except BaseException as error:
            drop_inner_frames(error, outer)
            del outer
            raise

    return cast("F", hidden)


def drop_inner_frames(error: BaseException, outer: BaseException | None) -> None:
    """Drops the frames of an exception and of its causes.

    Args:
        error: the exception.
        outer: what was being handled before; its frames are the caller's and stay.
    """
    for link in _chain(error, outer):
        link.__traceback__ = None


def _chain(error: BaseException, end: BaseException | None = None) -> Iterator[BaseException]:
    """The exception, its causes and contexts, and what groups hold; without what stands behind ``end``."""
    todo: list[BaseException | None] = [error]
    seen: set[int] = {id(end)}
    while todo:
        link = todo.pop()
        if link is None or id(link) in seen:
            continue
        seen.add(id(link))
        yield link
        todo += (link.__cause__, link.__context__)
        if isinstance(link, BaseExceptionGroup):
            todo += link.exceptions
