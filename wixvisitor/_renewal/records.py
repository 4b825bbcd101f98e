"""A visitor's record in the store: its format and its key. The only module that calls a store and maps its failures."""

from __future__ import annotations

import functools
import hashlib
import json
import random
from collections.abc import Awaitable, Callable
from contextlib import suppress
from typing import Any, Final, TypeVar, cast

import anyio
import attrs

from wixvisitor._checks import checked_tokens
from wixvisitor._renewal.decision import Snapshot, Unread, snapshot_of
from wixvisitor._renewal.lineage import Lineage, after_all, written
from wixvisitor._renewal.lineage import read as read_lineage
from wixvisitor._renewal.settings import Settings
from wixvisitor._tasks import time_limits
from wixvisitor._tasks.shared_task import BaseExceptionRaised, SharedTask, current_loop
from wixvisitor._tokens import EMPTY_TOKENS, Tokens
from wixvisitor._wire.redaction import drops_frames, drops_frames_async, redact, safe_cause
from wixvisitor.errors import ConfigurationError, StorageError
from wixvisitor.storage import ANY_VERSION, Record, VersionConflict
from wixvisitor.storage.memory import SharedText

T = TypeVar("T")

_FORMAT: Final = 1
_NO_JSON: Final = object()
_BRIEF: Final = 30 * 86_400.0  # seconds that the record of a forgotten visitor is kept
_ROUNDS: Final = 4  # maximum re-reads before forgetting gives up
_SEEDS: Final = 8  # seeds that a record remembers
_TIMEOUT: Final = 10.0  # seconds that a store may take for one call
_LATE: Final = 2.0  # seconds over the limit; a call that took longer was frozen with the process
_LAST_STEPS: Final = 0.5  # seconds that a cancelled call has to end


@attrs.frozen(repr=False, match_args=False)
class Stored:
    """What the store holds for a visitor."""

    tokens: Tokens
    version: str | None
    lineage: Lineage | None = None


