"""Real processes that share a visitor's file: one mint, one renewal, and no step at which a kill costs the visitor."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import anyio
import anyio.to_thread
import attrs
import httpx
import pytest

from tests.constants import CART, LIFETIME
from wixvisitor import Tokens, VisitorSession
from wixvisitor.storage import FileStorage
from wixvisitor.testing import FakeWix

pytestmark = [
    pytest.mark.machine,
    pytest.mark.anyio,
    pytest.mark.skipif(not hasattr(signal, "SIGKILL"), reason="needs POSIX signals"),
]

ROOT = Path(__file__).parent.parent

# Reads a command per line, {"now": …} or {"now": …, "key": …}; asks for the cart; answers with whose it is.
CHILD = r"""
import asyncio, json, os, signal, sys
import httpx
import wixvisitor.storage._file_record as file_record
from wixvisitor import VisitorSession
from wixvisitor.storage import FileStorage

options = json.loads(sys.argv[1])
now = [options["now"]]


def die(step):
    if options.get("die") == step:
        os.kill(os.getpid(), signal.SIGKILL)


class Transport(httpx.AsyncHTTPTransport):
    async def handle_async_request(self, request):
        if request.url.path != "/oauth2/token":
            return await super().handle_async_request(request)
        die("before asking")
        response = await super().handle_async_request(request)
        body = await response.aread()
        die("after the answer")
        return httpx.Response(response.status_code, headers=response.headers, content=body)


class Store(FileStorage):
    async def acquire_lease(self, key, holder, seconds):
        return await super().acquire_lease(key, holder, options.get("lease", seconds))

    async def save(self, *args, **kwargs):
        die("before saving")
        version = await super().save(*args, **kwargs)
        die("after saving")
        return version


replace, fsync = os.replace, os.fsync


def dying_replace(*args):
    die("before the rename")
    replace(*args)
    die("after the rename")


def dying_fsync(*args):
    die("before the draft is on disk")
    fsync(*args)


async def main():
    os.replace, os.fsync = dying_replace, dying_fsync
    async with httpx.AsyncClient(transport=Transport()) as client:
        sessions = {}
        print("ready", flush=True)
        loop = asyncio.get_running_loop()
        while line := await loop.run_in_executor(None, sys.stdin.readline):
            command = json.loads(line)
            now[0] = command["now"]
            key = command.get("key", "default")
            if key not in sessions:
                sessions[key] = VisitorSession(
                    options["client_id"], base_url=options["url"], client=client, storage=Store(options["path"]),
                    key=key, clock=lambda: now[0],
                )
            try:
                response = await sessions[key].get("/ecom/v2/carts/current")
                answer = {"status": response.status_code, **sessions[key].get_tokens().to_dict()}
            except Exception as error:
                answer = {"error": f"{type(error).__name__}: {error}"}
            print(json.dumps(answer), flush=True)


asyncio.run(main())
"""


@pytest.fixture
def anyio_backend() -> str:
    """The loop of the parent; that of the children is asyncio's all the same."""
    return "asyncio"


@attrs.define
class Child:
    """A process with a session of its own."""

    process: subprocess.Popen[str]
    fake: FakeWix
    complaints: Any

    async def line(self) -> str:
        """The next line it writes, "" at its end."""
        assert self.process.stdout is not None
        with anyio.fail_after(20):
            text = await anyio.to_thread.run_sync(self.process.stdout.readline, abandon_on_cancel=True)
        return str(text).strip()

    async def ask(self, **command: Any) -> dict[str, Any]:
        """Has it ask for the cart."""
        self.tell(**command)
        return await self.answer()

    def tell(self, **command: Any) -> None:
        """Has it ask for the cart, without waiting for the answer."""
        assert self.process.stdin is not None
        self.process.stdin.write(json.dumps({"now": self.fake.now(), **command}) + "\n")
        self.process.stdin.flush()

    async def answer(self) -> dict[str, Any]:
        """What it said, or {} if it died."""
        text = await self.line()
        answer: dict[str, Any] = json.loads(text) if text else {}
        assert "error" not in answer, answer["error"]
        return answer

    async def death(self) -> int:
        """The signal that ended it."""
        with anyio.fail_after(20):
            return -int(await anyio.to_thread.run_sync(self.process.wait, abandon_on_cancel=True))

    def end(self) -> str:
        """Ends it, and returns what it complained about."""
        if self.process.poll() is None:
            self.process.kill()
        for pipe in (self.process.stdin, self.process.stdout):
            if pipe is not None:
                try:
                    pipe.close()
                except BrokenPipeError:
                    continue
        self.process.wait()
        self.complaints.seek(0)
        text: str = self.complaints.read()
        self.complaints.close()
        return text


Start = Callable[..., Child]


