"""A disk that keeps, at a power failure, only what POSIX promises.

What was not synced may be there or not, in any order and of each write any part: bytes belong to their file, and are
promised by an fsync of the file; names belong to their directory, and are promised by an fsync of the directory. A
recorder tells the model what a program does, and the model yields the states in which the disk may be found.
"""

from __future__ import annotations

import itertools
import os
import random
from collections.abc import Iterator
from pathlib import Path
from typing import Final

import attrs

_SECTOR: Final = 512  # bytes that a disk writes at once


@attrs.frozen
class Change:
    """Something that an fsync of ``owner`` promises.

    Attributes:
        owner: the number of the file or directory.
        names: what becomes of names in it: the number of a file or directory, None if the name is gone.
        at: where bytes are written, or with ``data=None`` where the file is cut off.
        data: the bytes.
    """

    owner: int
    names: tuple[tuple[str, int | None], ...] = ()
    at: int = 0
    data: bytes | None = None


@attrs.frozen
class Sync:
    """An fsync that has returned."""

    owner: int


@attrs.frozen
class Said:
    """What the program said: that it begins to save a value, or that the value is saved."""

    word: str
    value: str


@attrs.define
class Disk:
    """What a program did below a directory.

    Attributes:
        top: the directory.
        events: all of it, in order.
    """

    top: Path
    events: list[Change | Sync | Said] = attrs.field(factory=list)
    _numbers: dict[Path, int] = attrs.field(factory=dict)
    _new: Iterator[int] = attrs.field(factory=lambda: itertools.count(1))

    def __attrs_post_init__(self) -> None:
        self._numbers[self.top] = 0

    def has(self, path: Path) -> bool:
        return path in self._numbers

    def make(self, path: Path) -> None:
        """A new file or directory."""
        if path.parent in self._numbers and path not in self._numbers:
            self._numbers[path] = next(self._new)
            self._note(Change(self._numbers[path.parent], ((path.name, self._numbers[path]),)))

    def write(self, path: Path, at: int, data: bytes) -> None:
        """Bytes, of which any sectors may be on the disk before they are synced: the first, the last, or one half."""
        if path not in self._numbers:
            return
        half = max(_SECTOR, len(data) // 2 // _SECTOR * _SECTOR)
        for start in range(0, len(data), half):
            self._note(Change(self._numbers[path], at=at + start, data=data[start : start + half]))

    def cut(self, path: Path, at: int) -> None:
        if path in self._numbers:
            self._note(Change(self._numbers[path], at=at))

    def rename(self, old: Path, new: Path) -> None:
        """In one directory: there is either name or the other, never both."""
        if old in self._numbers:
            number = self._numbers[new] = self._numbers.pop(old)
            self._note(Change(self._numbers[new.parent], ((old.name, None), (new.name, number))))

    def remove(self, path: Path) -> None:
        if path in self._numbers:
            del self._numbers[path]
            self._note(Change(self._numbers[path.parent], ((path.name, None),)))

    def sync(self, path: Path) -> None:
        if path in self._numbers:
            self._note(Sync(self._numbers[path]))

    def say(self, word: str, value: str) -> None:
        self._note(Said(word, value))

    def _note(self, event: Change | Sync | Said) -> None:
        self.events.append(event)

    def crashes(self, chance: random.Random, *, every: int, some: int) -> Iterator[tuple[set[str], list[Change]]]:
        """Yields which values may be found after a crash (``""`` for none), and what is on the disk then.

        Args:
            chance: chooses.
            every: the number of changes without a promise up to which every subset of them is tried.
            some: how many subsets are tried of more changes, beside all, none, and all but one.
        """
        allowed, promised, pending = {""}, list[tuple[int, Change]](), list[tuple[int, Change]]()
        yield set(allowed), []
        for number, event in enumerate(self.events):
            match event:
                case Change():
                    pending.append((number, event))
                case Sync(owner):
                    promised += [one for one in pending if one[1].owner == owner]
                    pending = [one for one in pending if one[1].owner != owner]
                case Said("begins", value):
                    allowed.add(value)
                case Said(_, value):
                    allowed = {value}
            for chosen in _subsets(pending, chance, every, some):
                yield set(allowed), [change for _, change in sorted(promised + chosen, key=lambda one: one[0])]


def _subsets(
    pending: list[tuple[int, Change]], chance: random.Random, every: int, some: int
) -> Iterator[list[tuple[int, Change]]]:
    if len(pending) <= every:
        for size in range(len(pending) + 1):
            yield from map(list, itertools.combinations(pending, size))
        return
    yield []
    yield pending
    yield from ([one for one in pending if one is not left_out] for left_out in pending[-every:])
    for _ in range(some):
        share = chance.random()
        yield [one for one in pending if chance.random() < share]


def put(changes: list[Change], top: Path) -> None:
    """Makes a directory that looks like the disk after these changes."""
    names: dict[int, dict[str, int]] = {}
    contents: dict[int, bytearray] = {}
    for change in changes:
        for name, number in change.names:
            names.setdefault(change.owner, {}).pop(name, None)
            if number is not None:
                names[change.owner][name] = number
        content = contents.setdefault(change.owner, bytearray())
        if not change.names and change.data is None:
            content[:] = content[: change.at].ljust(change.at, b"\0")
        elif change.data is not None:
            content[:] = content.ljust(change.at, b"\0")
            content[change.at : change.at + len(change.data)] = change.data
    _put(top, 0, names, contents)


def _put(place: Path, number: int, names: dict[int, dict[str, int]], contents: dict[int, bytearray]) -> None:
    place.mkdir(mode=0o700)
    for name, below in names.get(number, {}).items():
        if "." in name:  # the tests' directories have no dot in their names
            descriptor = os.open(place / name, os.O_WRONLY | os.O_CREAT, 0o600)
            os.write(descriptor, contents.get(below, b""))
            os.close(descriptor)
        else:
            _put(place / name, below, names, contents)
