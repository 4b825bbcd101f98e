"""The doors for code that is not async: the promises of the async classes, from threads, forks and scripts."""

from __future__ import annotations

import _thread
import asyncio
import inspect
import json
import os
import signal
import ssl
import subprocess
import sys
import threading
import time
import traceback
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from types import ModuleType
from typing import Any

import anyio
import httpx
import pytest
import trustme
from anyio.from_thread import start_blocking_portal

from tests.constants import CART, CLIENT_ID, EPOCH, LIFETIME
from tests.raw_server import raw_server
from wixvisitor import (
    ConfigurationError,
    TokenRequestError,
    Tokens,
    VisitorPool,
    VisitorSession,
    WixAPIError,
    blocking,
)
from wixvisitor._tasks.background_loop import background
from wixvisitor.apis.ecom import current_cart
from wixvisitor.apis.stores import products_v3
from wixvisitor.blocking import BlockingVisitorPool, BlockingVisitorSession
from wixvisitor.members import Checkout, MemberLoginError, Members, Redirects
from wixvisitor.storage.sqlite import SQLiteStorage
from wixvisitor.testing import FakeWix
from wixvisitor.web import BlockingBrowserVisitors

THREADS = 64
DOORS = [
    (VisitorSession, BlockingVisitorSession),
    (VisitorPool, BlockingVisitorPool),
    (Members, blocking.BlockingMembers),
    (Checkout, blocking.BlockingCheckout),
    (Redirects, blocking.BlockingRedirects),
]


@pytest.fixture
def door(still: FakeWix, client_id: str) -> Iterator[BlockingVisitorSession]:
    with BlockingVisitorSession(client_id, client=still.client, clock=still.now) as session:
        yield session


@pytest.fixture(autouse=True)
def ends_its_thread() -> Iterator[None]:
    """The background thread ends with the last user of each test."""
    yield
    assert not any(thread.name == "wixvisitor-loop" for thread in threading.enumerate())


def at_once(number: int, function: Callable[[], Any]) -> list[Any]:
    """What the function returns to so many threads that begin together."""
    barrier = threading.Barrier(number)

    def begin(_: int) -> Any:
        barrier.wait()
        return function()

    with ThreadPoolExecutor(number) as threads:
        return list(threads.map(begin, range(number)))


@pytest.mark.parametrize(("kind", "door"), DOORS, ids=[kind.__name__ for kind, _ in DOORS])
def test_the_same_names(kind: type, door: type) -> None:
    """Each public method and property of an async class has a door with the same arguments and documentation."""
    for name, method in vars(kind).items():
        if name.startswith("_"):
            continue
        ours = getattr(door, "close" if name == "aclose" else name)
        if inspect.iscoroutinefunction(method) and name not in ("aclose", "session", "login_external"):
            assert inspect.signature(ours) == inspect.signature(method)
            assert ours.__doc__ == method.__doc__
        assert ours.__doc__


@pytest.mark.parametrize(
    ("kind", "arguments"),
    [(VisitorSession, blocking.SessionArguments), (VisitorPool, blocking.PoolArguments)],
    ids=["session", "pool"],
)
def test_the_same_arguments(kind: type, arguments: Any) -> None:
    """The constructors take what the async ones take."""
    assert {"client_id", *arguments.__annotations__} == set(inspect.signature(kind).parameters)


def test_a_first_visit_from_many_threads(door: BlockingVisitorSession, still: FakeWix) -> None:
    """Threads that begin together get one door, and share its renewal when its token ends."""
    [minted] = {tokens.refresh_token.value for tokens in at_once(THREADS, door.generate_visitor_tokens)}
    still.advance(LIFETIME + 1)
    assert {response.status_code for response in at_once(THREADS, lambda: door.get(CART))} == {404}
    assert door.get_tokens().refresh_token.value == minted
    assert len(still.visitors) == 1
    assert len(still.token_calls()) == 2


