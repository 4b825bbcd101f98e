"""The part of ``FakeWix`` that makes things go wrong."""

from collections.abc import Mapping
from typing import TypedDict, Unpack

from wixvisitor.testing._answers import BodyArgument, fault_answer
from wixvisitor.testing._faults import AddHeader, Delay, Drop, Fail, Fault, Faults, Hang, Hold, Truncate
from wixvisitor.testing._gate import Gate


class WhichCalls(TypedDict, total=False):
    """Which calls go wrong; ``FaultControls`` says what each means."""

    path: str | None
    times: int | None
    grant_type: str | None
    after: int


class WhichCallsAndWhen(WhichCalls, total=False):
    """… and whether before or after the fake has done what was asked."""

    committed: bool


class FaultControls:
    """Makes calls go wrong. Which ones is said the same way each time:

    - ``path``: None is every path but ``/oauth2/…``; ``"/ecom/*"`` is every path that begins so; any other is that one.
    - ``times``: for how many calls; None is for ever.
    - ``grant_type``: only token calls of this grant, ``"anonymous"`` or ``"refresh_token"``.
    - ``after``: how many matching calls are let through first.
    - ``committed``: whether the fake does what was asked before it misbehaves, so that only the answer is lost or late.

    What befalls a call is decided when it arrives. Faults are tried in the order they were added: delays and gates add
    up, and the first that fails, hangs or drops the call ends it, so that those behind it do not see that call.

    Concurrency: everything here may be called from any thread while the fake is serving.
    """

    _faults: Faults

    def fail(
        self,
        status: int = 503,
        *,
        headers: Mapping[str, str] | None = None,
        body: BodyArgument = None,
        **which: Unpack[WhichCallsAndWhen],
    ) -> Fault:
        """Answers this instead: a token call, once, unless something else is said.

        A ``body`` that is a dict is sent as JSON, a str as HTML if it begins with ``<`` and else as text, bytes as they
        are, an iterable of bytes without a length, and None is no content at all.
        """
        return self._faults.add(Fault(action=Fail(fault_answer(status, headers, body)), **which))

    def delay(self, seconds: float, **which: Unpack[WhichCallsAndWhen]) -> Fault:
        """Answers so many seconds of real time late: a token call, once, unless something else is said."""
        return self._faults.add(Fault(action=Delay(seconds), **which))

    def hang(self, **which: Unpack[WhichCallsAndWhen]) -> Fault:
        """Never answers a token call, once, unless something else is said.

        The call ends when the client goes away or the server stops.
        """
        return self._faults.add(Fault(action=Hang(), **which))

    def drop(self, **which: Unpack[WhichCallsAndWhen]) -> Fault:
        """Closes the connection without an answer: of a token call, once, unless something else is said."""
        return self._faults.add(Fault(action=Drop(), **which))

    def hold(self, **which: Unpack[WhichCallsAndWhen]) -> Gate:
        """Holds the calls at a gate until the test releases it: all token calls, unless something else is said."""
        gate = Gate()
        which.setdefault("times", None)
        self._faults.add(Fault(action=Hold(gate), **which))
        return gate

    def truncate(self, after_bytes: int, **which: Unpack[WhichCalls]) -> Fault:
        """Sends this much of the body, then closes the connection; the Content-Length promised more.

        The body of a token call, once, unless something else is said.
        """
        return self._faults.add(Fault(action=Truncate(after_bytes), **which))

    def add_header(self, name: str, value: str, **which: Unpack[WhichCalls]) -> Fault:
        """Puts a header on all answers, unless something else is said, those of ``fail`` included."""
        which.setdefault("path", None)
        which.setdefault("times", None)
        return self._faults.add(Fault(action=AddHeader((name, value)), **which))

    def set_cookie(self, cookie: str, **which: Unpack[WhichCalls]) -> Fault:
        """Puts a Set-Cookie header on all answers, unless something else is said.

        ``cookie`` is its whole value, ``"name=value; Path=/"``.
        """
        return self.add_header("set-cookie", cookie, **which)
