"""What users hold: many visitors of one site in one process."""

from __future__ import annotations

import weakref
from collections.abc import Callable, Sequence
from types import TracebackType
from typing import TYPE_CHECKING, Self

import anyio
import attrs

from wixvisitor import _checks
from wixvisitor._http.arguments import AnyClient, ClientMaker
from wixvisitor._renewal.changes import Event, Policy, TokensChanged
from wixvisitor._session import VisitorSession
from wixvisitor._status import PoolStatus, status_of
from wixvisitor._wire.token_endpoint import TokenAnswer, Verdict
from wixvisitor.storage import LeasingStorage, MemoryStorage, TokenStorage
from wixvisitor.storage._protocol import settle

if TYPE_CHECKING:
    from wixvisitor._renewal.settings import Settings


class VisitorPool(_checks.NotCopied):
    """Many visitors, one process: for web servers.

    The arguments are those of ``VisitorSession`` without ``tokens`` and ``key``, and those below. All sessions share
    one HTTP connection pool. An idle session holds its tokens and little else, and is dropped when your code holds no
    reference to it. With ``storage=None`` the visitors live in memory as long as the pool does.

    Args:
        max_token_requests: the largest number of token requests under way at once, in each process. Wix documents 200
            requests a minute (dev.wix.com/docs/rest/articles/get-started/rate-limits). At 0.3 s a call, 4 serve a burst
            of 20 new visitors within 1.5 s. When thousands of tokens expire together, the others wait for a permit, up
            to ``renew_timeout`` seconds, instead of overloading Wix and getting a 429. Divide by the number of
            processes. Existing visitors go before new ones, which get every fourth permit.
        new_visitors_per_minute: the largest number of visitors that the pool creates in any minute for keys without a
            record, in each process; None for no limit. Beyond it a request raises ``TokenRequestError`` with
            ``retry_after``. So a crawler without cookies cannot use up the site's limit. Divide by the number of
            processes.

    wixvisitor takes Wix's limit for the whole site's, and an outage hits the whole site. After a 429, or after failures
    of three visitors in a row, the pool has a cooldown: none of its visitors asks the token endpoint until the time
    that Wix named (300 s at most), or for 1 s at most, doubling to 60 s. A call that needs the endpoint meanwhile
    raises a ``TokenRequestError`` at once; its ``retry_after`` is the remaining time. Then one visitor asks first, for
    all. Valid tokens are used all the time.

    Use it with ``async with``, or call ``await pool.aclose()`` at the end. When it is closed, it and its sessions raise
    a ``ConfigurationError`` instead of loading a visitor or sending a request. The tokens in memory can still be read,
    and ``async with`` opens it again.

    Raises:
        ConfigurationError: an argument is wrong.

    Concurrency: share it between asyncio tasks, or trio's. Threads use ``BlockingVisitorPool``, which is thread-safe.
    Event loops may follow one another; close the pool in each of them. Two that run at the same time, in two threads,
    count as two processes: each has ``max_token_requests`` of its own, and the store keeps each visitor one.
    Cancellation: never harms a visitor.
    """

    def __init__(
        self,
        client_id: str,
        *,
        storage: TokenStorage | None = None,
        client: AnyClient | ClientMaker | None = None,
        base_url: str | None = None,
        allowed_origins: Sequence[str] = (),
        renew_before: float = 900.0,
        on_refused: Policy = "auto",
        on_change: Callable[[TokensChanged], object] | None = None,
        on_event: Callable[[Event], None] | None = None,
        renew_timeout: float = 15.0,
        judge_refusal: Callable[[TokenAnswer], Verdict] | None = None,
        clock: Callable[[], float] | None = None,
        max_retries: int = 2,
        max_token_requests: int = 4,
        new_visitors_per_minute: int | None = None,
        is_refusal: Callable[[TokenAnswer], bool] | None = None,
    ) -> None:
        # Imported when the first pool is made, because these modules take long to import.
        from wixvisitor._http.clients import Connections  # noqa: PLC0415
        from wixvisitor._renewal.endpoint import TokenEndpoint  # noqa: PLC0415
        from wixvisitor._renewal.settings import checked  # noqa: PLC0415

        self._settings = checked(
            client_id,
            storage=MemoryStorage() if storage is None else storage,
            base_url=base_url,
            client=client,
            allowed_origins=allowed_origins,
            renew_before=renew_before,
            renew_timeout=renew_timeout,
            on_refused=on_refused,
            on_change=on_change,
            on_event=on_event,
            judge_refusal=judge_refusal,
            is_refusal=is_refusal,
            clock=clock,
            max_retries=max_retries,
            for_pool=True,
            max_token_requests=max_token_requests,
            new_visitors_per_minute=new_visitors_per_minute,
        )
        origins = self._settings.origins
        self._connections = Connections(client, origins.allow, origins.check_client)
        self._endpoint = TokenEndpoint(self._settings, self._connections)
        self._sessions: weakref.WeakValueDictionary[str, VisitorSession] = weakref.WeakValueDictionary()
        self._settings.limiter.live = self._sessions

    async def __aenter__(self) -> Self:
        self._connections.open()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        await self.aclose()

    async def session(self, key: str) -> VisitorSession:
        """Returns the visitor of this key: the same live object for the same key, loaded if there is a record.

        Mints no visitor; that happens at the visitor's first request.

        Raises:
            StorageError: the store cannot be read, or its record is damaged.
            ConfigurationError: the key is no text, is empty, or is the key of the catalogue's visitor; or the pool is
                closed.
        """
        self._connections.check_open()
        session = self._sessions.get(_checks.checked_key(key)) or self._new(key)
        await session._refresher.load()  # the pool builds the session from its parts
        return session

    async def forget(self, key: str) -> None:
        """Removes this visitor from the store and from memory. An existing session of it starts with a new visitor.

        Raises:
            StorageError: the store cannot remove it.
            ConfigurationError: the key is not valid, or the pool is closed.
        """
        self._connections.check_open()
        session = self._sessions.get(_checks.checked_key(key)) or self._new(key)
        await session._refresher.forget()

    async def status(self, *, timeout: float = 2.0) -> PoolStatus:
        """Returns whether the pool is paused and whether its store answers, for readiness probes.

        Makes no visitor and asks Wix nothing. It reads one key from the store, which no visitor has.

        Args:
            timeout: seconds that the store has to answer.

        Raises:
            ConfigurationError: the pool is closed, or the timeout is no number above 0.

        Cancellation: leaves nothing behind.
        """
        self._connections.check_open()
        return await status_of(self._settings, timeout)

    async def aclose(self) -> None:
        """Ends the renewals under way within 3 seconds and closes the client, if it was made here.

        It does not close the storage: you do. May be called twice. Raises nothing.

        Cancellation: it goes on to its end, at most 3 seconds.
        """
        from wixvisitor._renewal.refresher import CLOSING  # noqa: PLC0415 - as above

        until = anyio.current_time() + CLOSING
        with anyio.CancelScope(shield=True):  # also if the scope around it has been cancelled
            async with anyio.create_task_group() as group:
                for session in list(self._sessions.values()):
                    group.start_soon(session._refresher.aclose)
            self._connections.close()
            await self._connections.aclose()
            await settle(self._settings.storage, until - anyio.current_time())

    def _kept_in(self, storage: LeasingStorage) -> Self:
        """Returns a pool over another storage. It shares this pool's connections, permits and live sessions.

        Closing this pool closes them. The keys of the two must differ.
        """
        other = object.__new__(type(self))
        other.__dict__.update(self.__dict__)
        other._settings = attrs.evolve(self._settings, storage=storage, conditional=True, leases=storage)
        return other

    def _new(self, key: str, settings: Settings | None = None) -> VisitorSession:
        from wixvisitor._renewal.refresher import Refresher  # noqa: PLC0415 - as above

        refresher = Refresher(settings or self._settings, key, self._endpoint, None)
        session = VisitorSession._of_pool(refresher)
        self._sessions[key] = session
        return session

    def __repr__(self) -> str:
        return f"<VisitorPool {self._settings.client_id!r} of {len(self._sessions)} live visitors>"