def test_a_pool_from_many_threads(still: FakeWix, client_id: str) -> None:
    """A key leads every thread to the same visitor; each key has its own."""
    with BlockingVisitorPool(client_id, client=still.client, clock=still.now) as pool:

        def visit() -> set[str]:
            sessions = [pool.session(key) for key in ("anna", "ben")]
            return {session.generate_visitor_tokens().refresh_token.value for session in sessions}

        [both] = {frozenset(found) for found in at_once(THREADS, visit)}
        assert len(both) == len(still.visitors) == 2
        assert not pool.status().is_paused
        pool.forget("anna")
        assert pool.session("anna").get_tokens().refresh_token.value not in both
    with pytest.raises(ConfigurationError, match="closed"):
        pool.session("anna")
    pool.close()


def test_kept_in_a_store(still: FakeWix, client_id: str, tmp_path: Path) -> None:
    """The visitor is there in the next run of a script, and the storage can be closed."""
    found = []
    for _ in range(2):
        storage = SQLiteStorage(tmp_path / "visitors")
        with BlockingVisitorSession(client_id, client=still.client, clock=still.now, storage=storage) as visitor:
            found.append(visitor.generate_visitor_tokens())
        blocking.run(storage.aclose)
    assert found[0] == found[1]


def test_errors_are_the_same(door: BlockingVisitorSession, still: FakeWix, no_backoff: None) -> None:
    """A door raises what the async method raises; afterwards the visitor is who it was."""
    before = door.generate_visitor_tokens()
    still.advance(LIFETIME + 1)
    still.fail(503, times=3)
    with pytest.raises(TokenRequestError) as caught:
        door.get(CART)
    assert caught.value.status_code == 503
    with pytest.raises(ConfigurationError, match="auth"):
        door.get(CART, auth=None)  # type: ignore[call-arg] # the point
    still.advance(61)
    assert door.generate_visitor_tokens().refresh_token == before.refresh_token


def test_no_password_in_a_traceback(door: BlockingVisitorSession, still: FakeWix) -> None:
    """Error reporters print the local variables of each frame; none of ours has a password or a body."""
    still.add_member("anna@example.com", "right horse")
    words = ("wrong", "battery")
    with pytest.raises(MemberLoginError) as caught:
        door.members.login("anna@example.com", " ".join(words))
    still.drop(path="/x")
    with pytest.raises(httpx.TransportError) as dropped:
        door.post("/x", json={"note": " ".join(words)})
    for error in (caught.value, dropped.value):
        frames = traceback.TracebackException.from_exception(error, capture_locals=True).format()
        ours = [text for text in frames if "test_blocking" not in text]
        assert " ".join(words) not in "".join(ours)


def test_a_stream_is_a_plain_context_manager(
    still: FakeWix, client_id: str, family: ModuleType, visitor: Tokens
) -> None:
    """A body is read as it comes, by the ordinary iterators of httpx, and may be left early."""
    lines = "".join(f"{number}\n" for number in range(10_000))

    async def answer(_request: Any) -> Any:
        return family.Response(200, content=lines.encode(), headers={"Content-Type": "text/plain; charset=utf-8"})

    client = family.AsyncClient(transport=family.MockTransport(answer))
    with BlockingVisitorSession(client_id, client=client, clock=still.now, tokens=visitor) as door:
        with door.stream("GET", "/lines") as response:
            assert isinstance(response, family.Response)
            assert list(response.iter_lines()) == lines.split()
        with door.stream("GET", "/lines") as response:
            assert next(response.iter_lines()) == "0"
        with door.stream("GET", "/lines") as response:
            assert response.read() == lines.encode()
            assert response.text == lines


def test_call_runs_async_functions(door: BlockingVisitorSession) -> None:
    """``call`` gives the async session to any async function; one that ends the program ends it in the caller."""

    async def double(session: VisitorSession, number: int, *, plus: int = 0) -> int:
        await session.get(CART)
        return 2 * number + plus

    async def leave(_session: VisitorSession) -> None:
        sys.exit(3)

    assert door.call(double, 4, plus=1) == 9
    with pytest.raises(ConfigurationError, match="do not call it here"):
        door.call(None)  # type: ignore[arg-type] # the point
    with pytest.raises(SystemExit, match="3"):
        door.call(leave)
    assert door.call(double, 1) == 2  # the loop goes on


