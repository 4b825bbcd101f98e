"""Removes secrets from texts and tracebacks. Pure."""

from __future__ import annotations

import functools
import json
import re
import sys
from collections.abc import Callable, Iterable, Iterator
from typing import Any, Final, TypeVar, cast

E = TypeVar("E", bound=BaseException)
F = TypeVar("F", bound=Callable[..., Any])

# Wix's access tokens are "OauthNG.JWS.<header>.<payload>.<signature>" and its refresh tokens are "JWS.<…>" (read from
# the public samples in Wix's own documentation). Any other JWT starts with "eyJ", which is '{"' in base64url.
# A text may end in the middle of a token, so the pattern needs only the beginning of one.
_TOKEN: Final = r"(?:(?:OauthNG\.)?JWS\.|IST\.|eyJ)[A-Za-z0-9_=.-]{6,}"  # noqa: S105 - a pattern, not a token
# The value of a field with a token's name, in JSON (also in @wix/sdk's shape) or in a query. The text may end within
# the value. Only a value in quotes or after "=" matches, so that JSON is still JSON after the redaction.
_NAMED: Final = (  # the name, what stands between it and the value, and the value
    r"""(?i:((?:access|refresh)_?token["']?"""
    r"""\s*(?::\s*(?:\{\s*["']value["']\s*:\s*)?["']|=\s*["']?))"""
    r"""(?!\[token\])[^"'&,;\s]+)"""
)
# A sealed cookie or record of ours: version, id of the key, and what is sealed. A browser that sends it is the visitor.
_SEALED: Final = r"\b[0-9]{1,4}\.[0-9a-f]{12}\.[A-Za-z0-9_-]{38,}"
_MASK: Final = "[token]"
_ESCAPED: Final = r"\\u00([2-7][0-9A-Fa-f])"


def redact(text: str, secrets: Iterable[str] = ()) -> str:
    """Returns the text with ``[token]`` in place of secrets, for logs, error reports and recorded answers.

    Replaced are: what looks like a Wix token or its beginning; the value of a field with a token's name, such as
    ``access_token`` or ``refreshToken``, in JSON or in a form; wixvisitor's sealed cookies; and the secrets that you
    name. Tokens are found in any text: JSON, headers such as ``Authorization``, ``Cookie`` and ``Set-Cookie``, and
    URL-encoded values. JSON is still JSON afterwards. A text without secrets stays as it is.

    Args:
        text: any text.
        secrets: further texts to replace, such as an API key, also where they stand in JSON; empty ones are ignored.

    Concurrency: safe anywhere; it keeps nothing.
    """
    spellings = {spelling for secret in filter(None, secrets) for spelling in _spellings(secret)}
    for secret in sorted(spellings, key=len, reverse=True):  # the longer first: one may contain another
        text = text.replace(secret, _MASK)
    for pattern in (_TOKEN, _SEALED):
        text = re.sub(pattern, _MASK, text)  # ``re`` compiles at first use, and caches
    return re.sub(_NAMED, rf"\1{_MASK}", text)


def _spellings(secret: str) -> set[str]:
    """Returns the secret as it is, as it stands in JSON, and in JSON in JSON: some errors quote the whole request."""
    found = {secret}
    for ensure_ascii in (True, False):
        once = json.dumps(secret, ensure_ascii=ensure_ascii)[1:-1]
        found |= {once, json.dumps(once, ensure_ascii=ensure_ascii)[1:-1]}
    return found


def unescaped(text: str) -> str:
    """Returns the text with JSON's escapes of ASCII characters decoded, because an escape can hide a token.

    The result may no longer be valid JSON.
    """
    return re.sub(_ESCAPED, lambda found: chr(int(found[1], 16)), text).replace("\\/", "/")


def safe_cause(error: E, secrets: Iterable[str] = ()) -> E | None:
    """Returns the exception without its frames, so that it can be a cause; None if a text in its chain is secret."""
    known = tuple(secrets)
    texts = (f"{link} {link!r} {getattr(link, '__notes__', '')}" for link in _chain(error))
    return without_frames(error) if all(redact(text, known) == text for text in texts) else None


def without_frames(error: E) -> E:
    """Returns the exception after dropping its frames and its causes': their locals hold a token request's bytes."""
    for link in _chain(error):
        link.__traceback__ = None
    return error


def drop_request_frames(
    error: BaseException, transport_error: type[BaseException], outer: BaseException | None
) -> None:
    """Drops the frames whose locals hold a request's bytes.

    Of a cancellation these are its own frames; of a transport error, those of its causes.

    Args:
        error: what the client raised. Unless it is a cancellation, its own frames stay.
        transport_error: the class of the client's transport errors.
        outer: the exception that was being handled before. Its frames are the caller's and stay.
    """
    if not isinstance(error, Exception):
        error.__traceback__ = None
    elif isinstance(error, transport_error):
        for link in _chain(error, outer):
            if link is not error:
                link.__traceback__ = None


def drops_frames(function: F) -> F:
    """Decorates a function whose locals hold secrets: its exceptions carry no frames of it.

    The reason is that error reporters print the local variables of each frame.
    """

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
    """``drops_frames`` for an asynchronous function. It drops the frames of a cancellation, too."""

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
        outer: the exception that was being handled before. Its frames are the caller's and stay.
    """
    for link in _chain(error, outer):
        link.__traceback__ = None


def _chain(error: BaseException, end: BaseException | None = None) -> Iterator[BaseException]:
    """Yields the exception, its causes and contexts, and the members of groups. Stops at ``end``."""
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
