"""The pytest plugin: a FakeWix, its clock, and visitors over it. Loaded by pytest itself; imports little until used.

===================  ===========================================================================================
fixture              is
===================  ===========================================================================================
``fake_wix``         a strict ``FakeWix`` whose clock stands still; calls to unknown routes fail the test at its end
``wix_clock``        its clock: ``wix_clock.advance(seconds)`` lets tokens expire
``wix_url``          where it is served, on a port of 127.0.0.1, for whatever speaks HTTP
``wix_client_id``    a client ID
``visitor_session``  a ``VisitorSession`` over it, without a network
``visitor_pool``     a ``VisitorPool`` over it, without a network: for web apps
===================  ===========================================================================================

Faults are methods of ``fake_wix``, or a marker: ``@pytest.mark.wix_fault("fail", 503, times=2)``. Whoever uses
``fake_wix``, also by way of another fixture, and leaves a ``VisitorSession`` or ``VisitorPool`` with a client of its
own open, fails at the end of the test. Those that the fixtures hand out hold nothing that needs closing.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Generator, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, Protocol

import pytest

if TYPE_CHECKING:
    from wixvisitor import VisitorPool, VisitorSession
    from wixvisitor.testing import FakeWix

CLIENT_ID: Final = "00000000-fa4e-4000-8000-000000000000"
FAULTS: Final = ("fail", "delay", "hang", "drop", "truncate", "add_header", "set_cookie")
_HAS_FAKE: Final = pytest.StashKey[bool]()


def pytest_configure(config: pytest.Config) -> None:
    """Registers the marker."""
    config.addinivalue_line(
        "markers",
        f"wix_fault(name, ...): fake_wix misbehaves: one of {', '.join(FAULTS)}, with that method's arguments",
    )


@pytest.hookimpl(wrapper=True)
def pytest_runtest_call(item: pytest.Item) -> Generator[None, Any, Any]:
    """Fails a test whose own marker asks for a fault, and that had no FakeWix; a class's may be for others."""
    __tracebackhide__ = True
    result = yield  # only now it is known, since a test may get a fixture while it runs
    marked = any(mark.name == "wix_fault" for mark in item.own_markers)
    if marked and not item.stash.get(_HAS_FAKE, False):
        raise pytest.UsageError("wix_fault: nothing could go wrong: this test does not use the fixture fake_wix")
    return result


class _Clocked(Protocol):
    """``FakeWix``, which pytest should not have to import before a test needs it."""

    def now(self) -> float: ...

    def advance(self, seconds: float) -> None: ...


class WixClock:
    """The time that ``FakeWix`` and the sessions of a test live in. It moves only when a test says so."""

    def __init__(self, fake: _Clocked) -> None:
        self._fake = fake

    def now(self) -> float:
        """Returns the time in seconds since the epoch: what ``VisitorSession(clock=…)`` takes."""
        return self._fake.now()

    def advance(self, seconds: float) -> None:
        """Moves the clock forward."""
        self._fake.advance(seconds)


@pytest.fixture
def wix_client_id() -> str:
    """A client ID that FakeWix knows."""
    return CLIENT_ID


@pytest.fixture
def fake_wix(request: pytest.FixtureRequest) -> Iterator[FakeWix]:
    """A stand-in for Wix, with a clock that stands still. Fails at the end on calls that it does not know.

    It fails as well if a VisitorSession or VisitorPool with a client of its own was left open.
    """
    __tracebackhide__ = _is_usage  # a wrong marker is not to be found in here
    from wixvisitor.testing import FakeWix  # noqa: PLC0415 - needs the extra, and takes a moment

    started = float(int(time.time()))
    fake = FakeWix(strict=True, clock=lambda: started)
    for mark in reversed(list(request.node.iter_markers("wix_fault"))):
        _add_fault(fake, mark)
    request.node.stash[_HAS_FAKE] = True
    with _watching() as opened:
        yield fake
    wrong = [*_unmatched(fake), *_left_open(opened)]
    if wrong:
        pytest.fail("\n".join(wrong), pytrace=False)


@pytest.fixture
def wix_clock(fake_wix: FakeWix) -> WixClock:
    """FakeWix's clock: ``now()``, and ``advance(seconds)`` to let tokens expire."""
    return WixClock(fake_wix)


