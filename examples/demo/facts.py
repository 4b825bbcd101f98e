"""What the demo's processes tell one another: a command on stdin, facts on stdout, each a line of JSON. No secrets."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterable, Mapping
from typing import Any, Final

import attrs

from wixvisitor import WixVisitorError, errors

LIFE: Final = "examples.demo.life"  # the program that a visitor's process runs


def _texts(value: Iterable[str]) -> tuple[str, ...]:
    return tuple(value)


@attrs.frozen(kw_only=True)
class Setting:
    """Where a life takes place: who the client is, which Wix it asks, where the visitor is kept."""

    file: str
    client_id: str
    base_url: str


@attrs.frozen(kw_only=True)
class Facts:
    """What a process saw of its visitor while it did one thing.

    Attributes:
        pid: the process.
        role: whose tokens are held.
        visitor: the visitor's id, as the access token hints at it.
        mark: tells two refresh tokens apart and reveals neither.
        events: what ``on_change`` was told, ``"minted: none -> visitor"``.
        callers, served, waited: how many tasks asked for tokens, got them, and noticed that it took time.
        longest: seconds that the last of them waited.
        access_tokens: how many different ones they got.
        failures: how often which exception was raised.
        complaint: the text of one of them.
        status: what the cart's answer was; None if the cart was not asked for.
        lines: what is in the cart.
        owner: whose cart Wix says it is.
        note: why nothing was put into it.

    """

    pid: int
    role: str
    visitor: str | None
    mark: str
    events: tuple[str, ...] = attrs.field(default=(), converter=_texts)
    callers: int = 0
    served: int = 0
    waited: int = 0
    longest: float = 0.0
    access_tokens: int = 0
    failures: Mapping[str, int] = attrs.field(factory=dict)
    complaint: str = ""
    status: int | None = None
    lines: tuple[str, ...] = attrs.field(default=(), converter=_texts)
    owner: str | None = None
    note: str = ""

    def is_same_visitor(self, other: Facts) -> bool:
        """Whether both are one visitor, by the tokens' hints, or by the refresh token where there are none."""
        if self.visitor and other.visitor:
            return self.visitor == other.visitor
        return bool(self.mark) and self.mark == other.mark

    def had(self, reason: str) -> bool:
        """Whether the tokens changed for this reason."""
        return any(event.startswith(f"{reason}:") for event in self.events)


class LifeFailed(Exception):
    """A process could not do what it was told.

    Attributes:
        kind: the library's exception that stopped it.

    """

    def __init__(self, message: str, kind: type[WixVisitorError] = WixVisitorError) -> None:
        super().__init__(message)
        self.kind = kind


def failed(kind: str, message: str) -> LifeFailed:
    """Returns the exception for one of the library's that another process named."""
    return LifeFailed(message, getattr(errors, kind, WixVisitorError))


def to_line(content: Mapping[str, Any]) -> str:
    """Returns one line of JSON, in ASCII."""
    return json.dumps(content) + "\n"


def facts_of(reply: Mapping[str, Any]) -> Facts:
    """Returns the facts of a reply.

    Raises:
        LifeFailed: it says that the command failed.

    """
    if "failed" in reply:
        raise failed(reply["failed"], reply["message"])
    return Facts(**reply)


def tally(counts: Counter[str]) -> str:
    """Returns counts as prose: ``1 new visitor, 3 x failed (503)``."""
    return ", ".join(f"{number} x {name}" for name, number in counts.items()) or "none"
