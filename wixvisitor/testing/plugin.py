"""The pytest plugin: fixtures for a FakeWix, its clock, and sessions that use it. pytest loads it in every run.

===================  ===========================================================================================
fixture              returns
===================  ===========================================================================================
``fake_wix``         a strict ``FakeWix`` with a clock that stands still; the test fails if it calls an unknown route
``wix_clock``        its clock: ``wix_clock.advance(seconds)`` moves it, for example until tokens expire
``wix_url``          its URL on a port of 127.0.0.1, for any HTTP client
``wix_client_id``    a client ID
``visitor_session``  a ``VisitorSession`` that uses it without a network
``visitor_pool``     a ``VisitorPool`` that uses it without a network: for web apps
===================  ===========================================================================================

To add a fault, call a method of ``fake_wix`` or use the marker: ``@pytest.mark.wix_fault("fail", 503, times=2)``.
A test that uses ``fake_wix``, also through another fixture, fails at its end if it leaves a ``VisitorSession`` or
``VisitorPool`` open that made a client of its own. The sessions and pools of the fixtures need no closing.
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
        f"wix_fault(name, ...): adds a fault to fake_wix: one of {', '.join(FAULTS)}, with that method's arguments",
    )


@pytest.hookimpl(wrapper=True)
def pytest_runtest_call(item: pytest.Item) -> Generator[None, Any, Any]:
    """Fails a test that has the marker ``wix_fault`` itself, not from its class, and does not use ``fake_wix``."""
    __tracebackhide__ = True
    result = yield  # checked after the test: it may request a fixture while it runs
    marked = any(mark.name == "wix_fault" for mark in item.own_markers)
    if marked and not item.stash.get(_HAS_FAKE, False):
        raise pytest.UsageError("wix_fault: the marker has no effect: this test does not use the fixture fake_wix")
    return result


class _Clocked(Protocol):
    """``FakeWix``, which pytest should not have to import before a test needs it."""

    def now(self) -> float: ...

    def advance(self, seconds: float) -> None: ...


class WixClock:
    """The clock of ``FakeWix`` and of a test's sessions. It moves only when the test calls ``advance``."""

    def __init__(self, fake: _Clocked) -> None:
        self._fake = fake

    def now(self) -> float:
        """Returns the time in seconds since the epoch. The method can be passed as ``VisitorSession(clock=…)``."""
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
    """A fake of Wix with a clock that stands still. At its end the test fails if it made calls to unknown routes.

    It also fails if it left a VisitorSession or VisitorPool open that made a client of its own.
    """
    __tracebackhide__ = _is_usage  # the error of a wrong marker is in the test, not here
    from wixvisitor.testing import FakeWix  # noqa: PLC0415 - needs the extra, and is a slow import

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
    """FakeWix's clock: ``now()`` returns its time, ``advance(seconds)`` moves it, for example until tokens expire."""
    return WixClock(fake_wix)


@pytest.fixture
def wix_url(fake_wix: FakeWix) -> Iterator[str]:
    """FakeWix's URL, ``http://127.0.0.1:PORT``: for programs, other processes and other languages.

    The server runs in a separate thread, so that tests without an event loop can use it, too.
    """
    from anyio.from_thread import start_blocking_portal  # noqa: PLC0415 - a slow import

    # ``serving`` checks nothing at its end, unlike ``fake_wix.serve()``: the fixture ``fake_wix`` checks already.
    from wixvisitor.testing._serve import serving  # noqa: PLC0415 - a slow import

    with start_blocking_portal() as portal, portal.wrap_async_context_manager(serving(fake_wix.app)) as url:
        yield url


@pytest.fixture
def visitor_session(fake_wix: FakeWix, wix_client_id: str) -> VisitorSession:
    """A VisitorSession that uses FakeWix without a network, and its clock. Its first call mints the visitor."""
    from wixvisitor import VisitorSession  # noqa: PLC0415 - a slow import

    return VisitorSession(wix_client_id, client=fake_wix.client(), clock=fake_wix.now)


@pytest.fixture
def visitor_pool(fake_wix: FakeWix, wix_client_id: str) -> VisitorPool:
    """A VisitorPool that uses FakeWix without a network, and its clock: for the ``setup`` of a web app."""
    from wixvisitor import VisitorPool  # noqa: PLC0415 - a slow import

    return VisitorPool(wix_client_id, client=fake_wix.client(), clock=fake_wix.now)


def _is_usage(info: pytest.ExceptionInfo[BaseException]) -> bool:
    return info.errisinstance(pytest.UsageError)


def _add_fault(fake: FakeWix, mark: pytest.Mark) -> None:
    __tracebackhide__ = True
    name, *arguments = mark.args or ("",)
    if name == "hold":
        raise pytest.UsageError(
            "wix_fault: the marker cannot be used for hold, because the test must release its gate. "
            "Call gate = fake_wix.hold(…) in the test"
        )
    if name not in FAULTS:
        raise pytest.UsageError(f"wix_fault: the first argument must be one of {', '.join(FAULTS)}, not {name!r}")
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
            f"not closed: {', '.join(places)}. Use `async with`, or `await ….aclose()` in the event loop that used it. "
            f"A web app closes its pool when its lifespan ends (`with TestClient(app)`)"
        )


@contextmanager
def _watching() -> Iterator[list[tuple[Any, str]]]:
    """Collects the clients that sessions and pools open for themselves, each with the line that made its owner."""
    from wixvisitor._http.clients import Connections  # noqa: PLC0415 - a slow import

    made: dict[Connections, str] = {}
    opened: list[tuple[Any, str]] = []
    making, opening = Connections.__init__, Connections._open

    def note_made(connections: Connections, client: Any, *more: Any) -> None:
        making(connections, client, *more)
        if client is None:
            made[connections] = _maker()

    def note_opened(connections: Connections, loop: object) -> Any:
        connection = opening(connections, loop)
        opened.append((connection.client, made.get(connections, "a VisitorSession or VisitorPool of before")))
        return connection

    with pytest.MonkeyPatch.context() as patch:  # not the fixture ``monkeypatch``: the test may undo that one
        patch.setattr(Connections, "__init__", note_made)
        patch.setattr(Connections, "_open", note_opened)
        # A client that only the end of its event loop would close has been left open.
        patch.setattr("wixvisitor._http.clients.owner_of", lambda *_: None)
        yield opened


def _maker() -> str:
    """Returns which class of the library is being instantiated, and the line outside the library that does it."""
    frame, kind = sys._getframe(2), ""
    while frame.f_back is not None and frame.f_globals.get("__name__", "").partition(".")[0] == "wixvisitor":
        frame, kind = frame.f_back, frame.f_code.co_qualname.partition(".")[0]
    return f"the {kind} of {Path(frame.f_code.co_filename).name}:{frame.f_lineno}"