def test_members_and_checkout_have_doors(door: BlockingVisitorSession, still: FakeWix) -> None:
    """A member logs in with a password, checks out and logs out, all without await."""
    still.add_member("anna@example.com", "right horse")
    tokens = door.members.complete(door.members.login("anna@example.com", "right horse"))
    assert door.logged_in()
    assert tokens == door.get_tokens()
    assert door.members.logout("https://shop.example/").startswith("https://")
    assert not door.logged_in()


@pytest.mark.parametrize("backend", ["asyncio", "trio"])
def test_in_a_running_loop(door: BlockingVisitorSession, backend: str) -> None:
    """A call where an event loop runs would stop the loop, so it is refused with what to do; a thread may call."""

    async def main() -> int:
        with pytest.raises(RuntimeError, match="would block that loop"):
            door.get(CART)
        with pytest.raises(RuntimeError, match="event loop"), door.stream("GET", CART):
            pass
        response = await anyio.to_thread.run_sync(door.get, CART)
        return response.status_code

    assert anyio.run(main, backend=backend) == 404


def test_in_its_own_loop(still: FakeWix, client_id: str) -> None:
    """A blocking call in ``on_change``, or in a function given to ``call``, is refused instead of waiting for ever."""
    told: list[str] = []

    def on_change(_event: object) -> None:
        try:
            visitor.get(CART)
        except RuntimeError as error:
            told.append(str(error))

    async def careless(_session: VisitorSession) -> None:
        visitor.get(CART)

    with BlockingVisitorSession(client_id, client=still.client, clock=still.now, on_change=on_change) as visitor:
        assert visitor.get(CART).status_code == 404
        with pytest.raises(RuntimeError, match="in the background loop itself"):
            visitor.call(careless)
    assert "wait for itself for ever" in told[0]


def _interrupt_the_main_thread() -> None:
    if sys.platform == "win32":
        _thread.interrupt_main()
    else:
        signal.pthread_kill(threading.main_thread().ident or 0, signal.SIGINT)


def test_an_interrupt_ends_the_wait(door: BlockingVisitorSession, still: FakeWix) -> None:
    """Ctrl-C while Wix is asked ends the call at once and harms no visitor: the renewal goes on for the others."""
    gate = still.hold(times=1)

    def interrupt() -> None:
        blocking.run(gate.wait_for, 1)
        _interrupt_the_main_thread()

    thread = threading.Thread(target=interrupt)
    thread.start()
    with pytest.raises(KeyboardInterrupt):
        door.get(CART)
    thread.join()

    async def release() -> None:
        gate.release()

    blocking.run(release)
    assert door.get(CART).status_code == 404
    assert len(still.visitors) == 1


def test_closed_while_in_use(still: FakeWix, client_id: str) -> None:
    """Closing while another thread calls ends neither that call nor the visitor; the session can be used again."""
    visitor = BlockingVisitorSession(client_id, client=still.client, clock=still.now)
    visitor.get(CART)
    gate = still.hold(times=1, path=CART)
    with ThreadPoolExecutor(1) as threads:
        answer = threads.submit(visitor.get, CART)
        blocking.run(gate.wait_for, 1)
        visitor.close()
        loop = background._loop
        loop.call_soon_threadsafe(gate.release)
        assert answer.result(timeout=10).status_code == 404
    assert visitor.get(CART).status_code == 404
    visitor.close()
    assert len(still.visitors) == 1


def test_all_pages(door: BlockingVisitorSession, still: FakeWix) -> None:
    """`each` yields the items of all pages, from any thread; a loop that ends early asks for no further page."""
    query: Any = {"cursorPaging": {"limit": 1}}
    found = [product["id"] for product in door.each(products_v3.query_products, query=query)]
    assert found == [product.id for product in still.products]
    assert len(still.api_calls()) == len(found) > 3
    still.reset_calls()
    products = door.each(products_v3.query_products, query=query)
    with ThreadPoolExecutor(2) as threads:
        assert [threads.submit(next, products).result()["id"] for _ in range(2)] == found[:2]
    for product in products:
        assert product["id"] == found[2]
        break
    assert len(still.api_calls()) == 3
    with pytest.raises(ConfigurationError, match="pages"):
        door.each(products_v3.get_product, product_id="p")  # type: ignore[arg-type]
    still.fail(400, path="/stores/*")
    with pytest.raises(WixAPIError):
        list(door.each(products_v3.query_products, query={}))


