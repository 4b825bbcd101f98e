"""The stand-in for Wix in a process of its own, which goes wrong as it is told and keeps the truth."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Mapping
from multiprocessing.connection import Connection
from typing import Any

import attrs

from tests.faults.truth import Truth, drained
from wixvisitor.testing import FakeWix
from wixvisitor.testing._faults import Fault

KEPT = 60.0  # seconds for which an expired access token is remembered, so that this process does not grow for ever


@attrs.frozen(kw_only=True)
class Opening:
    """What the process is told at its start.

    Attributes:
        lifetime: seconds that an access token lives.
        births: for each key, from when on somebody shops under it (epoch seconds).
        patience: see ``Truth``.
    """

    lifetime: float
    births: Mapping[str, float]
    patience: float


def serve(opening: Opening, line: Connection) -> None:
    """The process."""
    asyncio.run(_serve(opening, line))


async def _serve(opening: Opening, line: Connection) -> None:
    fake = FakeWix(access_token_lifetime=opening.lifetime)
    async with fake.serve() as url:
        wix = Wix(fake, Truth(opening.patience))
        for key, birth in opening.births.items():
            wix.truth.expect(key, birth)
        line.send(url)
        while True:
            try:
                name, arguments = await asyncio.to_thread(line.recv)
            except EOFError:
                return
            line.send(getattr(wix, name)(**arguments))


@attrs.define
class Wix:
    """What can be asked of the process."""

    fake: FakeWix
    truth: Truth
    renewals: int = 0
    requests: int = 0
    _faults: dict[int, Fault] = attrs.field(factory=dict)

    def fault(self, number: int, name: str, arguments: dict[str, Any]) -> None:
        """Begins a fault, see ``FaultControls``."""
        self._faults[number] = getattr(self.fake, name)(times=None, **arguments)

    def end(self, number: int) -> int:
        """Ends it, and returns how many calls it befell."""
        fault = self._faults.pop(number)
        fault.remove()
        with self.fake._lock:
            self.fake._faults._faults.remove(fault)
        return fault.used

    def rotate(self, *, on: bool) -> None:
        """Whether each renewal brings another refresh token."""
        self.fake.rotate_refresh_tokens = on

    def revoke(self, key: str) -> None:
        """The APIs answer 401 to the tokens that this key's visitor has."""
        if key in self.truth.owners:
            self.fake.revoke_access_tokens(self.truth.owners[key])

    def refuse(self, key: str) -> None:
        """Wix wants to know nothing of this key's visitor any more: the one thing that may replace it."""
        self.look()
        if key in self.truth.owners:
            self.truth.refuse(key, time.time())
            self.fake.refuse_refresh_tokens(self.truth.owners[key])
            self.fake.revoke_access_tokens(self.truth.owners[key])

    def look(self) -> dict[str, Any]:
        """Reads what has happened since the last look."""
        calls = drained(self.fake)
        self.requests += sum(call.is_api_call for call in calls)
        self.renewals += sum(call.grant_type == "refresh_token" and call.visitor_id is not None for call in calls)
        self.truth.read(calls)
        with self.fake._lock:
            tokens, now = self.fake._visitors.access_tokens, time.time()
            for value in [value for value, token in tokens.items() if token.expires_at + KEPT < now]:
                del tokens[value]
        return {"requests": self.requests, "renewals": self.renewals, "lost": list(self.truth.lost)}

    def compare(self, stored: Mapping[str, str]) -> dict[str, Any]:
        """Compares the store's records in the end: for each key, its refresh token."""
        seen, known = self.look(), self.fake._visitors.refresh_tokens
        self.truth.compare({key: known[value].visitor.id for key, value in stored.items() if value in known})
        truth = self.truth
        return {
            **seen,
            "lost": list(truth.lost),
            "visitors": len(truth.owners),
            "replaced": truth.replaced,
            "answers": truth.answers,
            "minted": truth.minted,
            "spare": truth.minted - truth.replaced - len(truth.owners),
        }
