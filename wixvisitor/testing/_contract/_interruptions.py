"""The requirements for a store when a call to it is cancelled."""

from __future__ import annotations

import itertools
from collections.abc import AsyncIterator, Callable, Coroutine, Generator
from typing import Any

import anyio
import pytest

from wixvisitor.storage import ConditionalStorage, LeasingStorage, Record, TokenStorage, VersionConflict
from wixvisitor.testing._contract._hooks import KEY, Hooks, value_of
from wixvisitor.testing._contract._leases import SHORT, wait_for_lease


class InterruptionTests(Hooks):
    """Each call is cancelled at its first await, then at its second, and so on until it is completed."""

    async def test_interrupted_load(self, storage: TokenStorage) -> None:
        """A cancelled load changes nothing, and the next load works."""
        await storage.save(KEY, "value")
        async for _ in interruptions(lambda: storage.load(KEY)):
            assert await value_of(storage, KEY) == "value"

    async def test_interrupted_save(self, storage: TokenStorage) -> None:
        """A cancelled save is done completely or not at all, and the next save works."""
        numbers = itertools.count()
        await storage.save(KEY, "old")
        async for _ in interruptions(lambda: storage.save(KEY, f"new {next(numbers)}")):
            found = await value_of(storage, KEY)
            assert found is not None
            assert found == "old" or found.startswith("new ")
            await storage.save(KEY, "old")
            assert await value_of(storage, KEY) == "old"

    async def test_interrupted_conditional_save(self, conditional: ConditionalStorage) -> None:
        """A cancelled conditional save is done completely or not at all, and only if its condition holds."""
        versions = [await conditional.save(KEY, "old", expected=None)]
        async for _ in interruptions(lambda: conditional.save(KEY, "new", expected=versions[-1])):
            found = await conditional.load(KEY)
            assert isinstance(found, Record)
            assert (found.value == "new") == (found.version != versions[-1])
            if found.value == "new":
                with pytest.raises(VersionConflict):
                    await conditional.save(KEY, "newer", expected=versions[-1])
            versions.append(await conditional.save(KEY, "old"))

    async def test_interrupted_delete(self, storage: TokenStorage) -> None:
        """A cancelled delete is done or not done, and the record can be saved again."""
        await storage.save(KEY, "value")
        async for _ in interruptions(lambda: storage.delete(KEY)):
            assert await value_of(storage, KEY) in {"value", None}
            await storage.save(KEY, "value")
            assert await value_of(storage, KEY) == "value"

    async def test_interrupted_lease(self, leasing: LeasingStorage) -> None:
        """A lease whose acquisition was cancelled expires like any other lease."""
        async for _ in interruptions(lambda: leasing.acquire_lease(KEY, "a", SHORT)):
            await wait_for_lease(leasing, "b")
            await leasing.release_lease(KEY, "b")

    async def test_interrupted_release(self, leasing: LeasingStorage) -> None:
        """A lease whose release was cancelled can be released again, or expires."""
        await leasing.acquire_lease(KEY, "a", SHORT)
        async for _ in interruptions(lambda: leasing.release_lease(KEY, "a")):
            await wait_for_lease(leasing, "b")
            await leasing.release_lease(KEY, "b")
            assert await leasing.acquire_lease(KEY, "a", SHORT) == 0.0


async def interruptions(call: Callable[[], Coroutine[Any, Any, object]]) -> AsyncIterator[int]:
    """Makes the call again and again: cancels it at its first await, then at its second, until it is completed.

    Yields after each call.
    """
    for step in itertools.count():
        with anyio.CancelScope() as scope:
            await _Interrupted(call(), scope, step)
        yield step
        if not scope.cancel_called:
            return


class _Interrupted:
    """Awaits a coroutine, and cancels the scope at its await number ``step``, counted from 0."""

    def __init__(self, coroutine: Coroutine[Any, Any, object], scope: anyio.CancelScope, step: int) -> None:
        self._coroutine, self._scope, self._step = coroutine, scope, step

    def __await__(self) -> Generator[Any, Any, None]:
        answer: Any = None
        error: BaseException | None = None
        for number in itertools.count():
            try:
                waits_for = self._coroutine.send(answer) if error is None else self._coroutine.throw(error)
            except StopIteration:
                return
            if number == self._step:
                self._scope.cancel()
            answer = error = None
            try:
                answer = yield waits_for
            except BaseException as caught:
                error = caught
