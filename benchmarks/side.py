"""One side of a comparison in Python, in a process of its own: `python -m benchmarks.side NAME URL [uvloop]`.

Reads requests like `{"seconds": 0.5, "in_flight": 32}`, a line each, and answers how many requests a second it made.
"""

from __future__ import annotations

import asyncio
import itertools
import json
import random
import sys
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from typing import Any

from benchmarks.measuring import CART
from wixvisitor import AccessToken, RefreshToken, TokenRole, Tokens, VisitorPool, VisitorSession
from wixvisitor.storage import MemoryStorage

Call = Callable[[], Awaitable[Any]]
CLIENT_ID = "5e9c1d0a-7c1e-4a52-9d5e-1f2a3b4c5d6e"
TOKENS = Tokens(
    AccessToken("OauthNG.JWS." + "a" * 600, int(time.time()) + 14_400),
    RefreshToken("JWS." + "r" * 600, TokenRole.VISITOR),
)


def client_of(name: str) -> Any:
    """Returns a client as its documentation shows it."""
    import httpx
    import httpx2

    if name == "httpx-aiohttp":
        from httpx_aiohttp import HttpxAiohttpClient

        return HttpxAiohttpClient()
    return {"httpx": httpx, "httpx2": httpx2}[name].AsyncClient()


@asynccontextmanager
async def bare(name: str, url: str) -> AsyncIterator[Call]:
    """The client itself, with a header that never changes."""
    async with client_of(name) as client:
        client.headers.update({"Authorization": TOKENS.access_token.value, "Accept": "application/json"})
        target = url + CART
        yield lambda: client.get(target)


@asynccontextmanager
async def session(name: str, url: str) -> AsyncIterator[Call]:
    """A session over the client."""
    async with client_of(name) as client, VisitorSession(CLIENT_ID, base_url=url, tokens=TOKENS, client=client) as one:
        yield lambda: one.get(CART)


@asynccontextmanager
async def default(_name: str, url: str) -> AsyncIterator[Call]:
    """A session with the client that it makes itself."""
    async with VisitorSession(CLIENT_ID, base_url=url, tokens=TOKENS) as one:
        yield lambda: one.get(CART)


@asynccontextmanager
async def plain_aiohttp(_name: str, url: str) -> AsyncIterator[Call]:
    """The library as it is, without a cookie jar."""
    from aiohttp import ClientSession, DummyCookieJar

    headers = {"Authorization": TOKENS.access_token.value, "Accept": "application/json"}
    async with ClientSession(headers=headers, cookie_jar=DummyCookieJar()) as client:
        yield _get_with_aiohttp(client, url + CART)


def _get_with_aiohttp(client: Any, target: str, **arguments: Any) -> Call:
    async def get() -> None:
        async with client.get(target, **arguments) as response:
            await response.read()

    return get


@asynccontextmanager
async def middleware(way: str, url: str) -> AsyncIterator[Call]:
    """The same with a visitor, given to the client or to each request."""
    from aiohttp import ClientSession, DummyCookieJar

    from wixvisitor.aiohttp import client_middleware

    async with VisitorSession(CLIENT_ID, base_url=url, tokens=TOKENS) as one:
        await one.auth_headers()
        given = {"middlewares": (client_middleware(one),)}
        to_client, to_request = (given, {}) if way == "client" else ({}, given)
        async with ClientSession(cookie_jar=DummyCookieJar(), **to_client) as client:
            yield _get_with_aiohttp(client, url + CART, **to_request)


@asynccontextmanager
async def authlib(_name: str, url: str) -> AsyncIterator[Call]:
    """Authlib's client, with a token that is fresh."""
    from authlib.integrations.httpx_client import AsyncOAuth2Client

    token = {"access_token": TOKENS.access_token.value, "token_type": "Bearer", "expires_at": time.time() + 14_400}
    target = url + CART
    async with AsyncOAuth2Client(CLIENT_ID, token=token, token_endpoint=f"{url}/oauth2/token") as client:
        yield lambda: client.get(target)


@asynccontextmanager
async def pool(number: str, url: str) -> AsyncIterator[Call]:
    """A pool with so many live visitors, of whom one after the other asks, in no order."""
    import httpx2

    async with AsyncExitStack() as stack:
        made = VisitorPool(CLIENT_ID, base_url=url, storage=MemoryStorage(), client=httpx2.AsyncClient)
        visitors = await stack.enter_async_context(made)
        live = []
        for key in range(int(number)):
            one = await visitors.session(str(key))
            text = f"{key:0>600}"
            tokens = Tokens(
                AccessToken(f"OauthNG.JWS.{text}", int(time.time()) + 14_400),
                RefreshToken(f"JWS.{text}", TokenRole.VISITOR),
            )
            await one.set_tokens(tokens)
            live.append(one)
        order = itertools.cycle(random.Random(7).sample(live, len(live)))
        yield lambda: next(order).get(CART)


SIDES = {
    "bare": bare,
    "session": session,
    "default": default,
    "aiohttp": plain_aiohttp,
    "middleware": middleware,
    "authlib": authlib,
    "pool": pool,
}


async def rate(call: Call, *, seconds: float, in_flight: int) -> float:
    """Returns calls a second, over about so many seconds."""
    done, end = 0, time.perf_counter() + seconds

    async def worker() -> None:
        nonlocal done
        while time.perf_counter() < end:
            await call()
            done += 1

    began = time.perf_counter()
    await asyncio.gather(*(worker() for _ in range(in_flight)))
    return done / (time.perf_counter() - began)


async def main(kind: str, _: str, name: str, url: str) -> None:
    """Answers until stdin ends."""
    async with SIDES[kind](name, url) as call:
        for line in sys.stdin:
            print(json.dumps(await rate(call, **json.loads(line))), flush=True)


if __name__ == "__main__":
    given, address, *loop = sys.argv[1:]
    if loop:
        import uvloop

        uvloop.run(main(*given.partition(" "), address))
    else:
        asyncio.run(main(*given.partition(" "), address))
