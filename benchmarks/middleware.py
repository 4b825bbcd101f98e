"""What does the middleware add to a request, beside Starlette's SessionMiddleware?

All apps are in one process, without a network: each is called as its server would call it, with the headers that a
browser sends with a page's request. A request either touches the visitor (the session of the peer) or does not. The
figures are processor time of all threads, which other programs of the machine change little. What FastAPI alone takes
for the same request, with the same cookies, is subtracted.
"""

from __future__ import annotations

import asyncio
import base64
import json
import secrets
import statistics
import tempfile
import threading
import time
from pathlib import Path
from queue import SimpleQueue
from typing import Any, Final

import attrs
from fastapi import FastAPI, Request
from rich.progress import Progress
from starlette.middleware.sessions import SessionMiddleware

from benchmarks import drawing
from benchmarks.measuring import Answer, Verdict, interleaved, ratio
from wixvisitor import AccessToken, RefreshToken, TokenRole, Tokens, VisitorPool
from wixvisitor.cookies import IdCookie, SealedCookie, SharedCookie, VisitorCookie, generate_key
from wixvisitor.fastapi import get_visitor, setup
from wixvisitor.storage.sqlite import SQLiteStorage

CLIENT_ID: Final = "5e9c1d0a-7c1e-4a52-9d5e-1f2a3b4c5d6e"
BARE: Final = "FastAPI"
PEER: Final = "SessionMiddleware"
THREAD: Final = "a thread's answer, nothing else"
REQUESTS: Final = 300  # of one case in one round
TOUCHED: Final = "/touched"
UNTOUCHED: Final = "/untouched"
TARGETS: Final = (  # side, path and the share of what the peer's touched request costs
    ("IdCookie, memory", UNTOUCHED, 0.2),
    ("SealedCookie", UNTOUCHED, 0.2),
    ("IdCookie, memory", TOUCHED, 1.2),
    ("SealedCookie", TOUCHED, 1.8),
    ("IdCookie, SQLite", TOUCHED, 3.0),
)
HEADERS: Final = (
    (b"host", b"shop.example"),
    (b"connection", b"keep-alive"),
    (b"sec-ch-ua", b'"Chromium";v="142", "Google Chrome";v="142", "Not_A Brand";v="99"'),
    (b"sec-ch-ua-mobile", b"?0"),
    (b"sec-ch-ua-platform", b'"Windows"'),
    (b"user-agent", b"Mozilla/5.0 (Windows NT 10.0; Win64; x64) AppleWebKit/537.36 Chrome/142.0.0.0 Safari/537.36"),
    (b"accept", b"*/*"),
    (b"sec-fetch-site", b"same-origin"),
    (b"sec-fetch-mode", b"cors"),
    (b"sec-fetch-dest", b"empty"),
    (b"referer", b"https://shop.example/products/mug"),
    (b"accept-encoding", b"gzip, deflate, br, zstd"),
    (b"accept-language", b"de-DE,de;q=0.9,en-US;q=0.8,en;q=0.7"),
)


@attrs.frozen
class Side:
    """An app, and the cookies that a browser has of it."""

    app: Any
    cookies: str


def tokens() -> Tokens:
    """Returns tokens of the shape and size that Wix's have."""
    now = int(time.time())
    instance = {"instance": {name: secrets.token_hex(16) for name in ("instanceId", "appDefId", "aid", "metaSiteId")}}

    def jwt(start: str) -> str:
        parts = ({"kid": "ab12", "alg": "RS256"}, {"data": json.dumps(instance), "iat": now, "exp": now + 14_400})
        texts = [base64.urlsafe_b64encode(json.dumps(part).encode()).decode().rstrip("=") for part in parts]
        return f"{start}JWS.{'.'.join(texts)}.{'s' * 342}"

    return Tokens(AccessToken(jwt("OauthNG."), now + 14_400), RefreshToken(jwt(""), TokenRole.VISITOR))


def new_app() -> FastAPI:
    """Returns an app with a handler that touches nothing."""
    app = FastAPI()

    @app.get(UNTOUCHED)
    async def untouched() -> dict[str, bool]:
        return {"ok": True}

    return app


def peer_app() -> FastAPI:
    """Returns an app with Starlette's sessions."""
    app = new_app()

    @app.get(TOUCHED)
    async def touched(request: Request) -> dict[str, bool]:
        return {"ok": bool(request.session["cart"])}

    @app.post("/seed")
    async def seed(request: Request) -> dict[str, bool]:
        request.session["cart"] = "c" * 850  # a cookie of 1.2 kB
        return {"ok": True}

    app.add_middleware(SessionMiddleware, secret_key=generate_key())
    return app


def visitor_app(cookie: VisitorCookie, storage: Any = None) -> FastAPI:
    """Returns an app with visitors."""
    app = new_app()

    @app.get(TOUCHED)
    async def touched(request: Request) -> dict[str, bool]:  # as the peer's; a dependency is FastAPI's own cost
        visitor = await get_visitor(request)
        return {"ok": bool(visitor.get_tokens().access_token.value)}

    @app.post("/seed")
    async def seed(request: Request) -> dict[str, bool]:
        await (await get_visitor(request)).set_tokens(tokens())
        return {"ok": True}

    setup(app, VisitorPool(CLIENT_ID, storage=storage), cookie=cookie)
    return app