@pytest.fixture
def wix_url(fake_wix: FakeWix) -> Iterator[str]:
    """Where FakeWix is served, ``http://127.0.0.1:PORT``: for programs, other processes, other languages.

    It runs in a thread of its own, so that tests without an event loop can use it too.
    """
    from anyio.from_thread import start_blocking_portal  # noqa: PLC0415 - takes a moment

    from wixvisitor.testing._serve import serving  # noqa: PLC0415 - fake_wix itself complains, not its server too

    with start_blocking_portal() as portal, portal.wrap_async_context_manager(serving(fake_wix.app)) as url:
        yield url


@pytest.fixture
def visitor_session(fake_wix: FakeWix, wix_client_id: str) -> VisitorSession:
    """A VisitorSession over FakeWix, without a network and with its clock; nobody is made before its first call."""
    from wixvisitor import VisitorSession  # noqa: PLC0415 - takes a moment

    return VisitorSession(wix_client_id, client=fake_wix.client(), clock=fake_wix.now)


@pytest.fixture
def visitor_pool(fake_wix: FakeWix, wix_client_id: str) -> VisitorPool:
    """A VisitorPool over FakeWix, without a network and with its clock: for an app's ``setup``."""
    from wixvisitor import VisitorPool  # noqa: PLC0415 - takes a moment

    return VisitorPool(wix_client_id, client=fake_wix.client(), clock=fake_wix.now)


def _is_usage(info: pytest.ExceptionInfo[BaseException]) -> bool:
    return info.errisinstance(pytest.UsageError)


def _add_fault(fake: FakeWix, mark: pytest.Mark) -> None:
    __tracebackhide__ = True
    name, *arguments = mark.args or ("",)
    if name == "hold":
        raise pytest.UsageError("wix_fault: not hold, whose gate a test must release: gate = fake_wix.hold(…)")
    if name not in FAULTS:
        raise pytest.UsageError(f"wix_fault: the first argument is one of {', '.join(FAULTS)}, not {name!r}")
    try:
        getattr(fake, name)(*arguments, **mark.kwargs)
    except TypeError as error:
        raise pytest.UsageError(f"wix_fault: {error}") from None


def _unmatched(fake: FakeWix) -> Iterator[str]:
    try:
        with fake:
            return
    except AssertionError as error:
        yield str(error)


def _left_open(opened: list[tuple[Any, str]]) -> Iterator[str]:
    places = sorted({place for client, place in opened if not client.is_closed})
    if places:
        yield (
            f"left open: {', '.join(places)}. Use `async with`, or `await ….aclose()` in the event loop that used it; "
            f"a web app's is closed when its lifespan ends (`with TestClient(app)`)"
        )


@contextmanager
def _watching() -> Iterator[list[tuple[Any, str]]]:
    """Collects the clients that sessions and pools open for themselves, and where the test made those."""
    from wixvisitor._http.clients import Connections  # noqa: PLC0415 - takes a moment

    made: dict[Connections, str] = {}
    opened: list[tuple[Any, str]] = []
    making, opening = Connections.__init__, Connections._open

    def note_made(connections: Connections, client: Any, *more: Any) -> None:
        making(connections, client, *more)
        if client is None:
            made[connections] = _maker()

    def note_opened(connections: Connections, loop: object) -> Any:
        connection = opening(connections, loop)
        opened.append((connection.client, made.get(connections, "a VisitorSession or VisitorPool made before")))
        return connection

    with pytest.MonkeyPatch.context() as patch:  # not the test's own, which it may undo
        patch.setattr(Connections, "__init__", note_made)
        patch.setattr(Connections, "_open", note_opened)
        yield opened


def _maker() -> str:
    """Which class of the library is being made, and by which line outside of it."""
    frame, kind = sys._getframe(2), ""
    while frame.f_back is not None and frame.f_globals.get("__name__", "").partition(".")[0] == "wixvisitor":
        frame, kind = frame.f_back, frame.f_code.co_qualname.partition(".")[0]
    return f"the {kind} of {Path(frame.f_code.co_filename).name}:{frame.f_lineno}"
