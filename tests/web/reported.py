"""What Sentry's SDK would send about a shop's unhandled errors. It patches everything, so it has a process of its own.

    python -m tests.web.reported '{"framework": "fastapi", "cookies": ["id"], "storage": "memory"}'

prints, for each cookie and each moment, which errors were reported and where a secret stands in the reports.
"""

from __future__ import annotations

import asyncio
import json
import os
import re
import subprocess
import sys
import traceback
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from types import TracebackType
from typing import Any

import attrs
import httpx
import sentry_sdk
from sentry_sdk.scrubber import DEFAULT_DENYLIST, EventScrubber
from sentry_sdk.transport import Transport

import wixvisitor
from tests.constants import CLIENT_ID
from tests.web.conftest import COOKIES, _browser, _serving
from tests.web.troubled import LONG, TROUBLED_APPS, Breaking, TroubledShop, consents, storage_of
from wixvisitor import AccessToken, RefreshToken, TokenRole, Tokens, VisitorPool
from wixvisitor.storage import MemoryStorage
from wixvisitor.testing import FakeWix

PACKAGE = Path(wixvisitor.__file__).parent
A_TOKEN = re.compile(r"eyJ[A-Za-z0-9_-]{32,}")  # longer than the header, which is no secret
OURS = re.compile(r"\b(Visit|Visits|Request|CookieContent|Additions|Tokens|Record|Snapshot|Stored|VisitorSession)\(")
# What docs/explanation/browsers.md says to leave out, where the frameworks keep the request.
FRAMEWORKS_OWN = ("scope", "request", "conn", "connection", "websocket", "values", "scope_state")
ALWAYS = {  # moment: what the application failed with
    "unseen": "ZeroDivisionError",
    "asked_for_consent": "ZeroDivisionError",
    "early": "ZeroDivisionError",
    "logged_out": "ZeroDivisionError",
    "dropped": "RemoteProtocolError",
    "refused_by_wix": "WixAPIError",
    "hung": "TimeoutError",
    "outage": "TokenRequestError",
    "other_hung": "TimeoutError",
    "boom": "ZeroDivisionError",
}


def reported(*, timeout: float = 120.0, **arguments: Any) -> dict[str, dict[str, Any]]:
    """Returns what a process of its own finds out, by cookie and moment; takes what ``Reporter`` takes."""
    command = [sys.executable, "-m", "tests.web.reported", json.dumps(arguments)]
    top = str(PACKAGE.parent)
    done = subprocess.run(
        command, capture_output=True, encoding="utf-8", timeout=timeout, cwd=top, env=os.environ | {"PYTHONPATH": top}
    )
    assert done.returncode == 0, done.stderr[-3000:]
    found: dict[str, dict[str, Any]] = json.loads(done.stdout.splitlines()[-1])
    return found


def check(found: dict[str, dict[str, Any]], cookies: list[str]) -> None:
    """Every error was reported, and no report shows a secret."""
    for cookie in cookies:
        for moment, kind in ALWAYS.items():
            assert kind in found[f"{cookie}/{moment}"]["kinds"], f"{cookie}/{moment} was not reported"
    assert {moment: report["found"][:3] for moment, report in found.items() if report["found"]} == {}


@attrs.define
class Reports(Transport):
    """Sentry's transport, which sends nothing.

    Attributes:
        events: what would have been sent.
        errors: the exceptions themselves, with all of their local variables.
    """

    events: list[dict[str, Any]] = attrs.field(factory=list)
    errors: list[BaseException] = attrs.field(factory=list)

    def capture_envelope(self, envelope: Any) -> None:
        self.events += [json.loads(item.payload.get_bytes()) for item in envelope.items]

    def before(self, event: Any, hint: dict[str, Any]) -> Any:
        if "exc_info" in hint:
            self.errors.append(hint["exc_info"][1])
        return event


