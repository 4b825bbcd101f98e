"""What the login's routes answer: a redirect, JSON, or a short page that says what happened. Pure."""

from __future__ import annotations

import base64
import hashlib
import json
from collections.abc import Iterable
from html import escape
from typing import Final
from urllib.parse import quote

import attrs

_STYLE: Final = (
    ":root{color-scheme:light dark}body{max-width:34rem;margin:12vh auto;padding:0 1.2rem;font:1.05rem/1.6 system-ui,"
    "sans-serif}h1{line-height:1.2}ul{padding:0;list-style:none}li{margin:.9rem 0}"
)
_STYLE_HASH: Final = base64.b64encode(hashlib.sha256(_STYLE.encode()).digest()).decode()
_HEADERS: Final = (
    ("Cache-Control", "no-store"),
    ("X-Robots-Tag", "noindex, nofollow"),
    ("Referrer-Policy", "no-referrer"),  # the callback's address holds a code
    ("X-Content-Type-Options", "nosniff"),
    (
        "Content-Security-Policy",
        f"default-src 'none'; style-src 'sha256-{_STYLE_HASH}'; frame-ancestors 'none'; base-uri 'none'",
    ),
)
_ASCII: Final = "".join(map(chr, range(33, 127)))  # an address may hold all of them; the rest would break a header
_PAGE: Final = (
    '<!doctype html><html lang="en"><head><meta charset="utf-8"><title>{title}</title>'
    '<meta name="viewport" content="width=device-width"><style>{style}</style></head>'
    "<body><h1>{title}</h1><p>{text}</p><ul>{links}</ul></body></html>"
)
# Status, title and text. They say nothing that came with the request.
_TEXTS: Final = {
    "over": (400, "This login is over", "It ended already, or it did not begin in this browser. Nothing changed."),
    "expired": (400, "This login took too long", "A login has to end within 30 minutes. Nothing changed."),
    "changed": (400, "This login is out of date", "Another login or logout came in between. Nothing changed."),
    "refused": (400, "You are not logged in", "The login was refused or cancelled. Nothing changed."),
    "cookies": (403, "Cookies are needed", "A login does not work without cookies. Allow them and try again."),
    "prefetch": (503, "Not yet", "This address is loaded only when it is opened."),
    "foreign": (403, "Not from here", "A page of another site sent this request. Nothing changed."),
    "method": (405, "Not like this", "This address takes another method."),
    "missing": (404, "Nothing is here", "This address has no page."),
    "fields": (400, "Something is missing", "The form is not complete. Nothing changed."),
    "too_large": (413, "Too much", "The form is too large. Nothing changed."),
    "unavailable": (503, "Please try again", "The shop's service does not answer now. Nothing changed."),
    "failed": (502, "This does not work now", "The shop's service refused the request. Nothing changed."),
}


@attrs.frozen
class Answer:
    """An answer of the login's routes.

    Attributes:
        status: the HTTP status.
        headers: names and values, ``Set-Cookie`` included.
        body: its content.
        reason: what a page says; ``""`` for other answers.
    """

    status: int
    headers: tuple[tuple[str, str], ...] = attrs.field(repr=False)
    body: bytes = attrs.field(default=b"", repr=False)
    reason: str = ""

    def plus(self, *, cookies: Iterable[str]) -> Answer:
        """Returns the answer with these ``Set-Cookie`` headers."""
        more = tuple(("Set-Cookie", cookie) for cookie in cookies)
        return attrs.evolve(self, headers=(*self.headers, *more))


def redirect(url: str) -> Answer:
    """Returns an answer that sends the browser there by GET (RFC 9110, section 15.4.4)."""
    return Answer(303, (*_HEADERS, ("Location", quote(url, safe=_ASCII))))


def in_json(status: int, **content: str) -> Answer:
    """Returns an answer for a script of the page."""
    return Answer(status, (*_HEADERS, ("Content-Type", "application/json")), json.dumps(content).encode())


def page(reason: str, *, links: Iterable[tuple[str, str]] = (), headers: Iterable[tuple[str, str]] = ()) -> Answer:
    """Returns the page for this reason.

    Args:
        reason: one of the known reasons.
        links: paths and their texts.
        headers: more headers.
    """
    status, title, text = _TEXTS[reason]
    items = "".join(f'<li><a href="{escape(path)}">{escape(name)}</a></li>' for path, name in links)
    content = _PAGE.format(style=_STYLE, title=escape(title), text=escape(text), links=items)
    kind = ("Content-Type", "text/html; charset=utf-8")
    return Answer(status, (*_HEADERS, kind, *headers), content.encode(), reason)


def for_script(answer: Answer) -> Answer:
    """Returns a page as JSON, with its status and further headers; any other answer as it is."""
    if not answer.reason:
        return answer
    found = in_json(answer.status, error=answer.reason)
    more = tuple(pair for pair in answer.headers if pair[0] in ("Retry-After", "Set-Cookie"))
    return attrs.evolve(found, headers=(*found.headers, *more))
