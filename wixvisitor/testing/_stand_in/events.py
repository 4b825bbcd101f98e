"""The live page: server-sent events (WHATWG HTML, section 9.2) with the sections of the facts that have changed."""

import json
import time
from typing import Any, Final

import anyio
from attrs import define
from starlette.types import Receive, Scope, Send

from wixvisitor.testing._connection import read_body, while_connected
from wixvisitor.testing._stand_in.facts import Facts

_EVERY: Final = 0.25  # seconds between two looks
_HEARTBEAT: Final = 10.0  # seconds after which an event is sent in any case: a dead connection is noticed
_START: Final = {
    "type": "http.response.start",
    "status": 200,
    "headers": [(b"content-type", b"text/event-stream; charset=utf-8"), (b"x-accel-buffering", b"no")],
}


@define(eq=False)
class EventStream:
    """An ASGI app: one endless response for each page that is open.

    Cancellation: the response ends when the page is closed or the server stops.
    """

    facts: Facts

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:  # noqa: ARG002 - ASGI's signature
        """Handles one ASGI request."""
        if await read_body(receive) is not None:
            await while_connected(receive, lambda: self._send_all(send))

    async def _send_all(self, send: Send) -> None:
        await send(_START)
        last: dict[str, Any] = {}
        clock, sent = _Expected(), 0.0
        while True:
            facts = self.facts.everything()
            changed = {name: value for name, value in facts.items() if name != "clock" and last.get(name) != value}
            if clock.jumped(facts["clock"]) or changed or time.monotonic() - sent > _HEARTBEAT:
                text = json.dumps({"clock": facts["clock"], **changed}, separators=(",", ":"))
                await send({"type": "http.response.body", "body": f"data: {text}\n\n".encode(), "more_body": True})
                last, sent = facts, time.monotonic()
            await anyio.sleep(_EVERY)


@define(eq=False)
class _Expected:
    """The clock as the page shows it, which goes on by itself between two events."""

    now: float = 0.0
    speed: float | None = None
    at: float = 0.0

    def jumped(self, clock: dict[str, Any]) -> bool:
        """Whether the fake's clock is not what the page shows."""
        at, speed = time.monotonic(), 1.0 if self.speed is None else self.speed
        expected = self.now + (at - self.at) * speed
        is_off = abs(clock["now"] - expected) > 1.0 + _EVERY * speed
        if is_off or clock["speed"] != self.speed:
            self.now, self.speed, self.at = clock["now"], clock["speed"], at
            return True
        return False
