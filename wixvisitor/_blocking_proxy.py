"""Blocking proxies: their methods run the async methods of another object in the background loop."""

from __future__ import annotations

import functools
from collections.abc import Awaitable, Callable, Coroutine, Iterator
from contextlib import AbstractAsyncContextManager, AbstractContextManager, contextmanager, suppress
from types import TracebackType
from typing import TYPE_CHECKING, Any, Concatenate, Generic, ParamSpec, Protocol, TypeVar, Unpack

import httpx

from wixvisitor._http.arguments import RequestArguments, URLTypes
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


class BlockingProxy(Generic[A]):
    """Runs the methods of an async object in the background loop.

    Args:
        inner: the async object.
        owner: what keeps the loop alive until it is closed: the object, or the pool that it belongs to. If it has an
            attribute ``is_closed`` that is true, no call is made.
    """

    __slots__ = ("__weakref__", "_inner", "_owner")

    def __init__(self, inner: A, owner: Any) -> None:
        self._inner, self._owner = inner, owner

    def _run(self, work: Call[R]) -> R:
        self._check_open()
        return background.run(self._owner, work)

    def _check_open(self) -> None:
        if getattr(self._owner, "is_closed", False):
            raise ConfigurationError("This pool is closed. Enter it again (with pool: …), or make another one.")

    def __repr__(self) -> str:
        return f"<blocking {self._inner!r}>"


class CallingProxy(BlockingProxy[A]):
    """A blocking proxy that sends requests, and runs functions with its async object."""

    __slots__ = ()

    def call(
        self, function: Callable[Concatenate[A, P], Awaitable[R]], /, *arguments: P.args, **options: P.kwargs
    ) -> R:
        """Runs an async function in the background loop, with the async session as its first argument.

        For example ``visitor.call(my_function, "apples", number=3)``, or a function of ``wixvisitor.apis``:
        ``visitor.call(posts.get_post_by_slug, slug="news")``. The function must not call this blocking session: it uses
        the async one that it gets.

        Args:
            function: an async function.
            arguments: its further arguments.
            options: its keyword arguments.

        Raises:
            ConfigurationError: this is no function.
            What the function raises.
        """
        if not callable(function):
            raise ConfigurationError("call: expected an async function and its further arguments; do not call it here")
        work: Call[R] = Call(functools.partial(function, self._inner, *arguments, **options))
        del arguments, options  # error reporters print local variables
        return self._run(work)

    def each(self, function: Paged[A, P, R], /, *arguments: P.args, **options: P.kwargs) -> Iterator[R]:
        """Yields the items of all pages of a call, as ``wixvisitor.apis.each``: ``for post in visitor.each(…)``.

        For example ``visitor.each(products_v3.query_products, query={})``. Each page is asked for when the items before
        it are used up. The loop may be left early, and is for one thread at a time.

        Args:
            function: a function of ``wixvisitor.apis`` that pages.
            arguments: none; its arguments have names.
            options: its keyword arguments.

        Raises:
            ConfigurationError: the function has no pages.
            What the function raises.
        """
        return self._each(function, *arguments, **options)

    def stream(
        self, method: str, url: URLTypes, **arguments: Unpack[RequestArguments]
    ) -> AbstractContextManager[httpx.Response]:
        """``with visitor.stream("GET", …) as response``: the body is read as it comes, with ``iter_bytes`` and so on.

        Raises: as ``request``.
        """
        inner: Any = self._inner
        return self._opened(inner.stream(method, url, **arguments))

    @contextmanager
    def _opened(self, opening: AbstractAsyncContextManager[httpx.Response]) -> Iterator[httpx.Response]:
        self._check_open()
        with background.entered(self._owner, opening) as response:
            answer = read_in_loop(response, self._run)
            yield answer
        if answer is not response:
            with suppress(RuntimeError):  # a mock's stream measures no time
                answer.elapsed = response.elapsed

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


class ClosableProxy(BlockingProxy[A]):
    """A blocking proxy that is closed at the end."""

    __slots__ = ()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Closes it. May be called twice."""
        background.close(self._owner)


def blocking(method: Callable[Concatenate[Any, P], Awaitable[R]]) -> Callable[Concatenate[BlockingProxy[Any], P], R]:
    """Returns an async method as a plain one, with the same arguments and documentation.

    The object's own method is called, which a subclass may have made anew.
    """
    name = method.__name__

    @functools.wraps(method)
    def call(self: BlockingProxy[Any], /, *arguments: Any, **options: Any) -> R:
        work: Call[R] = Call(functools.partial(getattr(self._inner, name), *arguments, **options))
        del arguments, options  # error reporters print local variables
        return self._run(work)

    return call


class InLoop(Generic[R]):
    """A plain function that is called in the loop. Its repr shows no arguments, which may be secrets."""

    __slots__ = ("_function",)

    def __init__(self, function: Callable[[], R]) -> None:
        self._function = function

    async def __call__(self) -> R:
        """Returns the function's result."""
        return self._function()
