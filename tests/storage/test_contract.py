"""The storage contract, on every built-in store and on the least that counts as one."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

import wixvisitor
from tests.commands import NEEDED_PLUGINS
from tests.stores import PlainStorage
from wixvisitor.storage import FileStorage, MemoryStorage, TokenStorage
from wixvisitor.testing import StorageContract


class TestMemoryStorage(StorageContract):
    async def make_storage(self) -> MemoryStorage:
        return MemoryStorage()


class TestLeastStorage(StorageContract):
    async def make_storage(self) -> PlainStorage:
        return PlainStorage()

    async def reopen(self, storage: TokenStorage) -> PlainStorage:
        assert isinstance(storage, PlainStorage)
        return PlainStorage(storage.texts)


class Files(StorageContract):
    """``FileStorage`` at some place, with clocks that the test moves."""

    place: str | Path

    async def make_storage(self) -> FileStorage:
        return FileStorage(self.place)

    async def reopen(self, storage: TokenStorage) -> FileStorage:
        return FileStorage(self.place)

    async def make_expiring(self, seconds: float) -> FileStorage:
        self.now, self.ticks = 1_800_000_000.0, 0.0
        return FileStorage(self.place, expire_after=seconds, clock=lambda: self.now, monotonic=lambda: self.ticks)

    async def pass_time(self, storage: TokenStorage, seconds: float) -> None:
        """Lets what is past its time be found twice, so that it ends; see ``test_purge.py``."""
        assert isinstance(storage, FileStorage)
        self.now += seconds
        await storage.purge()
        self.ticks += 3_600.0
        await storage.purge()


class TestFileStorageDirectory(Files):
    @pytest.fixture(autouse=True)
    def _place(self, tmp_path: Path) -> None:
        self.place = f"{tmp_path / 'visitors'}/"


class TestFileStorageSingleFile(Files):
    keeps_many = False

    @pytest.fixture(autouse=True)
    def _place(self, tmp_path: Path) -> None:
        self.place = tmp_path / "visitor.json"


# Each class makes one mistake, which the test of that name is about.
MISTAKES = {
    "Forgets": "test_round_trip",
    "Trims": "test_round_trip",
    "FoldsCase": "test_keys_that_look_alike",
    "DeleteRaises": "test_delete_of_nothing",
    "ComparesBeforeItSets": "test_one_winner",
    "IgnoresExpected": "test_conflict_leaves_the_record",
    "CountsAnew": "test_every_save_has_its_own_version",
    "ReleasesAnybodys": "test_lease_of_somebody_else",
    "NeverEnds": "test_lease_ends_by_itself",
    "DeletesFirst": "test_interrupted_save",
    "SavesTwice": "test_interrupted_conditional_save",
    "ForgetsWhenClosed": "test_used_after_closing",
    "ClosesOnce": "test_closed_twice",
    "Eternal": "test_unused_record_ends",
    "EndsForReadersOnly": "test_ended_record_can_be_made_again",
    "SendsAgainBlindly": "test_lost_reply_of_a_save",
}
PROGRAM = """
import anyio, pytest
from wixvisitor.storage import *
from wixvisitor.testing import StorageContract
from wixvisitor.testing._contract import _leases

_leases.PATIENCE = 0.1

@pytest.fixture
def anyio_backend(): return "asyncio"

class Storage:
    def __init__(self): self.texts = {}
    async def load(self, key): return self.texts.get(key)
    async def save(self, key, value): self.texts[key] = value
    async def delete(self, key): self.texts.pop(key, None)

class Forgets(Storage):
    async def save(self, key, value): pass

class Trims(Storage):
    async def save(self, key, value): self.texts[key] = value.strip()

class FoldsCase(Storage):
    async def save(self, key, value): self.texts[key.lower()] = value
    async def load(self, key): return self.texts.get(key.lower())

class DeleteRaises(Storage):
    async def delete(self, key): del self.texts[key]

