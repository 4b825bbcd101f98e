"""The methods of ``FakeWix`` that add faults."""

from collections.abc import Mapping
from typing import TypedDict, Unpack

from wixvisitor.testing._answers import BodyArgument, fault_answer
from wixvisitor.testing._faults import AddHeader, Delay, Drop, Fail, Fault, Faults, Hang, Hold, Truncate
from wixvisitor.testing._gate import Gate


class WhichCalls(TypedDict, total=False):
    """Selects the calls to which a fault applies. ``FakeWix`` explains each argument."""

    path: str | None
    times: int | None
    grant_type: str | None
    after: int


class WhichCallsAndWhen(WhichCalls, total=False):
    """Selects the calls, and whether the fault occurs before or after the fake has handled the call."""

    committed: bool


class FaultControls:
    """Adds faults to the fake. ``FakeWix`` says what ``which``, the arguments that all methods have, select.

    Concurrency: all methods may be called from any thread while the fake is serving.
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
        """Sends this answer instead. By default to one token call.

        Args:
            status: The HTTP status.
            headers: Further headers.
            body: A dict is sent as JSON. A str is sent as HTML if it begins with ``<``, else as text. Bytes are sent
                unchanged, and an iterable of bytes without a Content-Length. None is an empty body.

        ``which`` are ``path``, ``times``, ``grant_type``, ``after`` and ``committed``.

        """
        return self._faults.add(Fault(action=Fail(fault_answer(status, headers, body)), **which))

    def delay(self, seconds: float, **which: Unpack[WhichCallsAndWhen]) -> Fault:
        """Answers after ``seconds`` of real time. By default one token call.

        ``which`` are ``path``, ``times``, ``grant_type``, ``after`` and ``committed``.

        """
        return self._faults.add(Fault(action=Delay(seconds), **which))

    def hang(self, **which: Unpack[WhichCallsAndWhen]) -> Fault:
        """Never answers. By default one token call.

        The call ends when the client disconnects or the server stops.

        ``which`` are ``path``, ``times``, ``grant_type``, ``after`` and ``committed``.

        """
        return self._faults.add(Fault(action=Hang(), **which))

    def drop(self, **which: Unpack[WhichCallsAndWhen]) -> Fault:
        """Closes the connection without an answer. By default of one token call.

        ``which`` are ``path``, ``times``, ``grant_type``, ``after`` and ``committed``.

        """
        return self._faults.add(Fault(action=Drop(), **which))

    def hold(self, **which: Unpack[WhichCallsAndWhen]) -> Gate:
        """Holds calls at a gate until the test releases it. By default all token calls.

        ``which`` are ``path``, ``times``, ``grant_type``, ``after`` and ``committed``.

        """
        gate = Gate()
        which.setdefault("times", None)
        self._faults.add(Fault(action=Hold(gate), **which))
        return gate

    def truncate(self, after_bytes: int, **which: Unpack[WhichCalls]) -> Fault:
        """Sends the first ``after_bytes`` bytes of the body, then closes the connection. By default of one token call.

        The Content-Length of the answer is larger. ``which`` are ``path``, ``times``, ``grant_type`` and ``after``.

        """
        return self._faults.add(Fault(action=Truncate(after_bytes), **which))

    def add_header(self, name: str, value: str, **which: Unpack[WhichCalls]) -> Fault:
        """Adds a header to answers, also to those of ``fail``. By default to all answers of API calls.

        Args:
            name: The header's name.
            value: Its value.

        ``which`` are ``path``, ``times``, ``grant_type`` and ``after``.

        """
        which.setdefault("path", None)
        which.setdefault("times", None)
        return self._faults.add(Fault(action=AddHeader((name, value)), **which))

    def set_cookie(self, cookie: str, **which: Unpack[WhichCalls]) -> Fault:
        """Adds a Set-Cookie header to answers. By default to all answers of API calls.

        ``cookie`` is the header's whole value, ``"name=value; Path=/"``. ``which`` are ``path``, ``times``,
        ``grant_type`` and ``after``.

        """
        return self.add_header("set-cookie", cookie, **which)
