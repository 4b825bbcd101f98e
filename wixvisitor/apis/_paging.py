"""All pages of a call. Wix pages by cursors or by offsets, and says in its answer whether more is to come.

A cursor holds the whole query, so what follows the first page sends the cursor alone, as ``@wix/sdk`` does
(``query-builder.js`` of @wix/sdk-runtime 1.0.25).
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, Callable, Coroutine, Mapping
from typing import Any, Final, Generic, ParamSpec, Protocol, TypeVar, cast

from wixvisitor.errors import ConfigurationError, WixAPIError

P = ParamSpec("P")
AnswerT = TypeVar("AnswerT")
AnswerT_co = TypeVar("AnswerT_co", covariant=True)
ItemT_co = TypeVar("ItemT_co", covariant=True)

_METADATA: Final = ("pagingMetadata", "metadata", "metaData", "cursorPagingMetadata")

Place = tuple[str, ...]
"""Where a call's paging stands: ("query", "cursorPaging") is a key of the argument ``query``."""


class Pages(Generic[ItemT_co]):
    """How a function pages.

    Attributes:
        items: returns a page's items.
        cursor: where the cursor goes; None if the function has none.
        offset: where limit and offset go; ``()`` if they are arguments of their own; None if the function has none.
    """

    __slots__ = ("cursor", "items", "offset")

    def __init__(self, items: Callable[[Any], list[ItemT_co]], cursor: Place | None, offset: Place | None) -> None:
        self.items, self.cursor, self.offset = items, cursor, offset


class Paged(Protocol[P, AnswerT_co, ItemT_co]):
    """A function whose answers are pages."""

    @property
    def pages(self) -> Pages[ItemT_co]:
        """How it pages."""
        ...

    def __call__(self, *args: P.args, **kwargs: P.kwargs) -> Coroutine[Any, Any, AnswerT_co]:
        """Returns one page."""
        ...


def paged(
    items: Callable[[AnswerT], list[ItemT_co]], *, cursor: Place | None = None, offset: Place | None = None
) -> Callable[[Callable[P, Coroutine[Any, Any, AnswerT]]], Paged[P, AnswerT, ItemT_co]]:
    """Says how a function pages. The function stays as it is."""

    def mark(function: Callable[P, Coroutine[Any, Any, AnswerT]]) -> Paged[P, AnswerT, ItemT_co]:
        function.pages = Pages(items, cursor, offset)  # type: ignore[attr-defined]
        return cast("Paged[P, AnswerT, ItemT_co]", function)

    return mark


async def each(function: Paged[P, AnswerT_co, ItemT_co], *args: P.args, **kwargs: P.kwargs) -> AsyncGenerator[ItemT_co]:
    """Yields the items of all pages of a call.

    ``async for product in each(products_v3.query_products, visitor, query={...})``. Each page is asked for when the
    items before it are used up. Where Wix pages by offsets, what changes meanwhile may appear twice or not at all.

    Args:
        function: a function of ``wixvisitor.apis`` that pages.
        args: the visitor.
        kwargs: the function's arguments, with the first page's ``limit`` if you like.

    Raises:
        ConfigurationError: the function has no pages.
        What the function raises.

    Concurrency: each loop has its own pages.
    Cancellation: as of the function; the items so far have been yielded.
    """
    pages = pages_of(function)
    arguments: dict[str, Any] | None = dict(kwargs)
    while arguments is not None:
        answer: Any = await cast("Any", function)(*args, **arguments)
        items = pages.items(answer)
        for item in items:
            yield item
        arguments = following(pages, arguments, answer, len(items))


def pages_of(function: object) -> Pages[Any]:
    """Returns how a function pages. Raises ``ConfigurationError`` if it does not."""
    pages = getattr(function, "pages", None)
    if not isinstance(pages, Pages):
        raise ConfigurationError("each: expected a function of wixvisitor.apis whose answers are pages")
    return pages


def following(
    pages: Pages[Any], arguments: dict[str, Any], answer: Mapping[str, Any], count: int
) -> dict[str, Any] | None:
    """Returns the arguments of the next page; None after the last. Pure.

    Args:
        pages: how the function pages.
        arguments: those of the page before.
        answer: that page.
        count: the number of its items.

    Raises:
        WixAPIError: more is to follow, and the cursor is the same again.
    """
    found = next((answer[key] for key in _METADATA if isinstance(answer.get(key), Mapping)), answer)
    cursor = (found.get("cursors") or {}).get("next")
    if cursor and pages.cursor is not None:
        if cursor != _at(pages.cursor, arguments).get("cursor"):
            return _with_cursor(pages.cursor, arguments, cursor)
        if found.get("hasNext") is True:
            raise WixAPIError("the answer says that more follows, and gives the same cursor again", status_code=200)
        return None
    if not count or pages.offset is None or _has_cursor(pages.cursor, arguments):
        return None
    return _with_offset(pages.offset, arguments, {**answer, **found}, count)


def _has_cursor(place: Place | None, arguments: Mapping[str, Any]) -> bool:
    return place is not None and bool(_at(place, arguments))


def _at(place: Place, arguments: Mapping[str, Any]) -> Mapping[str, Any]:
    value: Any = arguments
    for key in place:
        value = value.get(key) or {}
    return cast("Mapping[str, Any]", value)


def _with_cursor(place: Place, arguments: dict[str, Any], cursor: str) -> dict[str, Any]:
    paging = {**_at(place, arguments), "cursor": cursor}
    first, *rest = place
    return {**arguments, first: {rest[0]: paging} if rest else paging}


def _with_offset(
    place: Place, arguments: dict[str, Any], found: Mapping[str, Any], count: int
) -> dict[str, Any] | None:
    before = _at(place, arguments)
    offset = (before.get("offset") or 0) + count
    if not _has_more(found, offset, count, before.get("limit") or found.get("limit")):
        return None
    if not place:
        return {**arguments, "offset": offset}
    first, *rest = place
    paging = {**before, "offset": offset}
    return {**arguments, first: {**(arguments.get(first) or {}), rest[0]: paging} if rest else paging}


def _has_more(found: Mapping[str, Any], offset: int, count: int, limit: int | None) -> bool:
    """Whether an answer says that items follow this offset. An answer that does not say it is the last."""
    total = found.get("total", found.get("totalResults"))
    if found.get("hasNext") is not None:
        return bool(found["hasNext"])
    if isinstance(total, int):
        return offset < total
    return bool(found.get("tooManyToCount")) or (limit is not None and count >= limit)