def thread_app() -> FastAPI:
    """Returns an app whose handler waits for a thread that has nothing to do: the least that a blocking store costs."""
    app, calls = new_app(), SimpleQueue[asyncio.Future[bool]]()

    def work() -> None:
        while True:
            answer = calls.get()
            answer.get_loop().call_soon_threadsafe(answer.set_result, True)

    @app.get(TOUCHED)
    async def touched(request: Request) -> dict[str, bool]:  # noqa: ARG001 - as the peer's
        answer: asyncio.Future[bool] = asyncio.get_running_loop().create_future()
        calls.put(answer)
        return {"ok": await answer}

    @app.post("/seed")
    async def seed() -> dict[str, bool]:
        return {"ok": True}

    threading.Thread(target=work, daemon=True).start()
    return app


def apps(place: Path) -> dict[str, FastAPI]:
    """Returns the apps by name."""
    key = generate_key()
    return {
        PEER: peer_app(),
        THREAD: thread_app(),
        "IdCookie, memory": visitor_app(IdCookie([key])),
        "SealedCookie": visitor_app(SealedCookie([key])),
        "SharedCookie": visitor_app(SharedCookie()),
        "IdCookie, SQLite": visitor_app(IdCookie([key]), SQLiteStorage(place / "visitors.db")),
    }


def scope_of(path: str, cookies: str, method: str = "GET") -> dict[str, Any]:
    """Returns what a server hands to an app."""
    return {
        "type": "http",
        "asgi": {"version": "3.0", "spec_version": "2.3"},
        "http_version": "1.1",
        "method": method,
        "scheme": "https",
        "path": path,
        "raw_path": path.encode(),
        "query_string": b"",
        "root_path": "",
        "headers": [*HEADERS, (b"cookie", cookies.encode())],
        "client": ("127.0.0.1", 50_000),
        "server": ("127.0.0.1", 8000),
    }


async def nothing_more() -> dict[str, Any]:
    """Receives a body that is empty."""
    return {"type": "http.request", "body": b"", "more_body": False}


async def seeded(app: FastAPI) -> Side:
    """Returns a side whose browser has been there before."""
    started = list[dict[str, Any]]()

    async def send(message: dict[str, Any]) -> None:
        if message["type"] == "http.response.start":
            started.append(message)

    await app(scope_of("/seed", "_ga=GA1.1.123456789.1234567890", "POST"), nothing_more, send)
    [start] = started
    pairs = [value.decode().partition(";")[0] for name, value in start["headers"] if name == b"set-cookie"]
    return Side(app, "; ".join(["_ga=GA1.1.123456789.1234567890", *pairs]))


async def microseconds(side: Side, path: str) -> float:
    """Returns the processor time of one request."""

    async def send(message: dict[str, Any]) -> None:
        assert message.get("status", 200) == 200, message

    scopes = [scope_of(path, side.cookies) for _ in range(REQUESTS)]
    began = time.process_time()
    for scope in scopes:
        await side.app(scope, nothing_more, send)
    return 1e6 * (time.process_time() - began) / REQUESTS


def measure(progress: Progress, *, quick: bool) -> Answer:
    """Measures all in turn; what FastAPI takes for the same cookies in the same round is subtracted."""
    alone = new_app()
    with tempfile.TemporaryDirectory() as directory, asyncio.Runner() as runner:
        sides = {name: runner.run(seeded(app)) for name, app in apps(Path(directory)).items()}
        bare = {name: Side(alone, side.cookies) for name, side in sides.items()}
        cases = [(name, path) for name in sides for path in (BARE, UNTOUCHED, TOUCHED)]

        def run(case: tuple[str, str]) -> float:
            name, path = case
            return runner.run(microseconds(*((bare[name], UNTOUCHED) if path == BARE else (sides[name], path))))

        found = interleaved(cases, run, rounds=9 if quick else 61, progress=progress, what="middleware")
    added = {
        (name, path): [took - least for took, least in zip(found[name, path], found[name, BARE], strict=True)]
        for name, path in cases
        if path != BARE
    }
    rows = [
        {
            "side": name,
            "request": path.strip("/"),
            "µs": statistics.median(found[name, path]),
            "added, µs": statistics.median(added[name, path]),
            "of SessionMiddleware, touched": ratio(added[name, path], added[PEER, TOUCHED]),
        }
        for name, path in added
    ]
    verdicts = [
        Verdict(
            what=f"added to a request, {path.strip('/')}, {name}",
            beside="SessionMiddleware, touched",
            figure=ratio(added[name, path], added[PEER, TOUCHED]),
            target=target,
            at_most=True,
        )
        for name, path, target in TARGETS
    ]
    bare_times = [statistics.median(found[name, BARE]) for name in sides]
    note = f"FastAPI alone: {min(bare_times):.0f} to {max(bare_times):.0f} µs, by the length of the cookies"
    return Answer(rows, verdicts, notes=[note])


def draw(answer: Answer, place: Path) -> None:
    """Draws what each side adds."""
    names = list(dict.fromkeys(row["side"] for row in answer.rows))
    with drawing.chart(place / "middleware") as charts:
        for [axis], look in charts:
            for path, shift, color in (("touched", -0.2, look.ours), ("untouched", 0.2, look.quiet)):
                added = [row["added, µs"] for row in answer.rows if row["request"] == path]
                bars = axis.barh([place + shift for place in range(len(names))], added, 0.38, label=path, color=color)
                axis.bar_label(bars, fmt="{:,.0f}", fontsize=8, color=look.ink, padding=3)
            axis.set_yticks(range(len(names)), names)
            axis.invert_yaxis()
            axis.set_title("added to a request, µs")
            axis.legend(frameon=False, fontsize=8, labelcolor=look.ink)