@pytest.fixture
def start(still: FakeWix, client_id: str) -> Iterator[Start]:
    """Starts children, and ends them; one that complained on stderr fails the test."""
    children: list[Child] = []

    def starting(url: str, path: Path | str, **options: Any) -> Child:
        options = {"now": still.now(), "client_id": client_id, "url": url, "path": str(path), **options}
        complaints = tempfile.TemporaryFile("w+")  # noqa: SIM115 - closed by `end`
        process = subprocess.Popen(
            [sys.executable, "-c", CHILD, json.dumps(options)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=complaints,
            text=True,
            cwd=ROOT,
            env={**os.environ, "PYTHONPATH": str(ROOT)},
        )
        children.append(Child(process, still, complaints))
        return children[-1]

    yield starting
    texts = [child.end() for child in children]
    assert not any("Traceback" in text for text in texts), texts


async def all_of(children: list[Child], **command: Any) -> list[dict[str, Any]]:
    """Has all of them ask at once."""
    for child in children:
        child.tell(**command)
    return [await child.answer() for child in children]


def identities(answers: list[dict[str, Any]]) -> set[str]:
    return {answer["refreshToken"]["value"] for answer in answers}


def restarted(still: FakeWix, client_id: str, url: str, path: Path | str, client: httpx.AsyncClient) -> VisitorSession:
    """The next start of the program, here."""
    return VisitorSession(client_id, base_url=url, client=client, storage=FileStorage(path), clock=still.now)


async def stored(still: FakeWix, client_id: str, path: Path | str) -> Tokens:
    async with VisitorSession(client_id, client=still.client(), storage=FileStorage(path), clock=still.now) as session:
        return session.get_tokens()


@pytest.mark.parametrize("place", ["visitor.json", "visitors/"])
@pytest.mark.parametrize("one_time", [False, True], ids=["lasting", "one-time"])
async def test_eight_processes_are_one_visitor(
    still: FakeWix, start: Start, tmp_path: Path, place: str, *, one_time: bool
) -> None:
    """8 cold processes on one file make one visitor with one call; at each expiry they renew it with one call."""
    still.one_time_refresh_tokens = one_time
    async with still.serve() as url:
        children = [start(url, f"{tmp_path}/{place}") for _ in range(8)]
        for child in children:
            assert await child.line() == "ready"
        gate = still.hold()
        for child in children:
            child.tell()
        await gate.wait_for(1)
        await anyio.sleep(0.05)
        gate.release()
        answers = [await child.answer() for child in children]
        assert len(identities(answers)) == 1
        assert len(still.token_calls()) == 1
        for _ in range(3):
            still.advance(LIFETIME + 1)
            still.reset_calls()
            answers = await all_of(children)
            assert len(identities(answers)) == 1
            assert len(still.token_calls()) == 1
            assert len({answer["accessToken"]["value"] for answer in answers}) == 1
        assert len(still.visitors) == 1
        assert len({call.visitor_id for call in still.api_calls()}) == 1


async def test_ageing_in_several_processes_is_one_renewal(still: FakeWix, start: Start, tmp_path: Path) -> None:
    """Within the window all processes are served with the token they have, and renew it once in the background."""
    async with still.serve() as url:
        children = [start(url, tmp_path / "visitor.json") for _ in range(4)]
        for child in children:
            await child.line()
        await all_of(children)
        still.advance(LIFETIME - 100)
        still.reset_calls()
        gate = still.hold()
        assert {answer["status"] for answer in await all_of(children)} <= {200, 404}
        await gate.wait_for(1)
        gate.release()
        with anyio.fail_after(10):
            while True:
                answers = await all_of(children)
                if len({answer["accessToken"]["value"] for answer in answers}) == 1:
                    break
    assert len(still.token_calls()) == 1
    assert len(still.visitors) == 1


async def test_several_visitors_in_a_directory(still: FakeWix, start: Start, tmp_path: Path) -> None:
    """Two processes with three keys in one directory have three visitors, the same three."""
    async with still.serve() as url:
        children = [start(url, f"{tmp_path}/visitors/") for _ in range(2)]
        for child in children:
            await child.line()
        for key in ("a", "b", "c"):
            assert len(identities(await all_of(children, key=key))) == 1
    assert len(still.visitors) == 3
    assert len(still.token_calls()) == 3


STEPS = [
    "before asking",
    "after the answer",
    "before saving",
    "before the draft is on disk",
    "before the rename",
    "after the rename",
    "after saving",
]


@pytest.mark.parametrize("step", STEPS)
async def test_killed_while_minting(still: FakeWix, start: Start, client_id: str, tmp_path: Path, step: str) -> None:
    """Kill -9 in a first mint: the next start has the visitor if one was saved, else it makes one; no third."""
    path = tmp_path / "visitor.json"
    async with still.serve() as url, httpx.AsyncClient() as client:
        child = start(url, path, die=step)
        await child.line()
        assert await child.ask() == {}
        assert await child.death() == signal.SIGKILL
        saved = step in ("after the rename", "after saving")
        assert bool((await stored(still, client_id, path)).refresh_token.value) == saved
        session = restarted(still, client_id, url, path, client)
        with anyio.fail_after(5):
            await session.get(CART)
        assert len(still.token_calls()) == (1 if saved or step == "before asking" else 2)
        assert await stored(still, client_id, path) == session.get_tokens()
        again = restarted(still, client_id, url, path, client)
        await again.get(CART)
        assert again.get_tokens() == session.get_tokens()
        assert len({call.visitor_id for call in still.api_calls()}) == 1
    assert not any(name.endswith(".tmp") for name in os.listdir(tmp_path))  # noqa: PTH208 - a test


@pytest.mark.parametrize("rotating", [False, True], ids=["same", "rotated"])
@pytest.mark.parametrize("step", STEPS)
async def test_killed_while_renewing(
    still: FakeWix, start: Start, client_id: str, tmp_path: Path, step: str, *, rotating: bool
) -> None:
    """Kill -9 in a renewal: the next start has the same visitor, and asks at most once more."""
    still.rotate_refresh_tokens = rotating
    path = tmp_path / "visitor.json"
    async with still.serve() as url, httpx.AsyncClient() as client:
        await restarted(still, client_id, url, path, client).get(CART)
        still.advance(LIFETIME + 1)
        child = start(url, path, die=step)
        await child.line()
        assert await child.ask() == {}
        assert await child.death() == signal.SIGKILL
        assert (await stored(still, client_id, path)).refresh_token.value
        session = restarted(still, client_id, url, path, client)
        with anyio.fail_after(5):
            assert (await session.get(CART)).status_code in (200, 404)
        assert await stored(still, client_id, path) == session.get_tokens()
    assert len(still.visitors) == 1
    assert len(still.token_calls("refresh_token")) <= 2
    assert len(still.token_calls("anonymous")) == 1


@pytest.mark.parametrize("cold", [True, False], ids=["mint", "renewal"])
async def test_killed_while_wix_thinks(
    still: FakeWix, start: Start, client_id: str, tmp_path: Path, *, cold: bool
) -> None:
    """A lease holder that dies while the endpoint works holds nobody up: its lease ends with it."""
    path = tmp_path / "visitor.json"
    async with still.serve() as url, httpx.AsyncClient() as client:
        if not cold:
            await restarted(still, client_id, url, path, client).get(CART)
            still.advance(LIFETIME + 1)
            still.reset_calls()
        gate = still.hold(times=1)
        child = start(url, path)
        await child.line()
        child.tell()
        await gate.wait_for(1)
        child.process.kill()
        await child.death()
        session = restarted(still, client_id, url, path, client)
        with anyio.fail_after(3):
            assert (await session.get(CART)).status_code in (200, 404)
        gate.release()
        assert await stored(still, client_id, path) == session.get_tokens()
    assert len(still.token_calls()) == 2
    assert cold or len(still.visitors) == 1


@pytest.mark.parametrize("cold", [True, False], ids=["mint", "renewal"])
async def test_a_stopped_lease_holder_costs_one_more_call(
    still: FakeWix, start: Start, client_id: str, tmp_path: Path, *, cold: bool
) -> None:
    """SIGSTOP of whoever renews: others wait a little, then ask once more; all end as the same visitor."""
    path = tmp_path / "visitor.json"
    async with still.serve() as url, httpx.AsyncClient() as client:
        if not cold:
            await restarted(still, client_id, url, path, client).get(CART)
            still.advance(LIFETIME + 1)
            still.reset_calls()
        gate = still.hold()
        holder, other, third = start(url, path, lease=0.2), start(url, path), start(url, path)
        for child in (holder, other, third):
            await child.line()
        holder.tell()
        await gate.wait_for(1)
        os.kill(holder.process.pid, signal.SIGSTOP)
        try:
            other.tell()
            with anyio.fail_after(5):
                await gate.wait_for(2)
            gate.release()
            second = await other.answer()
            later = await third.ask()
        finally:
            os.kill(holder.process.pid, signal.SIGCONT)
        first = await holder.answer()
        assert len(identities([first, second, later])) == 1
        assert (await stored(still, client_id, path)).refresh_token.value in identities([first])
        again = await all_of([holder, other, third])
        assert len(identities([first, *again])) == 1
    assert len(still.token_calls()) == 2
    assert len({call.visitor_id for call in still.api_calls()}) == 1
    assert cold or len(still.visitors) == 1


async def test_a_stopped_writer_never_overwrites(
    still: FakeWix, start: Start, client_id: str, tmp_path: Path, member: Tokens
) -> None:
    """A process stopped in its renewal, while another one logs in, adopts the login when it goes on."""
    path = tmp_path / "visitor.json"
    async with still.serve() as url, httpx.AsyncClient() as client:
        await restarted(still, client_id, url, path, client).get(CART)
        still.advance(LIFETIME + 1)
        gate = still.hold()
        child = start(url, path)
        await child.line()
        child.tell()
        await gate.wait_for(1)
        os.kill(child.process.pid, signal.SIGSTOP)
        try:
            login = Tokens(
                type(member.access_token)(member.access_token.value, member.access_token.expires_at),
                member.refresh_token,
            )
            await restarted(still, client_id, url, path, client).set_tokens(login)
            gate.release()
        finally:
            os.kill(child.process.pid, signal.SIGCONT)
        answer = await child.answer()
        assert answer["refreshToken"]["value"] == member.refresh_token.value
        assert (await stored(still, client_id, path)).refresh_token == member.refresh_token
    assert len(still.token_calls("anonymous")) == 1
