"""The ASGI app: records every call, applies the faults to it, and answers."""

import uuid
from collections.abc import Callable
from email.utils import formatdate
from functools import partial
from typing import assert_never
from urllib.parse import parse_qsl

import anyio
from attrs import define
from starlette.datastructures import Headers
from starlette.types import ASGIApp, Receive, Scope, Send

from wixvisitor.testing._answers import Answer, answer_of, send_answer
from wixvisitor.testing._calls import CALL, Call, CallLog
from wixvisitor.testing._connection import close_connection, read_body, while_connected
from wixvisitor.testing._faults import Delay, Drop, Fail, Faults, Hang, Hold, Plan


@define(kw_only=True, eq=False)
class FakeApp:
    """The fake as an ASGI app. The in-process client and the server both call it.

    Concurrency: one app may serve several event loops at once. The fake's lock guards what they share.
    Cancellation: a call ends when its client disconnects. Changes that it has made until then remain.
    """

    routes: ASGIApp
    faults: Faults
    log: CallLog
    now: Callable[[], float]
    server_time: Callable[[], float]

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Handles one ASGI request."""
        if scope["type"] != "http":
            await self.routes(scope, receive, send)
            return
        body = await read_body(receive)
        if body is None:
            return
        call, plan = self._arrived(scope, body)
        try:
            await while_connected(receive, partial(self._respond, call, plan, scope, send))
        finally:
            self.log.ended(call)

    def _arrived(self, scope: Scope, body: bytes) -> tuple[Call, Plan]:
        call = Call(
            method=scope["method"],
            path=scope["path"],
            query=dict(parse_qsl(scope["query_string"].decode("latin-1"), keep_blank_values=True)),
            headers=Headers(raw=list(scope["headers"])),
            body=body,
            received_at=self.now(),
            request_id=uuid.uuid4().hex,
        )
        # Under one lock, so that calls are logged in the order in which faults are applied to them.
        with self.log.lock:
            self.log.arrived(call)
            return call, self.faults.plan(call)

    async def _respond(self, call: Call, plan: Plan, scope: Scope, send: Send) -> None:
        answer = await self._perform(call, plan, scope)
        date = formatdate(self.server_time(), usegmt=True)
        own = [("date", date), ("x-wix-request-id", call.request_id)]
        set_by_fault = {name.lower() for name, _ in (*answer.headers, *plan.headers)}
        complete = answer.with_headers([header for header in own if header[0] not in set_by_fault])
        self.log.ended(call, status=answer.status)
        await send_answer(complete.with_headers(plan.headers), send, cut_after=plan.cut_after)
        if plan.cut_after is not None:
            await close_connection(scope, flush=True)

    async def _perform(self, call: Call, plan: Plan, scope: Scope) -> Answer:
        answer: Answer | None = None
        for step, committed in plan.steps:
            if committed and answer is None:
                answer = await self._work(call, scope)
            match step:
                case Delay(seconds):
                    await anyio.sleep(seconds)
                case Hold(gate):
                    await gate.passed()
                case Hang():
                    await anyio.sleep_forever()
                case Drop():
                    await close_connection(scope, flush=False)
                case Fail(fault_answer):
                    return fault_answer
                case _:
                    assert_never(step)
        return answer or await self._work(call, scope)

    async def _work(self, call: Call, scope: Scope) -> Answer:
        """Handles the call without faults."""
        return await answer_of(self.routes, {**scope, CALL: call}, call.body)
