"""A shop in which something goes wrong: before, during and after a call to Wix, and while the answer starts."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import contextmanager
from typing import Any

import attrs
from sentry_sdk.integrations.asgi import SentryAsgiMiddleware

from tests.web.conftest import KEY
from tests.web.shops import APPS, CART, Answer, Shop, _look_of
from wixvisitor import RefreshToken, TokenRole, VisitorSession, raise_for_error
from wixvisitor.storage import ANY_VERSION, FileStorage, MemoryStorage
from wixvisitor.storage._protocol import takes_expected
from wixvisitor.testing import FakeWix

LONG = "JWS." + "x9" * 2_500  # a refresh token that fits into no cookie
Handler = Callable[[VisitorSession], Awaitable[Answer]]


@attrs.define
class TroubledShop(Shop):
    """Each handler but ``cart`` ends in an error that nobody handles.

    Attributes:
        storage: what can be broken, None if there is none.
    """

    fake: FakeWix = attrs.field(factory=FakeWix)
    storage: Any = None

    @property
    def unlooked(self) -> list[Any]:
        return [self.unseen]

    @property
    def looking(self) -> list[Handler]:
        before = [self.cart, self.asked_for_consent, self.early, self.logged_out]
        during = [self.dropped, self.refused_by_wix, self.hung, self.outage, self.other_hung, self.broken_store]
        return [*before, *during, self.boom, self.too_long, self.torn]

    async def unseen(self, look: Any) -> Answer:
        raise ZeroDivisionError

    async def asked_for_consent(self, visitor: VisitorSession) -> Answer:
        raise AssertionError(visitor)  # see consents()

    async def early(self, visitor: VisitorSession) -> Answer:
        raise ZeroDivisionError

    async def logged_out(self, visitor: VisitorSession) -> Answer:
        await self.logout(visitor)
        raise ZeroDivisionError

    async def dropped(self, visitor: VisitorSession) -> Answer:
        with removed(self.fake.drop(path=CART, times=None)):
            return await self.cart(visitor)

    async def refused_by_wix(self, visitor: VisitorSession) -> Answer:
        self.fake.fail(500, body={"message": "no"}, path=CART)
        raise_for_error(await visitor.get(CART))
        raise AssertionError

    async def hung(self, visitor: VisitorSession) -> Answer:
        self.fake.hang(path=CART)
        async with asyncio.timeout(0.2):
            return await self.cart(visitor)

    async def outage(self, visitor: VisitorSession) -> Answer:
        with removed(self.fake.fail(404, times=None)):
            await visitor.renew_token()
        raise AssertionError

    async def other_hung(self, visitor: VisitorSession) -> Answer:
        other = RefreshToken(visitor.get_tokens().refresh_token.value + "X", TokenRole.VISITOR)
        self.fake.hang()
        async with asyncio.timeout(0.2):
            await visitor.renew_token(other)
        raise AssertionError

    async def broken_store(self, visitor: VisitorSession) -> Answer:
        """A login whose tokens the store does not take; where they live in the cookie there is no store to break."""
        if self.storage is not None:
            with self.storage.broken():
                await visitor.set_tokens(self.member)
        raise ZeroDivisionError

    async def too_long(self, visitor: VisitorSession) -> Answer:
        tokens = visitor.get_tokens()
        await visitor.set_tokens(attrs.evolve(tokens, refresh_token=RefreshToken(LONG, TokenRole.VISITOR)))
        if not self.cookie.holds_tokens:
            raise ZeroDivisionError
        return Answer({})

    async def torn(self, visitor: VisitorSession) -> Answer:
        await self.cart(visitor)

        async def parts() -> AsyncIterator[bytes]:
            yield b"begin"
            await visitor.get(CART)
            raise ZeroDivisionError

        return Answer(parts())


def consents(request: Any) -> bool:
    """The application's question for consent, which fails at one page."""
    path = request.path if hasattr(request, "path") else request["path"]
    if path == "/asked_for_consent":
        raise ZeroDivisionError
    return True


@contextmanager
def removed(fault: Any) -> Iterator[None]:
    try:
        yield
    finally:
        fault.remove()


class Breaking:
    """Another store, which for a while cannot save, and quotes what it was given."""

    def __init__(self, inner: Any) -> None:
        self._inner, self._broken = inner, False
        self.delete, self.acquire_lease = inner.delete, getattr(inner, "acquire_lease", None)
        self.release_lease = getattr(inner, "release_lease", None)
        if self.acquire_lease is None:
            del self.acquire_lease, self.release_lease
        if not takes_expected(inner):
            vars(self)["save"] = self._save_whatever_there_is

    async def load(self, key: str) -> Any:
        return await self._inner.load(key)

    async def save(self, key: str, value: str, *, expected: Any = ANY_VERSION) -> Any:
        self._check(value)
        return await self._inner.save(key, value, expected=expected)

    async def _save_whatever_there_is(self, key: str, value: str) -> Any:
        self._check(value)
        return await self._inner.save(key, value)

    def _check(self, value: str) -> None:
        if self._broken:
            raise OSError(28, f"no space for {value}")

    @contextmanager
    def broken(self) -> Iterator[None]:
        self._broken = True
        try:
            yield
        finally:
            self._broken = False


def storage_of(kind: str, place: str) -> Any:  # noqa: PLR0911 - a store for each name
    """Returns a store; ``place`` is a directory, or a server's URL."""
    match kind:
        case "memory":
            return MemoryStorage()
        case "file":
            return FileStorage(f"{place}/visitors/")
        case "sqlite":
            from wixvisitor.storage.sqlite import SQLiteStorage

            return SQLiteStorage(f"{place}/visitors.db")
        case "redis":
            from wixvisitor.storage.redis import RedisStorage

            return RedisStorage(place)
        case "sqlalchemy":
            from wixvisitor.storage.sqlalchemy import SQLAlchemyStorage

            return SQLAlchemyStorage(place, prefix="reported", timeout=10.0)
        case "keyvalue":
            from key_value.aio.stores.memory import MemoryStore

            from wixvisitor.storage.keyvalue import KeyValueStorage

            return KeyValueStorage(MemoryStore())
        case "sealed":
            from wixvisitor.storage.sealed import SealedStorage

            return SealedStorage(MemoryStorage(), [KEY])
    raise AssertionError(kind)


def plain_app(shop: Shop) -> Any:
    """The shop without any framework."""
    handlers = shop.handlers()

    async def app(scope: Any, receive: Any, send: Any) -> None:
        answer = await handlers[scope["path"]](_look_of(scope))
        await send({"type": "http.response.start", "status": 200, "headers": []})
        if not isinstance(answer.body, dict):
            async for part in answer.body:
                await send({"type": "http.response.body", "body": part, "more_body": True})
        await send({"type": "http.response.body", "body": b"{}"})

    return SentryAsgiMiddleware(shop.wrapped(app))


TROUBLED_APPS: dict[str, Callable[[Shop], Any]] = APPS | {"asgi": plain_app}