class Records:
    """One visitor's record.

    Attributes:
        seeds: hashes of the refresh tokens that the application gave as ``tokens=`` at earlier starts, the newest last.
            They are those of the record that was read last; every save writes them again.
        lineage: the lineage of the record that was read last; None if it has none, or if there was no record.

    Raises:
        StorageError: every method maps what the store raises to it. Its text holds no token.
        VersionConflict: ``save`` found another version, and changed nothing.
    """

    __slots__ = ("_last", "key", "lineage", "seeds", "settings")

    def __init__(self, settings: Settings, key: str) -> None:
        self.settings = settings
        self.key = key
        self.seeds: tuple[str, ...] = ()
        self.lineage: Lineage | None = None
        self._last: tuple[Record | None, Any] = None, None

    @property
    def scoped_key(self) -> str:
        """The key in the store. It begins with the client ID, so that two sites on one store never mix."""
        return f"{self.settings.client_id}:{self.key}"

    @drops_frames_async
    async def load(self) -> Stored | None:
        """Returns what the store holds."""
        await self._read()
        return self.last_read()

    @drops_frames
    def last_read(self) -> Stored | None:
        """Returns what the store held when it was read last."""
        record, content = self._last
        if record is None:
            return None
        tokens = _tokens_of(content, self.settings.client_id)  # the machine that wrote them may have a wrong clock
        return Stored(self.settings.server_clock.limited(tokens), record.version, self.lineage)

    @drops_frames_async
    async def version(self) -> str | Unread | None:
        """Returns the record's version, also if the record is damaged; None if the store holds no record."""
        record, _ = await self._read()
        return None if record is None else (record.version or Unread.UNREAD)

    @drops_frames_async
    async def look(self) -> tuple[str | Unread | None, Stored | None]:
        """Returns the record's version, None if there is no record; and the record, None if it is damaged."""
        version, stored = await self.version(), None
        with suppress(StorageError):
            stored = self.last_read()
        return version, stored

    async def _read(self) -> tuple[Record | None, Any]:
        """Reads the record, notes its seeds and its lineage, and returns it with its content."""
        self._last = None, None
        self.note(await self.fetch())
        return self._last

    async def fetch(self) -> Record | None:
        """Returns the record as the store holds it, None if there is none. Notes nothing."""
        if self.settings.never_waits and not self.settings.observers.listeners:  # one of our own, which raises nothing
            return cast("Record | None", await self.settings.storage.load(self.scoped_key))
        return await self._fetched()

    @drops_frames_async
    async def _fetched(self) -> Record | None:
        record = await self._call("load", functools.partial(self.settings.storage.load, self.scoped_key))
        if record is None or isinstance(record, Record):
            return record
        if isinstance(record, str):
            return Record(record)
        raise StorageError(f"the store returned a {type(record).__name__}; expected a Record, a text or None")

    @drops_frames
    def note(self, record: Record | None) -> None:
        """Notes a record that was fetched, with its seeds and its lineage.

        If there is none, the seeds and the lineage of the record before stay, so that the next save writes them again.
        """
        if record is None:
            self._last = None, None
            return
        content = _content_of(record.value)
        known = content if isinstance(content, dict) else {}
        self.seeds, self.lineage = _seeds_of(known), read_lineage(known)
        self._last = record, content

    def knows_seed(self, tokens: Tokens) -> bool:
        """Whether the record that was read last had these tokens as a seed."""
        return _fingerprint(tokens) in self.seeds

    def add_seed(self, tokens: Tokens) -> None:
        """Adds these tokens to the seeds, which the next save writes. The eight newest seeds are kept."""
        others = tuple(seed for seed in self.seeds if seed != _fingerprint(tokens))
        self.seeds = (*others, _fingerprint(tokens))[-_SEEDS:]

    def new_identity(self, *known: Lineage | None) -> Lineage:
        """Returns the lineage of a new identity: later than all that is known and than what was read last."""
        identity = random.getrandbits(48)
        return after_all(self.settings.clock(), identity, self.lineage, *known)

    @drops_frames_async
    async def save(self, tokens: Tokens, expected: str | Unread | None, lineage: Lineage | None = None) -> str | None:
        """Saves if the store still holds the expected version, and returns the new version.

        Args:
            tokens: the visitor. With empty tokens the record says that the visitor was forgotten, and may go after
                30 days.
            expected: the version that was read.
            lineage: the lineage of these tokens.
        """
        text = render(tokens, self.settings.client_id, self.seeds, lineage)
        secrets = tokens.access_token.value, tokens.refresh_token.value
        if self.settings.never_waits:
            text = SharedText.of(text, secrets)
        return await self._write(text, expected, is_brief=tokens == EMPTY_TOKENS, secrets=secrets)

    async def _write(
        self, text: str, expected: str | Unread | None, *, is_brief: bool, secrets: tuple[str, ...] = ()
    ) -> str | None:
        """Writes a record's text with the arguments that the store's ``save`` takes, and returns the new version.

        Args:
            text: the record.
            expected: the version that was read.
            is_brief: whether the record may go after ``_BRIEF`` seconds.
            secrets: texts that no error may show.
        """
        arguments: dict[str, Any] = {}
        if self.settings.conditional:
            arguments["expected"] = ANY_VERSION if isinstance(expected, Unread) else expected
        if is_brief and self.settings.keeps_briefly:
            arguments["keep_for"] = _BRIEF
        save = functools.partial(self.settings.storage.save, self.scoped_key, text, **arguments)
        version = await self._call("save", save, secrets=secrets, writes=True)
        return version if isinstance(version, str) and self.settings.conditional else None

    @drops_frames_async
    async def forget(self, held: Lineage | None) -> Lineage | None:
        """Forgets the visitor: saves a record without tokens, which tells processes that still hold them (rule 7).

        In a store without compare-and-set the record is deleted.

        Args:
            held: the lineage of what the session held.

        Returns:
            The lineage of the record without tokens; None if there is none.
        """
        if not self.settings.conditional:
            delete = functools.partial(self.settings.storage.delete, self.scoped_key)
            await self._call("delete", delete, writes=True)
            return None
        await self._after_the_write_before()  # a thread may still save a first mint, and cannot be cancelled
        for _ in range(_ROUNDS):
            version = await self.version()
            if version is None and held is None:
                return None  # there was no visitor
            gone = self.new_identity(held)
            try:
                await self.save(EMPTY_TOKENS, version, gone)
            except VersionConflict:
                continue
            return gone
        raise contradiction("forgotten")

    async def acquire_lease(self, holder: str, seconds: float) -> float:
        """Returns 0.0 if ``holder`` has the lease or the store has no leases, else the seconds until it runs out."""
        if self.settings.leases is None:
            return 0.0
        acquire = functools.partial(self.settings.leases.acquire_lease, self.scoped_key, holder, seconds)
        return await self._call("lease", acquire)

    async def release_lease(self, holder: str) -> None:
        """Gives the lease back."""
        if self.settings.leases is not None:
            await self._call("lease", functools.partial(self.settings.leases.release_lease, self.scoped_key, holder))

    async def _call(
        self, verb: str, call: Callable[[], Awaitable[T]], *, secrets: tuple[str, ...] = (), writes: bool = False
    ) -> T:
        """Calls the store, and tells of it. A call that failed while the process stood still is made once more."""
        made, observers = self._call_again(verb, call, secrets, writes=writes), self.settings.observers
        if not observers.listeners:
            return await made
        return await observers.timed(made, key=self.key, store=self.settings.storage, operation=verb)

    async def _call_again(
        self, verb: str, call: Callable[[], Awaitable[T]], secrets: tuple[str, ...], *, writes: bool
    ) -> T:
        began = time_limits.outside_clock()
        try:
            return await self._call_once(verb, call, secrets, writes=writes)
        except StorageError as error:
            if isinstance(error, VersionConflict) or time_limits.outside_clock() - began < _TIMEOUT + _LATE:
                raise
        return await self._call_once(verb, call, secrets, writes=writes)

    async def _call_once(
        self, verb: str, call: Callable[[], Awaitable[T]], secrets: tuple[str, ...], *, writes: bool
    ) -> T:
        """Calls the store with a time limit of ``_TIMEOUT`` seconds, and maps what it raises."""
        try:
            if self.settings.never_waits or (verb == "load" and self.settings.loads_end_at_once):
                return await call()
            return await self._bounded(verb, call, writes=writes)
        except VersionConflict as error:
            raise VersionConflict(redact(str(error), secrets)) from None
        except StorageError as error:
            raise StorageError(redact(str(error), secrets)) from safe_cause(error, secrets)
        except BaseExceptionRaised as error:
            raise StorageError(
                f"the store could not {verb}: it raised {error}, though nothing had cancelled it"
            ) from None
        except Exception as error:
            if isinstance(error, ExceptionGroup) and error.split(VersionConflict)[1] is None:
                raise VersionConflict("another process has changed the record") from None
            reason = f"the store could not {verb}: {type(error).__name__}: {redact(str(error), secrets)}"
            raise StorageError(reason) from safe_cause(error, secrets)

    async def _bounded(self, verb: str, call: Callable[[], Awaitable[T]], *, writes: bool) -> T:
        """Makes one call in a task of its own, which is left behind if it does not end in time.

        A store may work in a thread, which cannot be cancelled. The visitor's next write waits for that thread as long
        as this call may take, so that a late write does not replace a newer one.
        """
        if writes:
            await self._after_the_write_before()
        task, deadline = SharedTask(), anyio.current_time() + _TIMEOUT
        if writes:
            self.settings.writes[self.scoped_key] = task, deadline
        task.start(functools.partial(self._do, call, task), name=f"wixvisitor: the store's {verb}")
        try:
            with anyio.move_on_after(_TIMEOUT):
                await task.wait()
        finally:
            if not task.done:
                await task.end(_LAST_STEPS)
        if task.error is not None:
            raise task.error
        if task.result is None:
            raise StorageError(f"the store did not {verb} within {_TIMEOUT:g} s")
        return cast("tuple[T]", task.result)[0]

    async def _do(self, call: Callable[[], Awaitable[T]], task: SharedTask) -> tuple[T]:
        try:
            return (await call(),)
        finally:
            if self.settings.writes.get(self.scoped_key, (None,))[0] is task:
                del self.settings.writes[self.scoped_key]

    async def _after_the_write_before(self) -> None:
        task, deadline = self.settings.writes.get(self.scoped_key, (None, 0.0))
        if task is not None and task.loop is current_loop():
            with anyio.move_on_after(deadline - anyio.current_time()):
                await task.wait()