def test_a_catalogue_reads_all_pages(still: FakeWix, client_id: str) -> None:
    """The reader of the catalogue has `call` and `each`, and still makes no call that writes."""
    pool = VisitorPool(client_id, client=still.client, clock=still.now)
    with BlockingBrowserVisitors(pool) as browsers:
        catalog = browsers.begin("GET", "/", {}).catalog()
        query: Any = {"cursorPaging": {"limit": 2}}
        slugs = [product["slug"] for product in catalog.each(products_v3.query_products, query=query)]
        assert len(slugs) == len(still.products)
        answer = catalog.call(products_v3.get_product_by_slug, slug=slugs[0])
        assert answer["product"]["slug"] == slugs[0]
        with pytest.raises(ConfigurationError, match="catalog"):
            catalog.call(current_cart.refresh_current_cart)  # type: ignore[arg-type]


# Scripts: each is a process of its own

SCRIPT = f"""
import os, sys, threading, time
from wixvisitor import TokenRequestError
from wixvisitor.blocking import BlockingVisitorSession
from wixvisitor.testing import FakeWix
CLIENT_ID, CART = {CLIENT_ID!r}, {CART!r}
"""


def run_script(text: str, **environment: str) -> tuple[str, float]:
    """What a script prints, and how many seconds passed from its last line until it was gone."""
    program = SCRIPT + text + "\nprint(time.monotonic(), flush=True)\n"
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", program],
        capture_output=True,
        encoding="utf-8",
        timeout=30,
        check=False,
        env=os.environ | environment,
    )
    ended = time.monotonic()
    assert (done.returncode, done.stderr) == (0, ""), done.stderr
    *lines, last = done.stdout.splitlines()
    return "\n".join(lines), ended - float(last)


def test_a_script_that_closes_nothing() -> None:
    """It ends at once, without a warning, over real sockets as well."""
    told, seconds = run_script(
        """
from anyio.from_thread import start_blocking_portal
with start_blocking_portal() as wix, wix.wrap_async_context_manager(FakeWix().serve()) as url:
    visitor = BlockingVisitorSession(CLIENT_ID, base_url=url)
    print(visitor.get(CART).status_code)
"""
    )
    assert told == "404"
    assert seconds < 20.0


def test_a_script_that_ends_while_wix_hangs() -> None:
    """The end of the process waits three seconds at most for a call that another thread has under way."""
    told, seconds = run_script(
        """
fake = FakeWix()
visitor = BlockingVisitorSession(CLIENT_ID, client=fake.client, renew_timeout=600)
fake.hold(times=None)
def call():
    try:
        visitor.get(CART)
    except TokenRequestError:
        pass  # it was closed before Wix had answered
threading.Thread(target=call, daemon=True).start()
while not fake.calls:
    time.sleep(0.01)
print(len(fake.calls))
"""
    )
    assert told == "1"
    assert seconds < 20.0  # Wix hangs for 600


@pytest.mark.skipif(not hasattr(os, "fork"), reason="this system has no fork")
def test_after_a_fork(tmp_path: Path, visitor: Tokens) -> None:
    """A child, as of gunicorn with preload, goes on as the same visitor, and the parent's TLS connection goes on."""
    authority, context = trustme.CA(), ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.cert_pem.write_to_path(tmp_path / "ca.pem")
    authority.issue_cert("127.0.0.1").configure_cert(context)
    with (
        start_blocking_portal() as portal,
        portal.wrap_async_context_manager(raw_server(context=context)) as server,
    ):
        told, _ = run_script(
            f"""
import json, socket, warnings
from wixvisitor import Tokens
warnings.simplefilter("ignore", DeprecationWarning)  # Python 3.12 warns of every fork with threads

def connections():
    found = 0
    for number in map(int, os.listdir("/dev/fd")):
        try:
            with socket.socket(fileno=os.dup(number)) as one:
                found += isinstance(one.getpeername(), tuple)
        except OSError:
            pass
    return found

tokens = Tokens.from_dict(json.loads({json.dumps(visitor.to_dict())!r}))
visitor = BlockingVisitorSession(CLIENT_ID, base_url={server.url!r}, tokens=tokens, clock=lambda: {EPOCH})
print(visitor.get("/parent").status_code, connections(), flush=True)
child = os.fork()
if not child:
    warnings.simplefilter("ignore", ResourceWarning)  # asyncio warns of the parent's transports, which the child drops
    print("child", connections(), visitor.get_tokens() == tokens, visitor.get("/child").status_code, flush=True)
    sys.exit()
_, status = os.waitpid(child, 0)
print(status, visitor.get("/parent").status_code, connections())
""",
            SSL_CERT_FILE=str(tmp_path / "ca.pem"),
        )
        assert told.splitlines() == ["200 1", "child 0 True 200", "0 200 1"]
        assert server.connections == 2  # the child's, and the parent's, which goes on


