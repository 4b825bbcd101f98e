"""One coroutine of a process that logs in on Wix's page, logs out and checks out, at bad moments and in bad ways."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qsl, urlsplit

import anyio
import httpx

from wixvisitor import VisitorSession, WixVisitorError
from wixvisitor.members import MemberLogin

from .shopper import Action, Shopper

if TYPE_CHECKING:
    from .life import Life

_CALLBACK = "https://shop.example/callback"
_MOST_KEPT = 4  # logins under one key that have begun


class Member(Shopper):
    """A shopper who has an account.

    A login that has begun is kept by the world, as a web app keeps it: any process may finish it, also after a crash.
    """

    def __init__(self, life: Life) -> None:
        super().__init__(life)
        self._pages = life.world.wix.pages

    async def run(self) -> None:
        """Shops until the faults are over; in some processes the first call is a logout."""
        if self._chance.random() < 0.4:
            await self._log_out_at_wix(self._chance.choice(self._world.scenario.keys))
        await super().run()

    def _actions(self) -> dict[Action, int]:
        return {
            self._call: 10,
            self._add: 4,
            self._idle: 4,
            self._forget: 1,
            self._log_in: 1,
            self._let_go: 3,
            self._begin: 10,
            self._finish: 14,
            self._come_and_go: 10,
            self._leave_amid: 10,
            self._finish_amid_a_call: 8,
            self._finish_twice: 6,
            self._all_at_once: 6,
            self._log_out_at_wix: 8,
            self._check_out: 6,
            **({self._reopen: 3, self._finish_and_close: 6} if self._world.scenario.closes else {}),
        }

    async def _begin(self, key: str) -> None:
        """The browser is sent to Wix. What comes of it is not known."""

        async def start() -> None:
            session = await self._life.session(key)
            before = self._identity(session)
            login = await session.members.start_login(_CALLBACK, original_uri=key, idp="google")
            self._watch.logins.begun(self._process, key, login, before, self._identity(session))
            self._world.wix.secrets.add(login.code_verifier)
            kept = self._world.logins[key]
            kept.append(login.to_json())
            del kept[:-_MOST_KEPT]

        with self._life.as_key(key):
            await self._measured(key, f"start_login for {key}", start)

    async def _finish(self, key: str) -> None:
        """The browser comes back: as it should, or after an error, or with a callback that is another login's."""
        if not self._world.logins[key]:
            await self._begin(key)
        if not self._world.logins[key]:
            return  # it did not work
        login = MemberLogin.from_json(self._chance.choice(self._world.logins[key]))
        ways = self._as_it_should, self._cancelled_there, self._of_another, self._again
        [way] = self._chance.choices(ways, (8, 1, 1, 2))
        await self._come_back(key, login, *way(key, login))

    def _as_it_should(self, key: str, login: MemberLogin) -> tuple[str, bool]:
        url = self._pages.log_in(login.url)
        if not url:  # somebody has been there
            return self._again(key, login)
        self._world.callbacks[login.url] = url
        self._world.wix.secrets.add(_code(url))
        return url, False

    def _cancelled_there(self, key: str, login: MemberLogin) -> tuple[str, bool]:
        url = self._pages.cancel(login.url)
        return (url, True) if url else self._again(key, login)

    def _of_another(self, key: str, login: MemberLogin) -> tuple[str, bool]:
        """A callback with another login's state, or none, or with neither code nor error."""
        others = [url for known, url in self._world.callbacks.items() if known != login.url]
        wrong = [f"{_CALLBACK}?code=guessed", f"{_CALLBACK}?state={login.state}", *others]
        return self._chance.choice(wrong), True

    def _again(self, _key: str, login: MemberLogin) -> tuple[str, bool]:
        """The address of a callback is opened once more. Its code may not have been used, if Wix was in trouble."""
        url = self._world.callbacks.get(login.url)
        return (url, False) if url else (f"{_CALLBACK}?state={login.state}&error=login_required", True)

    async def _come_back(self, key: str, login: MemberLogin, url: str, must_fail: bool) -> None:  # noqa: FBT001 - of a pair

        async def finish() -> None:
            session = await self._life.session(key)
            call = self._watch.logins.finishes(self._process, key, _code(url), must_fail=must_fail)
            try:
                tokens = await session.members.finish_login(login, url)
            except WixVisitorError as error:
                self._watch.logins.failed(call, error)
                raise
            self._watch.logins.finished(call, tokens)

        await self._measured(key, f"finish_login for {key}", finish)

    async def _come_and_go(self, key: str) -> None:
        """A whole login; the shopper takes some time at Wix."""
        await self._begin(key)
        await anyio.sleep(self._chance.expovariate(0.2))
        await self._finish(key)

    async def _leave_amid(self, key: str) -> None:
        """Any of it, by a caller who leaves."""
        what = self._chance.choice((self._begin, self._finish, self._finish, self._log_out_at_wix, self._check_out))
        seconds = self._chance.expovariate(2.0)
        since, stopped = self._process.scheduler.now, self._process.stopped_for
        if self._world.backend == "asyncio" and self._chance.random() < 0.5:  # its own way, which strikes once
            has_left = await _leaves_on_asyncio(what(key), seconds)
        else:
            with anyio.move_on_after(seconds) as scope:
                await what(key)
            has_left = scope.cancelled_caught
        if has_left:
            late = self._seconds(since, stopped) - seconds
            self._watch.cancelled(self._process, f"{what.__name__} for {key}", late)

    async def _finish_amid_a_call(self, key: str) -> None:
        """The browser comes back while an expired token is renewed."""
        await self._begin(key)
        await self._idle(key)
        async with anyio.create_task_group() as group:
            group.start_soon(self._call, key)
            await anyio.sleep(self._chance.expovariate(4.0))
            await self._finish(key)

    async def _finish_twice(self, key: str) -> None:
        """The callback is opened twice at once: a code works once."""
        await self._begin(key)
        async with anyio.create_task_group() as group:
            for _ in range(2):
                group.start_soon(self._finish, key)

    async def _all_at_once(self, key: str) -> None:
        """Logins, logouts and whatever else there is, under one key and at the same time."""
        logins = self._finish, self._log_in, self._log_out_at_wix
        others = *logins, self._forget, self._check_out, self._renew, self._add
        async with anyio.create_task_group() as group:
            group.start_soon(self._finish, key)
            for other in self._chance.choices(others, k=self._chance.randint(1, 3)):
                await anyio.sleep(self._chance.expovariate(4.0))
                group.start_soon(other, key)

    async def _finish_and_close(self, key: str) -> None:
        """The app is closed while a login is finished, and the browser comes once more."""
        await self._begin(key)
        if not self._world.logins[key]:
            return  # else two pools would be in use at once
        async with anyio.create_task_group() as group:
            group.start_soon(self._finish, key)
            await anyio.sleep(self._chance.expovariate(4.0))
            await self._life.reopen()
            await self._finish(key)

    async def _log_out_at_wix(self, key: str) -> None:
        """Logs out; sometimes the browser visits the address."""

        async def log_out() -> None:
            session = await self._life.session(key)
            call = self._watch.logouts.logs_out(self._process, key, session)
            try:
                url = await session.members.logout("https://shop.example/")
            except (WixVisitorError, httpx.HTTPError) as error:
                self._watch.logouts.logged_out(call, error)
                raise
            except BaseException:
                self._watch.logouts.left_logging_out(call)
                raise
            self._watch.logouts.logged_out(call, None)
            if self._chance.random() < 0.5:
                self._pages.log_out(url)

        with self._life.as_key(key):
            await self._measured(key, f"logout of {key}", log_out)

    async def _check_out(self, key: str) -> None:
        """Asks for the checkout's address, once or twice."""

        async def check_out() -> None:
            session = await self._life.session(key)
            before = self._identity(session)
            url = await session.checkout.url(return_to="https://shop.example/")
            self._watch.logins.checks_out(self._process, key, url, before, self._identity(session))

        with self._life.as_key(key):
            for _ in range(self._chance.randint(1, 2)):
                await self._measured(key, f"checkout of {key}", check_out)

    def _identity(self, session: VisitorSession) -> tuple[str, str | None] | None:
        return self._world.wix.identity(session.get_tokens().access_token.value)


async def _leaves_on_asyncio(what: Coroutine[Any, Any, None], seconds: float) -> bool:
    try:
        async with asyncio.timeout(seconds):
            await what
    except TimeoutError:
        return True
    return False


def _code(url: str) -> str:
    return dict(parse_qsl(urlsplit(url).query)).get("code", "")
