"""``async with`` for the stores that hold something open. Who closes a store stands in docs/storage.md."""

from __future__ import annotations

from types import TracebackType
from typing import Any, Final, Self

import anyio

_AT_MOST: Final = 10.0  # seconds; our own stores end earlier


class Closing:
    """``async with storage:`` closes it at the end, also where the scope around it has been cancelled."""

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        aclose: Any = getattr(self, "aclose", None)  # a SealedStorage has it if the store inside has
        if aclose is not None:
            with anyio.move_on_after(_AT_MOST, shield=True):
                await aclose()