def test_asyncio_to_thread(door: BlockingVisitorSession) -> None:
    """What the error message advises works."""
    response = asyncio.run(asyncio.wait_for(asyncio.to_thread(door.get, CART), 10))
    assert isinstance(response, httpx.Response)


# What ends the loop, or must not


def test_an_interrupt_while_a_stream_opens(door: BlockingVisitorSession, still: FakeWix) -> None:
    """Ctrl-C while a stream is opened ends that; the session still closes."""
    door.get(CART)
    gate = still.hold(times=1, path=CART)

    def interrupt() -> None:
        blocking.run(gate.wait_for, 1)
        _interrupt_the_main_thread()

    thread = threading.Thread(target=interrupt)
    thread.start()
    with pytest.raises(KeyboardInterrupt), door.stream("GET", CART):
        pass
    thread.join()
    background._loop.call_soon_threadsafe(gate.release)
    assert door.get(CART).status_code == 404


class Unusual(BaseException):
    """Neither an error nor an interrupt."""


def test_an_unusual_exception_ends_one_call_only(door: BlockingVisitorSession) -> None:
    """What is no ``Exception`` is raised where the call was made, and the loop goes on."""

    async def fail(_session: VisitorSession) -> None:
        raise Unusual

    with pytest.raises(Unusual):
        door.call(fail)
    assert door.get(CART).status_code == 404


@pytest.mark.filterwarnings("ignore::pytest.PytestUnhandledThreadExceptionWarning")  # Python itself says nothing
def test_a_loop_that_has_ended_is_replaced(still: FakeWix, client_id: str) -> None:
    """``sys.exit`` in a callback ends the loop; the next call starts another one, as the same visitor."""
    visitor = BlockingVisitorSession(client_id, client=still.client, clock=still.now)
    before = visitor.generate_visitor_tokens()
    loop, thread = background._loop, background._thread
    assert thread is not None
    loop.call_soon_threadsafe(sys.exit)
    thread.join(10)
    assert visitor.get(CART).status_code == 404
    assert visitor.get_tokens() == before
    visitor.close()


def test_a_closed_pool_streams_nothing(still: FakeWix, client_id: str) -> None:
    """A session of a closed pool says so for streams as well."""
    with BlockingVisitorPool(client_id, client=still.client, clock=still.now) as pool:
        visitor = pool.session("anna")
    with pytest.raises(ConfigurationError, match="closed"), visitor.stream("GET", CART):
        pass


def test_an_answer_is_whole(still: FakeWix, client_id: str, family: ModuleType, visitor: Tokens) -> None:
    """A stream's answer knows its next request and how long it took, as an async one does."""

    async def answer(_request: Any) -> Any:
        return family.Response(302, headers={"Location": "/there"}, stream=Chunks(family))

    client = family.AsyncClient(transport=family.MockTransport(answer))
    with BlockingVisitorSession(client_id, client=client, clock=still.now, tokens=visitor) as door:
        with door.stream("GET", "/here") as response:
            assert response.read() == b"moved"
            assert str(response.next_request.url).endswith("/there")
        assert response.elapsed.total_seconds() >= 0


def Chunks(family: ModuleType) -> Any:  # noqa: N802 - makes a stream of the family's own class
    class Stream(family.AsyncByteStream):  # type: ignore[name-defined, misc] # of httpx or httpx2
        async def __aiter__(self) -> Any:
            yield b"moved"

    return Stream()
