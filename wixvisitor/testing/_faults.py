"""What goes wrong, for which calls, and how often."""

from threading import RLock

from attrs import define, field, frozen

from wixvisitor.testing._answers import Answer, Header
from wixvisitor.testing._calls import TOKEN_PATH, Call
from wixvisitor.testing._gate import Gate


@frozen
class Fail:
    """Answer this instead."""

    answer: Answer


@frozen
class Delay:
    """Answer so many seconds late."""

    seconds: float


@frozen
class Hang:
    """Never answer."""


@frozen
class Drop:
    """Close the connection instead of answering."""


@frozen
class Hold:
    """Wait at a gate."""

    gate: Gate


@frozen
class Truncate:
    """Close the connection in the middle of the body."""

    after_bytes: int


@frozen
class AddHeader:
    """Put a header on the answer."""

    header: Header


Step = Fail | Delay | Hang | Drop | Hold
AnswerChange = Truncate | AddHeader

_FINAL = (Fail, Hang, Drop)
_SILENT = (Hang, Drop)


@define(kw_only=True, eq=False)
class Fault:
    """One thing that goes wrong, as long as it is wanted.

    Attributes:
        path: The path it concerns; ``None`` is every path but ``/oauth2/…``, a trailing ``*`` stands for anything.
        times: For how many calls; None is for ever.
        grant_type: Only token calls of this grant.
        after: How many matching calls are let through first.
        committed: Whether the fake does what was asked before it misbehaves.
        used: How many calls it befell.

    """

    action: Step | AnswerChange
    path: str | None = TOKEN_PATH
    times: int | None = 1
    grant_type: str | None = None
    after: int = 0
    committed: bool = False
    used: int = 0
    _skipped: int = 0
    _removed: bool = False

    def remove(self) -> None:
        """Ends the fault; a call that it befell already is not helped. The second time changes nothing."""
        self._removed = True

    def applies_to(self, call: Call) -> bool:
        """Whether this call is hit, which uses the fault up once."""
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
    """What will happen to one call: the steps in their order, then what the answer gets on its way."""

    steps: tuple[tuple[Step, bool], ...]
    """Each step, and whether the fake does what was asked first."""
    headers: tuple[Header, ...]
    cut_after: int | None


@define(kw_only=True, eq=False)
class Faults:
    """The faults in the order they were added. Safe from any thread."""

    lock: RLock
    _faults: list[Fault] = field(factory=list)

    def add(self, fault: Fault) -> Fault:
        """Adds a fault behind the others."""
        with self.lock:
            self._faults.append(fault)
        return fault

    def plan(self, call: Call) -> Plan:
        """Decides, when a call arrives, what will happen to it."""
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
        """The steps up to the first that ends the call; the faults behind it are not used."""
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
