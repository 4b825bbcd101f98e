"""When a doubtful answer may cost a visitor, told by what a pool has met; it does not ask the code.

Each of these needs the same answer for the same token again: 2 s later, if another visitor of the pool was renewed in
between; else 60 s later; else, while three visitors have such answers and nobody was renewed since the first of them,
10 minutes later. What is not sure counts for the pool.
"""

from __future__ import annotations

import attrs

from .wix import Answer

_SLACK = 0.5  # seconds between an answer's arrival and its reading


@attrs.frozen
class _Doubt:
    token: str
    answer: Answer
    since: float
    stopped_for: float


@attrs.define(eq=False)
class PoolDoubts:
    """The doubtful answers that one pool, or one session without a pool, has met."""

    _open: dict[str, _Doubt] = attrs.field(factory=dict)
    _renewed_at: float = -1e9

    def answered(self, key: str, token: str, answer: Answer, *, now: float, stopped_for: float) -> bool:
        """A doubtful answer arrives. Returns whether this visitor may be given up for it."""
        doubt = self._open.get(key)
        if doubt is None or (doubt.token, doubt.answer) != (token, answer):
            self._open[key] = _Doubt(token, answer, now, stopped_for)
            return False
        was_stopped = stopped_for - doubt.stopped_for
        return now - doubt.since + was_stopped + _SLACK >= self._needed(doubt, was_stopped=bool(was_stopped))

    def _needed(self, doubt: _Doubt, *, was_stopped: bool) -> float:
        if was_stopped or self._renewed_at >= doubt.since - _SLACK:
            return 2.0
        first = min(other.since for other in self._open.values())
        return 600.0 if len(self._open) >= 3 and self._renewed_at < first - _SLACK else 60.0

    def granted(self, key: str, *, is_renewal: bool, now: float) -> None:
        """Wix granted tokens: to this visitor, or a new one in its place."""
        self._open.pop(key, None)
        if is_renewal:
            self._renewed_at = now
