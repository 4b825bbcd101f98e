"""The JavaScript SDK in a Node process, held from Python; `driver.mjs` is its other half."""

import json
from collections.abc import AsyncGenerator, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import anyio
from anyio.abc import Process
from anyio.streams.buffered import BufferedByteReceiveStream
from attrs import define, field, frozen

HERE = Path(__file__).parent
PATIENCE = 60.0
"""Seconds for one answer of the driver."""


@frozen
class SdkError(Exception):
    """What the JavaScript side threw."""

    name: str
    message: str
    code: str | None

    def __str__(self) -> str:
        return f"{self.name}: {self.message}"


@define
class RealSdk:
    """A client that `createClient({modules, auth: OAuthStrategy(…)})` made. One command at a time."""

    _process: Process
    _answers: BufferedByteReceiveStream = field(init=False)

    def __attrs_post_init__(self) -> None:
        assert self._process.stdout is not None
        self._answers = BufferedByteReceiveStream(self._process.stdout)

    async def create(self, client_id: str, tokens: str | None = None) -> None:
        """Makes a new client in place of the last one; `tokens` is JSON text."""
        await self._ask("create", clientId=client_id, tokens=tokens)

    async def call(self, method: str, *arguments: Any) -> Any:
        """What a method of the client returned, `"auth.loggedIn"` for instance.

        Raises:
            SdkError: What it threw.

        """
        (outcome,) = await self.call_at_once(1, method, *arguments)
        if isinstance(outcome, SdkError):
            raise outcome
        return outcome

    async def call_at_once(self, times: int, method: str, *arguments: Any) -> Sequence[Any]:
        """What each of so many concurrent calls returned or threw."""
        return _outcomes(await self._ask("call", method=method, args=arguments, times=times))

    async def begin_calls(self, times: int, method: str, *arguments: Any) -> int:
        """Begins so many concurrent calls: a number for ``end_calls``, before which other commands may come."""
        return int(await self._ask("begin", method=method, args=arguments, times=times))

    async def end_calls(self, number: int) -> Sequence[Any]:
        """What each of these calls returned or threw."""
        return _outcomes(await self._ask("end", number=number))

    async def property(self, name: str) -> Any:
        """A property of the client, `"auth.captchaVisibleSiteKey"` for instance."""
        return await self._ask("property", name=name)

    async def saved_tokens(self) -> str:
        """`JSON.stringify(client.auth.getTokens())`."""
        return str(await self._ask("savedTokens"))

    async def stringified(self, text: str) -> str:
        """`JSON.stringify(JSON.parse(text))`."""
        return str(await self._ask("stringified", text=text))

    async def allow_frames(self) -> None:
        """Gives the SDK as much of a browser as its hidden frame needs."""
        await self._ask("frames")

    async def set_time(self, seconds: float) -> None:
        """Stops the SDK's clock at this time."""
        await self._ask("setTime", seconds=seconds)

    async def _ask(self, command: str, **given: Any) -> Any:
        assert self._process.stdin is not None
        with anyio.fail_after(PATIENCE):
            await self._process.stdin.send(json.dumps({"command": command, **given}).encode() + b"\n")
            return json.loads(await self._answers.receive_until(b"\n", 10_000_000))


def _outcomes(found: Sequence[Any]) -> Sequence[Any]:
    return [SdkError(**outcome["error"]) if "error" in outcome else outcome.get("value") for outcome in found]


@asynccontextmanager
async def real_sdk(base_url: str) -> AsyncGenerator[RealSdk]:
    """Starts Node with the SDK; whatever it asks of Wix goes to `base_url`."""
    async with await anyio.open_process(["node", HERE / "driver.mjs", base_url], stderr=None) as process:
        yield RealSdk(process)  # at the end its stdin is closed, and it ends
