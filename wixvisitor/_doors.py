"""Doors: objects whose methods are async methods of another object, called in the background loop."""

from __future__ import annotations

import functools
from collections.abc import Awaitable, Callable, Coroutine, Iterator
from contextlib import AbstractAsyncContextManager, contextmanager
from types import TracebackType
from typing import TYPE_CHECKING, Any, Concatenate, Generic, ParamSpec, Protocol, TypeVar

import httpx

from wixvisitor._http.sync_response import read_in_loop
from wixvisitor._tasks.background_loop import Call, background
from wixvisitor.errors import ConfigurationError

P = ParamSpec("P")
R = TypeVar("R")
A = TypeVar("A")

A_contra = TypeVar("A_contra", contravariant=True)
ItemT_co = TypeVar("ItemT_co", covariant=True)

if TYPE_CHECKING:
    from wixvisitor.apis._paging import Pages
else:
    Pages = list  # stands in annotations: few programs need the real one


class Paged(Protocol[A_contra, P, ItemT_co]):
    """``wixvisitor.apis._paging.Paged``, for checkers; it is not imported here."""

    @property
    def pages(self) -> Pages[ItemT_co]:
        """How it pages."""
        ...

    def __call__(self, visitor: A_contra, /, *args: P.args, **kwargs: P.kwargs) -> Coroutine[Any, Any, Any]:
        """Returns one page."""
        ...


class Door(Generic[A]):
    """A door to an async object.

    Args:
        inner: the async object.
        user: what keeps the loop alive until it is closed: the object, or the pool that it belongs to. If it has an
            attribute ``is_closed`` that is true, no call is made.
    """

    __slots__ = ("__weakref__", "_inner", "_user")

    def __init__(self, inner: A, user: Any) -> None:
        self._inner, self._user = inner, user

    def _run(self, work: Call[R]) -> R:
        if getattr(self._user, "is_closed", False):
            raise ConfigurationError("This pool is closed. Enter it again (with pool: …), or make another one.")
        return background.run(self._user, work)

    @contextmanager
    def _opened(self, opening: AbstractAsyncContextManager[httpx.Response]) -> Iterator[httpx.Response]:
        with background.entered(self._user, opening) as response:
            yield read_in_loop(response, self._run)

    def _each(self, function: Any, /, *arguments: Any, **options: Any) -> Iterator[Any]:
        """Returns the items of all pages. Each page is a call of its own, so nothing stays open between two items."""
        from wixvisitor.apis._paging import pages_of  # noqa: PLC0415 - few programs need it

        return self._items(pages_of(function), functools.partial(function, self._inner, *arguments), options)

    def _items(self, pages: Any, page: Callable[..., Awaitable[Any]], options: dict[str, Any]) -> Iterator[Any]:
        from wixvisitor.apis._paging import following  # noqa: PLC0415 - as above

        left: dict[str, Any] | None = options
        while left is not None:
            answer = self._run(Call(functools.partial(page, **left)))
            items = pages.items(answer)
            yield from items
            left = following(pages, left, answer, len(items))

    def __repr__(self) -> str:
        return f"<blocking {self._inner!r}>"


class ClosedDoor(Door[A]):
    """A door that is closed at the end."""

    __slots__ = ()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Closes it. May be called twice."""
        background.close(self._user)


def blocking(method: Callable[Concatenate[Any, P], Awaitable[R]]) -> Callable[Concatenate[Door[Any], P], R]:
    """Returns an async method as a plain one, with the same arguments and documentation.

    The object's own method is called, which a subclass may have made anew.
    """
    name = method.__name__

    @functools.wraps(method)
    def call(self: Door[Any], /, *arguments: Any, **options: Any) -> R:
        work: Call[R] = Call(functools.partial(getattr(self._inner, name), *arguments, **options))
        del arguments, options  # error reporters print local variables
        return self._run(work)

    return call


def awaitable(function: Callable[[], R]) -> Callable[[], Awaitable[R]]:
    """Returns a plain function as an async one, so that it is called in the loop."""

    async def call() -> R:
        return function()

    return call