class ComparesBeforeItSets(MemoryStorage):
    async def save(self, key, value, *, expected=ANY_VERSION):
        held = await self.load(key)
        await anyio.sleep(0.001)
        if expected is not ANY_VERSION and expected != (held.version if held else None):
            raise VersionConflict("no")
        return await super().save(key, value)

class IgnoresExpected(MemoryStorage):
    async def save(self, key, value, **kwargs): return await super().save(key, value)

class CountsAnew(MemoryStorage):
    async def delete(self, key): MemoryStorage.__init__(self)

class ReleasesAnybodys(MemoryStorage):
    async def release_lease(self, key, holder): self._leases.pop(key, None)

class NeverEnds(MemoryStorage):
    async def acquire_lease(self, key, holder, seconds):
        return min(0.01, await super().acquire_lease(key, holder, 1e6))

class DeletesFirst(Storage):
    async def save(self, key, value):
        self.texts.pop(key, None)
        await anyio.sleep(0)
        self.texts[key] = value

class SavesTwice(MemoryStorage):
    async def save(self, key, value, *, expected=ANY_VERSION):
        await super().save(key, "half", expected=expected)
        await anyio.sleep(0)
        return await super().save(key, value)

class ForgetsWhenClosed(Storage):
    async def aclose(self): self.texts.clear()

class ClosesOnce(Storage):
    async def aclose(self): del self.texts

class Expiring(MemoryStorage):
    now = 0.0
    life = None
    def ended(self, key): return self.life is not None and self.now > self.life
    async def load(self, key): return None if self.ended(key) else await super().load(key)

class Eternal(Expiring):
    def ended(self, key): return False

class EndsForReadersOnly(Expiring): pass

class SendsAgainBlindly(MemoryStorage):
    loses = False
    async def save(self, key, value, *, expected=ANY_VERSION):
        version = await super().save(key, value, expected=expected)
        if self.loses:
            self.loses = False
            return await super().save(key, value, expected=expected)
        return version
"""
SUITE = """
class Test{mistake}(StorageContract):
    async def make_storage(self): return {mistake}()
    async def make_expiring(self, seconds):
        storage = {mistake}()
        storage.life = seconds
        return storage if isinstance(storage, Expiring) else None
    async def pass_time(self, storage, seconds): storage.now += seconds
    async def lose_next_reply(self, storage):
        storage.loses = True
        return hasattr(type(storage), "loses")

for name in dir(StorageContract):
    if name.startswith("test_") and name != "{test}":
        setattr(Test{mistake}, name, None)
"""


@pytest.fixture(scope="module")
def report(tmp_path_factory: pytest.TempPathFactory) -> str:
    """What pytest says about all these adapters, in one run."""
    place = tmp_path_factory.mktemp("mistakes")
    suites = [SUITE.format(mistake=mistake, test=test) for mistake, test in MISTAKES.items()]
    (place / "test_mistakes.py").write_text(PROGRAM + "".join(suites), "utf-8")
    options = ["-q", "-rA", "-p", "no:cacheprovider", "-c", os.devnull, f"--rootdir={place}"]
    result = subprocess.run(
        [sys.executable, "-m", "pytest", *options, str(place)],
        capture_output=True,
        encoding="utf-8",
        cwd=place,
        env=os.environ | NEEDED_PLUGINS | {"PYTHONPATH": str(Path(wixvisitor.__file__).parents[1])},
    )
    return result.stdout + result.stderr


@pytest.mark.parametrize("mistake", MISTAKES)
def test_mistake_is_found(report, mistake):
    """The contract fails an adapter that makes this mistake, in the test that is about it."""
    assert f"FAILED test_mistakes.py::Test{mistake}::{MISTAKES[mistake]}" in report, report[-3000:]


def test_make_storage_must_be_overridden():
    """A subclass without ``make_storage`` is told what to do."""
    coroutine = StorageContract().make_storage()
    with pytest.raises(NotImplementedError, match="override make_storage"):
        coroutine.send(None)