@attrs.define
class Search:
    """Looks for secrets in what was reported.

    Attributes:
        everywhere: whether also in what other people's frames hold of their own.
        secrets: texts of which no part of 24 characters may be seen.
    """

    everywhere: bool = False
    secrets: set[str] = attrs.field(factory=set)

    def is_secret(self, text: str) -> bool:
        return bool(A_TOKEN.search(text)) or any(part in text for part in self._parts())

    def _parts(self) -> Iterator[str]:
        for secret in self.secrets:
            yield from (secret[at : at + 24] for at in range(0, len(secret) - 23, 24))

    def in_event(self, event: dict[str, Any]) -> Iterator[str]:
        """Where in what would be sent."""
        for value in event.get("exception", {}).get("values", ()):
            for frame in value.get("stacktrace", {}).get("frames", ()):
                place = f"{frame.get('module')} {frame.get('function')}"
                for name, local in frame.get("vars", {}).items():
                    yield from self._in_local(place, name, json.dumps(local), frame.get("module") or "")
            value.pop("stacktrace", None)
        if self.is_secret(rest := json.dumps(event)):
            keys = [key for key, part in event.items() if self.is_secret(json.dumps(part))]
            yield f"the event itself: {keys} {rest[:2000]}"

    def _in_local(self, place: str, name: str, text: str, module: str) -> Iterator[str]:
        is_ours = module.startswith("wixvisitor") and not module.startswith("wixvisitor.testing")
        if self.is_secret(text) and (self.everywhere or is_ours or OURS.search(text)):
            yield f"{place}: {name} = {text[:300]}"

    def in_frames(self, error: BaseException | None, seen: set[int]) -> Iterator[str]:
        """Where in the locals of our frames, which Sentry's SDK cuts short."""
        if error is None or id(error) in seen:
            return
        seen.add(id(error))
        yield from self._in_trace(error.__traceback__)
        yield from self.in_frames(error.__cause__, seen)
        yield from self.in_frames(error.__context__, seen)
        for inner in getattr(error, "exceptions", ()):
            yield from self.in_frames(inner, seen)

    def _in_trace(self, trace: TracebackType | None) -> Iterator[str]:
        for frame, line in traceback.walk_tb(trace):
            path = Path(frame.f_code.co_filename)
            if PACKAGE in path.parents and PACKAGE / "testing" not in path.parents:
                for name, local in frame.f_locals.items():
                    if self.is_secret(f"{local!r} {local!s}"):
                        yield f"{path.name}:{line} {frame.f_code.co_name}: {name} = {local!r:.300}"


@attrs.define(kw_only=True)
class Reporter:
    """Lets everything go wrong that can, and looks at what is reported.

    Attributes:
        framework: one of ``TROUBLED_APPS``.
        cookies: of ``COOKIES``.
        storage: where visitors are whose tokens are not in the cookie.
        place: the storage's directory or URL.
        scrubbed: whether Sentry's SDK is set up as docs/explanation/browsers.md says, and nothing may be seen anywhere.
    """

    framework: str
    cookies: list[str]
    storage: str = "memory"
    place: str = ""
    scrubbed: bool = False
    reports: Reports = attrs.field(factory=Reports)
    search: Search = attrs.field(factory=Search)

    async def run(self) -> dict[str, dict[str, Any]]:
        options: dict[str, Any] = {}
        if self.scrubbed:
            options["event_scrubber"] = EventScrubber(denylist=[*DEFAULT_DENYLIST, *FRAMEWORKS_OWN])
            self.search.everywhere = True
        sentry_sdk.init("http://key@127.0.0.1:9/1", transport=self.reports, before_send=self.reports.before, **options)
        found = {}
        for cookie in self.cookies:
            fake = FakeWix()
            async with fake.serve() as url:
                found |= await self._shop(fake, url, cookie)
        return found

    async def _shop(self, fake: FakeWix, url: str, cookie: str) -> dict[str, Any]:
        secure = self.framework != "aiohttp"
        form = COOKIES[cookie](secure=secure)
        storage = None if form.holds_tokens else Breaking(storage_of(self.storage, self.place))
        pool = VisitorPool(CLIENT_ID, base_url=url, storage=storage or MemoryStorage())
        options = {"close": False, "consent": consents}
        shop = TroubledShop(pool, form, options, _member(fake), fake=fake, storage=storage)
        async with _serving(TROUBLED_APPS[self.framework](shop), is_https=secure) as (transport, base_url):
            moments = [path for path in shop.handlers() if path != "/cart"]
            found = {
                f"{cookie}{path}": await self._visit(fake, path, lambda: _browser(transport, base_url, {}))
                for path in moments
            }
        await pool.aclose()
        return found

    async def _visit(self, fake: FakeWix, path: str, browser: Callable[[], httpx.AsyncClient]) -> dict[str, Any]:
        """A browser that has a visitor, and meets an error."""
        async with browser() as client:
            await client.get("/cart")
            self.search.secrets |= {LONG, *_sealed(client)}
            self.reports.events.clear()
            self.reports.errors.clear()
            with suppress(httpx.RemoteProtocolError):  # a stream that ended amid
                await client.get(path)
            self.search.secrets |= _sealed(client)
        self.search.secrets |= {*fake._visitors.access_tokens, *fake._visitors.refresh_tokens}
        sentry_sdk.flush()
        values = [value for event in self.reports.events for value in event.get("exception", {}).get("values", ())]
        kinds = [value["type"] for value in values]
        found = [place for event in self.reports.events for place in self.search.in_event(event)]
        found += [place for error in self.reports.errors for place in self.search.in_frames(error, set())]
        return {"kinds": kinds, "found": found}


def _sealed(client: httpx.AsyncClient) -> set[str]:
    """The browser's cookies; of those in the clear only the tokens are secret."""
    return {cookie.value or "" for cookie in client.cookies.jar if "%" not in (cookie.value or "")}


def _member(fake: FakeWix) -> Tokens:
    said = fake.mint_member(CLIENT_ID)
    return Tokens(AccessToken(said["access_token"], 2**31), RefreshToken(said["refresh_token"], TokenRole.MEMBER))


if __name__ == "__main__":
    sys.stdout.write(json.dumps(asyncio.run(Reporter(**json.loads(sys.argv[1])).run())) + "\n")
