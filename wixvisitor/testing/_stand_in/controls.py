"""What the page and programs ask of a stand-in: ``/_fake/…``. Each answer is JSON; an error has a ``message``."""

import json
from collections.abc import Awaitable, Callable
from typing import Any, Final, get_args

from attrs import define
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from wixvisitor.testing._fake import FakeWix
from wixvisitor.testing._faults import Fault, Hold
from wixvisitor.testing._settings import RefusalShape
from wixvisitor.testing._stand_in.clock import Clock
from wixvisitor.testing._stand_in.facts import Facts
from wixvisitor.testing._stand_in.fault_checks import WrongFault
from wixvisitor.testing._stand_in.fault_verbs import describe, fault_of

Json = dict[str, Any]
Endpoint = Callable[[Request], Awaitable[Response]]

MAX_FAULTS: Final = 100
"""How many faults may be active at a time."""
_LARGEST: Final = 1e15  # no number that is asked for here is as large
_TEN_YEARS: Final = 10 * 365 * 86_400


@define(eq=False)
class Controls:
    """The endpoints.

    Attributes:
        fake: The fake that they control.
        facts: What ``/_fake/state`` answers.
        changed: Called after each change.

    """

    fake: FakeWix
    facts: Facts
    changed: Callable[[], None]

    def routes(self) -> list[Route]:
        """The routes of all endpoints."""
        return [
            Route("/_fake/state", self.state, methods=["GET"]),
            Route("/_fake/clock", self.set_clock, methods=["POST"]),
            Route("/_fake/faults", self.add_fault, methods=["POST"]),
            Route("/_fake/faults", self.remove_faults, methods=["DELETE"]),
            Route("/_fake/faults/{number:int}", self.remove_fault, methods=["DELETE"]),
            Route("/_fake/calls", self.reset_calls, methods=["DELETE"]),
            Route("/_fake/visitors/{id}/revoke_access_tokens", self.revoke_access_tokens, methods=["POST"]),
            Route("/_fake/visitors/{id}/refuse_refresh_tokens", self.refuse_refresh_tokens, methods=["POST"]),
        ]

    async def state(self, _request: Request) -> Response:
        """Everything that the page shows."""
        return JSONResponse(self.facts.everything())

    async def set_clock(self, request: Request) -> Response:
        """``{"advance": seconds}`` moves the clock forward; ``{"speed": 60}`` lets a minute pass in a second."""
        wanted = await _body(request)
        if not wanted or set(wanted) - {"advance", "speed"}:
            raise HTTPException(400, "expected advance or speed")
        if "speed" in wanted:
            self._set_speed(_number(wanted, "speed"))
        if "advance" in wanted:
            self._advance(_number(wanted, "advance"))
        return self._done(self.facts.now())

    async def add_fault(self, request: Request) -> Response:
        """Adds a fault, see ``fault_verbs``."""
        wanted = await _body(request)
        if len(self.fake._faults.active) >= MAX_FAULTS:
            raise HTTPException(409, f"{MAX_FAULTS} faults are active; remove some")
        try:
            fault = self.fake._faults.add(fault_of(wanted))
        except WrongFault as error:
            raise HTTPException(400, str(error)) from None
        return self._done(describe(fault), 201)

    async def remove_faults(self, _request: Request) -> Response:
        """Removes all faults. Calls that a ``hold`` holds go on."""
        for fault in self.fake._faults.active:
            _remove(fault)
        return self._done({})

    async def remove_fault(self, request: Request) -> Response:
        """Removes one fault. Calls that it holds go on."""
        number = request.path_params["number"]
        for fault in self.fake._faults.active:
            if fault.number == number:
                _remove(fault)
                return self._done({})
        raise HTTPException(404, "there is no such fault, or it is used up")

    async def reset_calls(self, _request: Request) -> Response:
        """Removes the recorded calls."""
        self.fake.reset_calls()
        return self._done({})

    async def revoke_access_tokens(self, request: Request) -> Response:
        """Makes the API reject the access tokens that this visitor has now."""
        self.fake.revoke_access_tokens(self._visitor_id(request))
        return self._done({})

    async def refuse_refresh_tokens(self, request: Request) -> Response:
        """Makes the token endpoint refuse this visitor's refresh tokens; ``shape`` and ``status`` are optional."""
        wanted = await _body(request)
        shape, status = wanted.get("shape"), wanted.get("status")
        if set(wanted) - {"shape", "status"} or shape not in (None, *get_args(RefusalShape)):
            raise HTTPException(400, f"shape must be one of {', '.join(get_args(RefusalShape))}")
        if status not in (None, 400, 401, 403):
            raise HTTPException(400, "status must be 400, 401 or 403")
        self.fake.refuse_refresh_tokens(self._visitor_id(request), shape=shape, status=status)
        return self._done({})

    def _visitor_id(self, request: Request) -> str:
        found: str = request.path_params["id"]
        if found not in self.fake.visitors:
            raise HTTPException(404, "there is no such visitor")
        return found

    def _set_speed(self, speed: float) -> None:
        if not isinstance(self.fake._clock, Clock):
            raise HTTPException(409, "the clock belongs to the program that made this FakeWix")
        try:
            self.fake._clock.speed = speed
        except ValueError as error:
            raise HTTPException(400, str(error)) from None

    def _advance(self, seconds: float) -> None:
        if not 0 <= seconds <= _TEN_YEARS:
            raise HTTPException(400, f"advance must be from 0 to {_TEN_YEARS} seconds")
        clock = self.fake._clock
        (clock.advance if isinstance(clock, Clock) else self.fake.advance)(seconds)

    def _done(self, answer: Json, status: int = 200) -> Response:
        self.changed()
        return JSONResponse(answer, status)


async def refusal(_request: Request, error: Exception) -> Response:
    """The answer to a request that an endpoint refused."""
    assert isinstance(error, HTTPException)
    return JSONResponse({"message": error.detail}, error.status_code, headers=error.headers)


def _remove(fault: Fault) -> None:
    fault.remove()
    if isinstance(fault.action, Hold):
        fault.action.gate.release()


async def _body(request: Request) -> Json:
    raw = await request.body()
    try:
        content = json.loads(raw or b"{}")
    except (ValueError, RecursionError):
        raise HTTPException(400, "the body is no JSON") from None
    if not isinstance(content, dict):
        raise HTTPException(400, "the body is no JSON object")
    return content


def _number(wanted: Json, name: str) -> float:
    value = wanted[name]
    if isinstance(value, bool) or not isinstance(value, int | float) or not abs(value) < _LARGEST:
        raise HTTPException(400, f"{name} must be a number")
    return float(value)
