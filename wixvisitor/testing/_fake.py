"""``FakeWix``, the fake of Wix for tests."""

import importlib
import time
from collections.abc import AsyncGenerator, Callable, Iterable
from contextlib import asynccontextmanager
from threading import RLock
from types import ModuleType, TracebackType
from typing import TYPE_CHECKING, Any, Self, overload

from starlette.types import ASGIApp

from wixvisitor.testing._answer_controls import answering
from wixvisitor.testing._api_answers import TypedAnswers
from wixvisitor.testing._app import FakeApp
from wixvisitor.testing._calls import TOKEN_PATH, Call, CallLog
from wixvisitor.testing._catalog import Product, catalog
from wixvisitor.testing._fault_controls import FaultControls
from wixvisitor.testing._faults import Faults
from wixvisitor.testing._hosted import Hosted
from wixvisitor.testing._in_process import InProcessTransport
from wixvisitor.testing._member_controls import MemberControls
from wixvisitor.testing._members import Members
from wixvisitor.testing._routes import routes_app
from wixvisitor.testing._serve import serving
from wixvisitor.testing._settings import Settings
from wixvisitor.testing._site import Site
from wixvisitor.testing._visitor_controls import VisitorControls
from wixvisitor.testing._visitors import Visitors

if TYPE_CHECKING:
    import httpx

BASE_URL = "https://www.wixapis.com"


