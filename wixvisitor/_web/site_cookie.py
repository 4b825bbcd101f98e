"""The cookies that keep one site's visitor: their names, which visitor they hold, and what an answer sets.

Rule 1, OTHERS: a cookie that another site on the host has written is left alone. If the application, or the page's
front end, has chosen the name, and another site uses the same name, our cookie gets a second name.
Rule 2, OLDER VERSIONS: their name did not depend on the site. A visitor with that name has it until a login or logout.
Rule 3, PLANTED: if a request names several visitors, none of them is taken, since an attacker may have planted one. The
same set of visitors always leads to the same new visitor. The answer removes the copies that it can tell from the real
cookie.
Rule 4, TOO LARGE: an answer keeps as much of its visitor as fits. A visitor that is too large never makes it an error.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from typing import Final

import attrs

from wixvisitor._tasks.log import logger
from wixvisitor._tokens import Tokens
from wixvisitor._web.headers import cookies_of, longer_paths
from wixvisitor._web.ttl_cache import MAX_VISITORS, TTLCache
from wixvisitor._wire.redaction import drops_frames
from wixvisitor.cookies import VisitorCookie
from wixvisitor.cookies._content import CookieContent, Foreign, Opened, Unreadable
from wixvisitor.cookies._parts import parts_among
from wixvisitor.cookies._sealed import SealedForm
from wixvisitor.errors import ConfigurationError

_MAX_REMOVED: Final = 2_000  # bytes of removals in one answer; a proxy's buffer for all headers may have 4,096
_SPLIT: Final = (
    "wixvisitor: the visitor's tokens are too large for one cookie, so %s is split over %d. nginx answers 502 to "
    "headers that are larger than its proxy_buffer_size (4k or 8k): raise it, or keep the tokens in a storage, with "
    "cookie=IdCookie(…)."
)
_NO_ACCESS: Final = (
    "wixvisitor: the visitor's tokens are too large, so %s keeps only the refresh token, and a request in another "
    "process renews the access token first. Keep the tokens in a storage, with cookie=IdCookie(…)."
)
_TAKEN: Final = (
    "wixvisitor: a browser's cookie %s seems to belong to another site on this host (or its key was removed). It is "
    "left alone; this site's visitor is kept in %s. Give each site a name= of its own, or a host of its own."
)


@attrs.frozen
class Reading:
    """What a request's cookies say.

    Attributes:
        content: the visitor; None: they hold none.
        name: the cookie's name under which an answer keeps this visitor.
        new_name: the cookie's name under which an answer keeps another visitor.
        held: the names of the cookies that hold a visitor of ours.
        doubled: those of these names that several cookies have.
        sent: the names of all cookies that may be ours.
    """

    content: CookieContent | None
    name: str
    new_name: str
    held: tuple[str, ...] = ()
    doubled: tuple[str, ...] = ()
    sent: tuple[str, ...] = ()


@attrs.frozen
class _Found:
    """The visitor in the cookies of one name. Several visitors are replaced by one that is derived from them."""

    contents: tuple[CookieContent, ...] = ()
    content: CookieContent | None = None
    is_failure: bool = False


_NOTHING: Final = _Found()


@attrs.define(eq=False, repr=False)
class _Before:
    """What a cookie said a moment ago.

    Attributes:
        opened: that cookie.
        reading: what was read from that request, in which it was the only cookie of ours.
    """

    opened: Opened
    reading: Reading | None = None


def _only_pair(sent: Mapping[str, Sequence[str]]) -> str:
    """Returns the only one of these cookies as the browser sends it, ``""`` if there are several or none."""
    if len(sent) == 1:
        [(name, values)] = sent.items()
        if len(values) == 1:
            return f"{name}={values[0]}"
    return ""


class SiteCookie:
    """Reads and writes the cookies of one site.

    Args:
        form: what a cookie holds, and how it is written.
        client_id: the site's.
        clock: seconds since the epoch.

    Concurrency: for one event loop at a time.
    """

    def __init__(self, form: VisitorCookie | SealedForm, client_id: str, clock: Callable[[], float]) -> None:
        self.form = form
        self._names = form.names(client_id)
        self._client_id, self._clock = client_id, clock
        self._reserving = SiteCookie(form.reservation, client_id, clock) if form.reservation is not None else None
        self._said: set[str] = set()
        self._pairs = TTLCache[bool]()  # cookie names that were logged already
        self._before = TTLCache[_Before](most=MAX_VISITORS)  # the keys are cookies as the browser sends them

    # The request

    @drops_frames
    def read(self, header: str) -> Reading:
        """Returns what a ``Cookie`` header says."""
        sent = cookies_of(header, self._names.first, self._names.second)
        reading = self._read_again(sent) or self._read_anew(sent)
        if reading.content is None and self._reserving is not None:
            return attrs.evolve(reading, content=self._reserving.read(header).content)
        return reading

    def _read_anew(self, sent: Mapping[str, Sequence[str]]) -> Reading:
        names = (self._names.first, self._names.second)
        found = {name: self._found(name, sent) if name in sent else _NOTHING for name in names}
        reading = self._chosen(found, tuple(sent))
        before = self._before.get(_only_pair(sent))
        if before is not None:
            before.reading = reading
        return reading

    def _chosen(self, found: Mapping[str, _Found], sent: tuple[str, ...]) -> Reading:
        first, second = self._names.first, self._names.second
        is_taken = self._names.is_common and found[first].is_failure
        new_name = second if is_taken else first
        content, name = found[first].content, first
        if content is None and is_taken:
            self._say_once(_TAKEN, first, second)
        other = found[second].content
        if content is None and other is not None:
            goes_back = self._names.is_common and not is_taken
            content, name = attrs.evolve(other, is_due=other.is_due or goes_back), first if goes_back else second
        return Reading(
            content,
            name if content else new_name,
            new_name,
            held=tuple(name for name in found if found[name].contents),
            doubled=tuple(name for name in found if len(found[name].contents) > 1),
            sent=sent,
        )

    def _read_again(self, sent: Mapping[str, Sequence[str]]) -> Reading | None:
        """Returns what was read from our only cookie a moment ago, None if that has changed."""
        before = self._before.get(_only_pair(sent))
        if before is None or before.reading is None:
            return None
        with suppress(Unreadable):
            if self.form.dated(before.opened, self._clock()) is before.reading.content:
                return before.reading
        return None

    def _found(self, name: str, sent: Mapping[str, Sequence[str]]) -> _Found:
        contents, is_failure = [], False
        for value in sent[name]:
            try:
                contents.append(self._read(name, value, sent))
            except Unreadable as error:
                is_failure = is_failure or isinstance(error, Foreign)
                logger.info("wixvisitor: the cookie %s is not taken: %s", name, error)
        return _Found(tuple(contents), self._one_of(name, contents), is_failure and not contents)

    def _read(self, name: str, value: str, sent: Mapping[str, Sequence[str]]) -> CookieContent:
        """Returns what one cookie says. A cookie that was opened a moment ago is not opened again."""
        pair = f"{name}={value}"
        before = self._before.get(pair)
        if before is None:
            before = _Before(self.form.open(value, self._client_id, name=name, others=sent))
            if not before.opened.is_split:
                self._before.put(pair, before)
        return self.form.dated(before.opened, self._clock())

    def _one_of(self, name: str, contents: list[CookieContent]) -> CookieContent | None:
        keys = {content.key for content in contents}
        if len(keys) < 2:
            return max(contents, key=lambda content: content.tokens.access_token.expires_at, default=None)
        content = CookieContent(self.form.derive(keys), is_derived=True)
        if self._pairs.get(content.key) is None:
            self._pairs.put(content.key, True)
            logger.warning("wixvisitor: two different cookies %s; one of them may be planted, so none is used", name)
        return content

    # The answer

    def check(self, reading: Reading, tokens: Tokens) -> None:
        """Raises a ConfigurationError if cookies cannot keep these tokens of a new visitor."""
        if self.form.holds_tokens:
            self.form.write_all(CookieContent("-" * 43, tokens), self._client_id, self._clock(), name=reading.new_name)

    def check_refresh(self, reading: Reading, tokens: Tokens) -> None:
        """Raises a ConfigurationError if cookies cannot keep even the refresh token of these tokens."""
        self.check(reading, self.form.without_access(tokens, self._clock()))

    def keeps(self, reading: Reading, tokens: Tokens) -> bool:
        """Whether the browser's cookies already hold as much of these tokens as fits."""
        given = reading.content.tokens if reading.content is not None else None
        if given is None or given.refresh_token != tokens.refresh_token or given.access_token.value:
            return given == tokens
        try:
            self.check(reading, tokens)
        except ConfigurationError:
            return True
        return False

    @drops_frames
    def write(self, reading: Reading, content: CookieContent, *, anew: bool) -> list[str]:
        """Returns the ``Set-Cookie`` headers that keep a visitor: as much of it as fits (rule 4, TOO LARGE).

        Args:
            reading: the request's.
            content: the visitor.
            anew: whether it is another visitor than the request's, for instance after a login.
        """
        name = reading.new_name if anew else reading.name
        headers = self._fitting(content, name)
        if not headers:
            return []
        written = {header.partition("=")[0] for header in headers}
        left = [other for other in reading.held if other != name and (anew or self._names.is_common)]
        gone = [*left, *(part for other in (name, *left) for part in parts_among(reading.sent, other))]
        return headers + [self.form.clear(other) for other in gone if other not in written]

    def reserve(self, reading: Reading, content: CookieContent, *, anew: bool) -> list[str]:
        """Returns the ``Set-Cookie`` headers that keep a visitor without tokens."""
        if self._reserving is not None:
            return [self._reserving.form.write(content, self._client_id, self._clock())]
        return self.write(reading, content, anew=anew)

    def forget(self, reading: Reading) -> list[str]:
        """Returns the ``Set-Cookie`` headers that remove every cookie that may be ours."""
        names = dict.fromkeys([*reading.held, reading.new_name])
        reserved = [] if self._reserving is None else [self._reserving.form.clear(self._reserving._names.first)]
        return [*(self.form.clear(name) for name in names), *reserved]

    def remove_copies(self, reading: Reading, path: str) -> list[str]:
        """Returns the ``Set-Cookie`` headers that remove copies. The cookie at the path ``/`` stays (rule 3, PLANTED).

        Args:
            reading: the request's.
            path: the request's, encoded as the browser sent it.
        """
        names = [each for name in reading.doubled for each in (name, *parts_among(reading.sent, name))]
        paths = longer_paths(path) if names else []
        removals = [self.form.clear(name, prefix) for prefix in paths for name in names]
        sizes = itertools.accumulate(map(len, removals))
        return [removal for removal, size in zip(removals, sizes, strict=True) if size <= _MAX_REMOVED]

    def _fitting(self, content: CookieContent, name: str) -> list[str]:
        now = self._clock()
        try:
            headers = self.form.write_all(content, self._client_id, now, name=name)
        except ConfigurationError:
            self._say_once(_NO_ACCESS, name)
            lean = attrs.evolve(content, tokens=self.form.without_access(content.tokens, now))
        else:
            if len(headers) > 1:
                self._say_once(_SPLIT, name, len(headers))
            return headers
        try:
            return self.form.write_all(lean, self._client_id, now, name=name)
        except ConfigurationError as error:
            logger.error("wixvisitor: the visitor is lost with this answer: %s", error)
            return []

    def _say_once(self, text: str, *arguments: object) -> None:
        if text not in self._said:
            self._said.add(text)
            logger.warning(text, *arguments)