def snapshot_of_record(settings: Settings, stored: Stored | None) -> Snapshot:
    """Returns what a session holds after reading this record; None: the store has none."""
    return snapshot_of(
        EMPTY_TOKENS if stored is None else stored.tokens,
        renew_before=settings.renew_before,
        jitter=settings.jitter(),
        version=None if stored is None else stored.version,
        lineage=None if stored is None else stored.lineage,
    )


def contradiction(done: str) -> StorageError:
    """Returns the error about a store that refuses to save over the record that it has just returned."""
    error = StorageError(
        f"the store's record changes faster than it can be {done}, or the store reads from a replica that lags behind"
    )
    error._backs_off = True
    return error


def render(tokens: Tokens, client_id: str, seeds: tuple[str, ...] = (), lineage: Lineage | None = None) -> str:
    """Returns the text of a record: ``@wix/sdk``'s token JSON, the client ID, the lineage and the seeds."""
    content = {"format": _FORMAT, "clientId": client_id, **tokens.to_dict(), **written(lineage)}
    if seeds:
        content["seeds"] = list(seeds)
    return json.dumps(content, separators=(",", ":"))


def _seeds_of(content: dict[str, Any]) -> tuple[str, ...]:
    seeds = content.get("seeds")
    return tuple(seed for seed in seeds if isinstance(seed, str))[-_SEEDS:] if isinstance(seeds, list) else ()


