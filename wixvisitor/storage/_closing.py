"""``async with`` for the stores that hold something open. docs/how-to/stores.md says who closes a store."""

from __future__ import annotations

from types import TracebackType
from typing import Any, Final, Self

import anyio

_AT_MOST: Final = 10.0  # seconds; our own stores end earlier


class Closing:
    """``async with storage:`` closes it at the end, also if the scope around it has been cancelled."""

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        aclose: Any = getattr(self, "aclose", None)  # a SealedStorage has it if its inner store has it
        if aclose is not None:
            with anyio.move_on_after(_AT_MOST, shield=True):
                await aclose()