class FakeWix(TypedAnswers, FaultControls, VisitorControls, MemberControls, Settings):
    """A fake of Wix that keeps state: it mints visitors, recognises their tokens, and keeps one cart per visitor.

    Args:
        clock: Returns seconds since the epoch. None is ``time.time``, looked up at each use.
        strict: Whether the end of ``with fake:`` and of ``serve()`` fails if there were calls to unknown routes.
        client_ids: The client IDs that exist; None accepts every GUID.
        access_token_lifetime: Seconds from the issue of an access token to its expiry.
        refresh_token_lifetime: Seconds from the issue of a refresh token to its expiry.
        rotate_refresh_tokens: Whether the answer to a renewal has a new refresh token.
        products: The products of the shop; None is a small built-in range.
        allowed_redirect_uris: The addresses to which a login may lead; None allows every ``https`` address, and
            ``http`` ones of this machine.
        keep_calls: How many calls ``calls`` keeps, the last ones; None keeps all.

    The settings are attributes and may be changed at any time. A call needs a token. Unlike with Wix, it needs no
    Accept or User-Agent header. ``mint_visitor`` and ``mint_member`` issue tokens without a call;
    ``revoke_access_token`` and ``refuse_refresh_token`` end them. ``add_member`` and ``log_in`` are for members;
    ``outbox`` and ``orders`` show what was mailed and ordered. ``answer`` gives the answers of the APIs that the fake
    does not play.

    ``fail``, ``delay``, ``hang``, ``drop``, ``hold``, ``truncate``, ``add_header`` and ``set_cookie`` add faults. They
    select the calls with the same arguments:

    - ``path``: the path of the calls. ``"/ecom/*"`` is every path that begins with ``/ecom/``. None is every path
      except ``/oauth2/…`` and the hosted pages, ``/_hosted/…``.
    - ``times``: the number of calls; None is without a limit.
    - ``grant_type``: only token calls of this grant type, ``"anonymous"``, ``"refresh_token"``,
      ``"authorization_code"`` or ``"authorized_client"``.
    - ``after``: the number of matching calls that are handled normally first.
    - ``committed``: whether the fake handles the call before the fault occurs, so that only the answer is lost or late.

    The faults of a call are chosen when it arrives, in the order in which they were added. A call can have several
    delays and gates. The first fault that fails, drops or hangs the call ends it; later faults do not count that call.

    Raises:
        AssertionError: At the end of ``with``, if it is strict and there were calls to unknown routes.

    Attributes:
        strict: As the argument. It may be changed.
        app: The fake as an ASGI app, for transports and servers of your own.

    Concurrency: safe from any thread. Several clients and servers may use one fake at once; they share its state.
    Cancellation: a call that a client cancels has happened, or not, as at Wix. The fake goes on.

    """

    def __init__(
        self,
        *,
        clock: Callable[[], float] | None = None,
        strict: bool = False,
        client_ids: Iterable[str] | None = None,
        access_token_lifetime: float = 14_400,
        refresh_token_lifetime: float = 31_536_000,
        rotate_refresh_tokens: bool = False,
        products: Iterable[Product] | None = None,
        allowed_redirect_uris: Iterable[str] | None = None,
        keep_calls: int | None = None,
    ) -> None:
        super().__init__(
            client_ids=None if client_ids is None else frozenset(client_ids),
            access_token_lifetime=access_token_lifetime,
            refresh_token_lifetime=refresh_token_lifetime,
            rotate_refresh_tokens=rotate_refresh_tokens,
            allowed_redirect_uris=None if allowed_redirect_uris is None else frozenset(allowed_redirect_uris),
        )
        self.strict = strict
        self._clock = clock
        self._advanced = 0.0
        self._lock = RLock()
        self._log = CallLog(lock=self._lock, limit=keep_calls)
        self._faults = Faults(lock=self._lock)
        self._given: dict[str, Any] = {}
        self._settings = self
        self._visitors = Visitors(settings=self, server_time=self._server_time)
        self._members = Members(settings=self, server_time=self._server_time)
        self._hosted = Hosted(settings=self, server_time=self._server_time)
        self._products = catalog(products)
        self.app: ASGIApp = self._build_app()
        self._page: ASGIApp | None = None

    def _build_app(self) -> ASGIApp:
        site = Site(
            settings=self,
            visitors=self._visitors,
            members=self._members,
            hosted=self._hosted,
            products=self._products,
            server_time=self._server_time,
            lock=self._lock,
        )
        return FakeApp(
            routes=answering(routes_app(site), site, self._given),
            faults=self._faults,
            log=self._log,
            now=self.now,
            server_time=self._server_time,
        )

    def __repr__(self) -> str:
        return f"<FakeWix with {len(self._visitors.by_id)} visitors, {len(self._log.calls)} calls>"

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self.strict and error is None:
            self.check()

    @overload
    def client(self, **arguments: Any) -> "httpx.AsyncClient": ...
    @overload
    def client(self, module: ModuleType, **arguments: Any) -> Any: ...
    def client(self, module: ModuleType | None = None, **arguments: Any) -> Any:
        """A client that sends every request to the fake, for any host and without a network.

        Args:
            module: The client's module: httpx or httpx2. None is httpx.
            arguments: The client's arguments. The default ``base_url`` is Wix's.

        """
        module = module or importlib.import_module("httpx")
        transport = InProcessTransport(self.app, module=module)
        return module.AsyncClient(**{"transport": transport, "base_url": BASE_URL, **arguments})

    @asynccontextmanager
    async def serve(self, *, port: int = 0, page: bool = False) -> AsyncGenerator[str]:
        """Serves the fake on 127.0.0.1 and yields the base URL, ``http://127.0.0.1:PORT``.

        Args:
            port: 0 is a free port.
            page: Whether a browser that opens the base URL sees a page with the visitors, their carts and the calls.

        Raises:
            OSError: The port is in use.
            AssertionError: At the end, if the fake is strict and there were calls to unknown routes.

        Cancellation: the server is stopped within a second, and its connections are closed.

        """
        async with serving(self._with_page() if page else self.app, port=port) as base_url:
            yield base_url
        if self.strict:
            self.check()

    def _with_page(self) -> ASGIApp:
        from wixvisitor.testing._stand_in.app import with_page  # noqa: PLC0415 - few tests need it

        if self._page is None:
            self._page = with_page(self)
        return self._page

    def now(self) -> float:
        """The time of the test's clock, in seconds since the epoch."""
        return (self._clock or time.time)() + self._advanced

    def _server_time(self) -> float:
        return self.now() + self.clock_skew

    def advance(self, seconds: float) -> None:
        """Moves the fake's clock forward."""
        with self._lock:
            self._advanced += seconds

    @property
    def calls(self) -> list[Call]:
        """Every call so far, or the last ones with ``keep_calls``, in the order of arrival."""
        with self._lock:
            return list(self._log.calls)

    def token_calls(self, grant_type: str | None = None) -> list[Call]:
        """The calls of the token endpoint, of one grant type or of all."""
        return [call for call in self.calls if call.is_token_call and grant_type in (None, call.grant_type)]

    def api_calls(self) -> list[Call]:
        """The calls that are not for ``/oauth2/…``."""
        return [call for call in self.calls if call.is_api_call]

    @property
    def products(self) -> list[Product]:
        """The products of the shop."""
        return list(self._products.values())

    @property
    def unmatched(self) -> list[Call]:
        """The calls to routes that the fake does not know, except those that a fault answered."""
        return [call for call in self.calls if not call.matched]

    def max_concurrency(self, path: str = TOKEN_PATH) -> int:
        """The largest number of calls of this path that ran at the same time."""
        return self._log.peak(path)

    def reset_calls(self) -> None:
        """Removes the recorded calls. Visitors, tokens and faults remain."""
        self._log.reset()

    def check(self) -> None:
        """Checks that no call went to an unknown route.

        Raises:
            AssertionError: A call did. The message lists all such calls.

        """
        unmatched = [f"{call.method} {call.path}" for call in self.unmatched]
        if unmatched:
            raise AssertionError(f"FakeWix knows no route for: {', '.join(unmatched)}")