def _fingerprint(tokens: Tokens) -> str:
    """Returns a hash that tells seeds apart and is no secret."""
    return hashlib.sha256(tokens.refresh_token.value.encode()).hexdigest()


def parse(text: str, client_id: str) -> Tokens:
    """Returns a record's tokens.

    Raises:
        StorageError: the text is no record, has another format, or belongs to another site. It stays in the store.
    """
    return _tokens_of(_content_of(text), client_id)


def _content_of(text: str) -> Any:
    """Returns a record's JSON, ``_NO_JSON`` if it is none."""
    try:
        return json.loads(text)
    except (ValueError, RecursionError):
        return _NO_JSON


def _tokens_of(content: Any, client_id: str) -> Tokens:
    if content is _NO_JSON:
        raise StorageError("the store's record is no JSON (cut off?); it was left as it is")
    if not isinstance(content, dict) or "format" not in content:
        raise StorageError("the store's record is not one of wixvisitor's; it was left as it is")
    if content["format"] != _FORMAT:
        raise StorageError(f"the store's record has format {content['format']!r:.20}; this version reads {_FORMAT}")
    if content.get("clientId") != client_id:
        raise StorageError("the store's record belongs to another client ID; it was left as it is")
    try:
        return checked_tokens(Tokens.from_dict(content))
    except (ValueError, ConfigurationError) as error:
        raise StorageError(f"the store's record is damaged ({error}); it was left as it is") from None
