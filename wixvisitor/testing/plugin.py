"""The pytest plugin: a FakeWix, its clock, and visitors over it. Loaded by pytest itself; imports little until used.

===================  ===========================================================================================
fixture              is
===================  ===========================================================================================
``fake_wix``         a strict `FakeWix` whose clock stands still; calls to unknown routes fail the test at its end
``wix_clock``        its clock: ``wix_clock.advance(seconds)`` lets tokens expire
``wix_url``          where it is served, on a port of 127.0.0.1, for whatever speaks HTTP
``wix_client_id``    a client ID
``visitor_session``  a `VisitorSession` over it, without a network
``visitor_pool``     a `VisitorPool` over it, without a network: for web apps
===================  ===========================================================================================

Faults are methods of ``fake_wix``, or a marker: ``@pytest.mark.wix_fault("fail", 503, times=2)``. Whoever uses
``fake_wix``, also by way of another fixture, and leaves a `VisitorSession` or `VisitorPool` with a client of its own
open, fails at the end of the test.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any, Final

import pytest

if TYPE_CHECKING:
    from wixvisitor import VisitorPool, VisitorSession
    from wixvisitor.testing import FakeWix

CLIENT_ID: Final = "00000000-fa4e-4000-8000-000000000000"
FAULTS: Final = ("fail", "delay", "hang", "drop", "truncate", "add_header", "set_cookie")


def pytest_configure(config: pytest.Config) -> None:
    """Registers the marker."""
    config.addinivalue_line(
        "markers",
        f"wix_fault(name, ...): fake_wix misbehaves: one of {', '.join(FAULTS)}, with that method's arguments",
    )


class WixClock:
    """The time that `FakeWix` and the sessions of a test live in. It moves only when a test says so."""

    def __init__(self, fake: FakeWix) -> None:
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
def fake_wix(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Iterator[FakeWix]:
    """A stand-in for Wix, with a clock that stands still. Fails at the end on calls that it does not know.

    It fails as well if a VisitorSession or VisitorPool with a client of its own was left open.
    """
    from wixvisitor.testing import FakeWix  # noqa: PLC0415 - needs the extra, and takes a moment

    started = float(int(time.time()))
    fake = FakeWix(strict=True, clock=lambda: started)
    for mark in reversed(list(request.node.iter_markers("wix_fault"))):
        _add_fault(fake, mark)
    opened = _watched(monkeypatch)
    with fake:
        yield fake
    left = sum(not client.is_closed for client in opened)
    if left:
        pytest.fail(
            f"{left} VisitorSession or VisitorPool left open: use `async with`, or `await ….aclose()` in the event "
            f"loop that used it; a web app's is closed when its lifespan ends (`with TestClient(app)`)",
            pytrace=False,
        )


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

    with start_blocking_portal() as portal, portal.wrap_async_context_manager(fake_wix.serve()) as url:
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


def _add_fault(fake: FakeWix, mark: pytest.Mark) -> None:
    name, *arguments = mark.args or ("",)
    if name not in FAULTS:
        raise pytest.UsageError(f"wix_fault: the first argument is one of {', '.join(FAULTS)}, not {name!r}")
    try:
        getattr(fake, name)(*arguments, **mark.kwargs)
    except TypeError as error:
        raise pytest.UsageError(f"wix_fault: {error}") from None


def _watched(monkeypatch: pytest.MonkeyPatch) -> list[Any]:
    """Returns the clients that sessions and pools open for themselves from now on."""
    from wixvisitor._connections import Connections  # noqa: PLC0415 - takes a moment

    opened: list[Any] = []
    opening = Connections._open

    def noting(connections: Connections, loop: object) -> Any:
        connection = opening(connections, loop)
        opened.append(connection.client)
        return connection

    monkeypatch.setattr(Connections, "_open", noting)
    return opened
