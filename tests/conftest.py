"""Fixtures for all tests: both event loops, a moved clock, a stand-in for Wix."""

from __future__ import annotations

import gc
import os
import tempfile
from collections.abc import AsyncGenerator, Callable, Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import anyio
import attrs
import httpx
import httpx2
import hypothesis
import pytest
import trustme

from tests.constants import CLIENT_ID, EPOCH, IN_CI, Clock, SessionMaker
from wixvisitor import AccessToken, RefreshToken, TokenRole, Tokens, VisitorSession
from wixvisitor.testing import FakeWix

from .diagonal import on_the_diagonal, parameters
from .over_loopback import CANNOT, TRANSPORTS, client_over_loopback  # noqa: F401 - a fixture

os.environ.setdefault(
    "PYTHONIOENCODING", "utf-8"
)  # of the processes that tests start: so they are read, also on Windows

hypothesis.settings.register_profile(
    "busy",
    deadline=None,  # no test of ours is about how fast a machine is
    suppress_health_check=[hypothesis.HealthCheck.too_slow],
    max_examples=200 if IN_CI else 30,
)
hypothesis.settings.load_profile("busy")


@pytest.fixture(params=["asyncio", "trio"])
def anyio_backend(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture
def client_id() -> str:
    return CLIENT_ID


@pytest.fixture
def fake() -> FakeWix:
    return FakeWix()


@pytest.fixture(params=[httpx, httpx2], ids=["httpx", "httpx2"])
def family(request: pytest.FixtureRequest) -> ModuleType:
    module: ModuleType = request.param
    return module


# What the behaviour tests share. A clock that stands still unless a test moves it: `still.advance(seconds)`.


@pytest.fixture
def still() -> FakeWix:
    return FakeWix(clock=lambda: EPOCH)


@pytest.fixture
def clock() -> Clock:
    """For what has no fake: it stands still unless a test moves it."""
    return Clock()


@pytest.fixture
def no_backoff(monkeypatch: pytest.MonkeyPatch) -> None:
    """Retries of the token endpoint without their pauses; as many attempts as ever."""
    monkeypatch.setattr("wixvisitor._renewal.endpoint.back_off", lambda _: 0.0)


@pytest.fixture
def no_collection() -> Iterator[None]:
    """For input that is nested too deeply: garbage of other tests is collected before or after.

    No ``__del__`` can run at the deepest point of a recursion, and pytest reports each one that fails.
    """
    gc.disable()
    yield
    gc.enable()


@pytest.fixture
def session_of(still: FakeWix, client_id: str) -> SessionMaker:
    """Makes a session over the fake in process, with its clock; takes what `VisitorSession` takes."""

    def make(module: ModuleType = httpx, **arguments: Any) -> VisitorSession:
        arguments = {"client": None, "clock": still.now, **arguments}
        if arguments["client"] is None:
            own = {"base_url": arguments["base_url"]} if "base_url" in arguments else {}
            arguments["client"] = still.client(module, timeout=60.0, **own)  # a thousand callers on a busy machine
        return VisitorSession(arguments.pop("client_id", client_id), **arguments)

    return make


@pytest.fixture
def tokens_from(still: FakeWix) -> Callable[..., Tokens]:
    """Turns the fake's token response into `Tokens` as of now."""

    def tokens(response: dict[str, Any], role: TokenRole = TokenRole.VISITOR) -> Tokens:
        access = AccessToken(response["access_token"], int(still.now()) + response["expires_in"])
        return Tokens(access, RefreshToken(response["refresh_token"], role))

    return tokens


@pytest.fixture
def visitor(still: FakeWix, client_id: str, tokens_from: Callable[..., Tokens]) -> Tokens:
    """A visitor whom the fake knows; nobody called the token endpoint for it."""
    return tokens_from(still.mint_visitor(client_id))


@pytest.fixture
def member(still: FakeWix, client_id: str, tokens_from: Callable[..., Tokens]) -> Tokens:
    """A logged-in member whom the fake knows."""
    return tokens_from(still.mint_member(client_id), TokenRole.MEMBER)


async def _until(condition: Callable[[], object], *, seconds: float = 5.0) -> None:
    with anyio.fail_after(seconds):
        while not condition():  # noqa: ASYNC110 - what is waited for offers no event
            await anyio.sleep(0.001)


@pytest.fixture
def until() -> Callable[..., Any]:
    """Waits until a function's result is true, looking every millisecond."""
    return _until


@attrs.define
class Served:
    """A FakeWix on a loopback port of its own."""

    fake: FakeWix
    url: str


@pytest.fixture
async def served(still: FakeWix, anyio_backend: str) -> AsyncGenerator[Served]:
    """The fake with the still clock, on loopback."""
    async with still.serve() as url:
        yield Served(still, url)


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--client", choices=tuple(TRANSPORTS), help="reach the fake over loopback, through this transport")


def pytest_configure(config: pytest.Config) -> None:
    _use_one_certificate(config)
    if (
        config.getoption("--client") is not None
    ):  # nobody closes the clients that the fake hands out, which are sockets here
        for warning in ("ResourceWarning", "pytest.PytestUnraisableExceptionWarning"):
            config.addinivalue_line("filterwarnings", f"ignore::{warning}")


def _use_one_certificate(config: pytest.Config) -> None:
    """Has each HTTP client read one authority's certificate. The usual 140 take 15 ms, for thousands of clients."""
    if "SSL_CERT_FILE" not in os.environ:
        descriptor, name = tempfile.mkstemp(prefix="wixvisitor-", suffix=".pem")
        config.add_cleanup(Path(name).unlink)
        with open(descriptor, "wb") as file:  # closed, since OpenSSL cannot open it on Windows otherwise
            file.write(trustme.CA().cert_pem.bytes())
        os.environ["SSL_CERT_FILE"] = name


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Leaves out what a client cannot do: trio with aiohttp, other event loops than the one it was first used in.

    Outside of CI also what is not on the diagonal, except where a test is named with its parameters.
    """
    kind = config.getoption("--client")
    words = CANNOT.get(kind, ())
    taken = [item for item in items if not any(word in f"{item.name} {parameters(item)}" for word in words)]
    if not IN_CI and not any("[" in argument for argument in config.args):
        taken = on_the_diagonal(taken)
    kept = set(taken)
    config.hook.pytest_deselected(items=[item for item in items if item not in kept])
    items[:] = taken


@hypothesis.settings(max_examples=1, database=None)
@hypothesis.given(hypothesis.strategies.none())
def _first_example(_nothing: None) -> None:
    """Makes hypothesis register its random numbers, which it cannot do once the module that holds them is frozen."""


def pytest_collection_finish() -> None:
    """Takes what is loaded by now out of later collections, which take a tenth of the time then."""
    _first_example()
    gc.collect()
    gc.freeze()


@pytest.hookimpl(trylast=True)
def pytest_runtest_teardown(item: pytest.Item, nextitem: pytest.Item | None) -> None:
    """Does the same after each file, whose tests may have loaded a whole framework."""
    if nextitem is None or nextitem.path != item.path:
        gc.collect()
        gc.freeze()
