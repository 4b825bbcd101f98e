"""Faults: what they do, to which calls, and how often."""

import itertools
from collections.abc import Iterator
from threading import RLock

from attrs import define, field, frozen

from wixvisitor.testing._answers import Answer, Header
from wixvisitor.testing._calls import TOKEN_PATH, Call
from wixvisitor.testing._gate import Gate


@frozen
class Fail:
    """Sends this answer instead."""

    answer: Answer


@frozen
class Delay:
    """Answers after this many seconds."""

    seconds: float


@frozen
class Hang:
    """Never answers."""


@frozen
class Drop:
    """Closes the connection without an answer."""


@frozen
class Hold:
    """Waits at a gate before the answer."""

    gate: Gate


@frozen
class Truncate:
    """Closes the connection in the middle of the body."""

    after_bytes: int


@frozen
class AddHeader:
    """Adds a header to the answer."""

    header: Header


Step = Fail | Delay | Hang | Drop | Hold
AnswerChange = Truncate | AddHeader

_FINAL = (Fail, Hang, Drop)
_SILENT = (Hang, Drop)


@define(kw_only=True, eq=False)
class Fault:
    """A fault, which applies to calls until it is used up or removed.

    Attributes:
        action: What it does, as the method of ``FakeWix`` that added it says.
        path: The path of the calls. None is every path of the API except ``/oauth2/…``; a ``*`` at the end matches any
            rest.
        times: The number of calls; None is without a limit.
        grant_type: Only token calls of this grant type.
        after: The number of matching calls that are handled normally first.
        committed: Whether the fake handles the call before the fault occurs.
        used: The number of calls to which the fault was applied so far.
        number: 1 for the first fault of a fake, 2 for the next.

    Concurrency: ``remove`` may be called from any thread.
    Cancellation: nothing in it waits.

    """

    action: Step | AnswerChange
    path: str | None = TOKEN_PATH
    times: int | None = 1
    grant_type: str | None = None
    after: int = 0
    committed: bool = False
    used: int = 0
    number: int = field(default=0, init=False)
    _skipped: int = 0
    _removed: bool = False

    def remove(self) -> None:
        """Removes the fault. It still affects calls to which it was applied before. A second call changes nothing."""
        self._removed = True

    @property
    def ended(self) -> bool:
        """Whether no call is affected any more: the fault is used up or removed, and holds no call at its gate."""
        holding = isinstance(self.action, Hold) and self.action.gate.waiting > 0
        return (self._removed or self.used == self.times) and not holding

    def applies_to(self, call: Call) -> bool:
        """Whether the fault applies to this call. If it does, that counts as one use."""
        if self._removed or self.used == self.times or not self._matches(call):
            return False
        if self._skipped < self.after:
            self._skipped += 1
            return False
        self.used += 1
        return True

    def _matches(self, call: Call) -> bool:
        if self.grant_type is not None and call.grant_type != self.grant_type:
            return False
        if self.path is None:
            return call.is_api_call
        if self.path.endswith("*"):
            return call.path.startswith(self.path[:-1])
        return call.path == self.path


@frozen(kw_only=True)
class Plan:
    """The faults of one call: steps in their order, then changes of the answer."""

    steps: tuple[tuple[Step, bool], ...]
    """Each step, and whether the fake handles the call before it."""
    headers: tuple[Header, ...]
    cut_after: int | None


@define(kw_only=True, eq=False)
class Faults:
    """The faults in the order in which they were added. Safe from any thread."""

    lock: RLock
    _faults: list[Fault] = field(factory=list)
    _numbers: Iterator[int] = field(factory=lambda: itertools.count(1))

    @property
    def active(self) -> list[Fault]:
        """The faults that affect a call now, or may affect one later."""
        with self.lock:
            return [fault for fault in self._faults if not fault.ended]

    def forget_ended(self) -> None:
        """Drops the faults that affect no call any more."""
        with self.lock:
            self._faults = self.active

    def add(self, fault: Fault) -> Fault:
        """Adds a fault after the others."""
        with self.lock:
            fault.number = next(self._numbers)
            self._faults.append(fault)
        return fault

    def plan(self, call: Call) -> Plan:
        """Chooses the faults of a call when it arrives."""
        with self.lock:
            steps = self._steps(call)
            silent = bool(steps) and isinstance(steps[-1][0], _SILENT)
            changes = [] if silent else self._answer_changes(call)
        return Plan(
            steps=tuple(steps),
            headers=tuple(change.header for change in changes if isinstance(change, AddHeader)),
            cut_after=min((cut.after_bytes for cut in changes if isinstance(cut, Truncate)), default=None),
        )

    def _steps(self, call: Call) -> list[tuple[Step, bool]]:
        """The steps up to the first one that ends the call. Later faults are not used."""
        steps: list[tuple[Step, bool]] = []
        for fault in self._faults:
            action = fault.action
            if isinstance(action, Step) and fault.applies_to(call):
                steps.append((action, fault.committed))
                if isinstance(action, _FINAL):
                    break
        return steps

    def _answer_changes(self, call: Call) -> list[AnswerChange]:
        changes: list[AnswerChange] = []
        for fault in self._faults:
            action = fault.action
            if isinstance(action, AnswerChange) and fault.applies_to(call):
                changes.append(action)
        return changes
