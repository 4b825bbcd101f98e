"""Mistakes with logins, logouts and redirects: one patch each."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping
from contextlib import ExitStack, contextmanager
from typing import Any
from unittest.mock import patch

import attrs

from wixvisitor import (
    EMPTY_TOKENS,
    ConfigurationError,
    RefreshToken,
    StorageError,
    TokenRole,
    Tokens,
    WixVisitorError,
    members,
)
from wixvisitor._renewal.decision import Snapshot
from wixvisitor._renewal.endpoint import TokenEndpoint
from wixvisitor._renewal.lane import Lane
from wixvisitor._renewal.records import Records
from wixvisitor._renewal.refresher import Refresher
from wixvisitor._renewal.run import Renewal
from wixvisitor._wire.token_endpoint import Refused
from wixvisitor.errors import MemberLoginError
from wixvisitor.members import MemberLogin, Members, Redirects


def _any_state_will_do() -> Any:
    """The state of the callback is not compared."""
    return patch.object(members.hmac, "compare_digest", lambda *_: True)


def _errors_are_not_read() -> Any:
    """A callback with an error is taken for one with a code."""
    finish = Members._finish

    async def without_error(self: Members, login: MemberLogin, params: Mapping[str, str]) -> Tokens:
        code = {"code": "none"} if "error" in params else {}
        return await finish(self, login, {**{name: params[name] for name in params if name != "error"}, **code})

    return patch.object(Members, "_finish", without_error)


def _a_login_is_its_callers() -> Any:
    """A caller that leaves ends the exchange, whose code has been used."""
    log_in = Refresher.log_in

    async def or_end(self: Refresher, request: Any) -> Tokens:
        try:
            return await log_in(self, request)
        except WixVisitorError:
            raise
        except BaseException:
            for job in self._lane.here()[-1:]:
                job.cancel()
            raise

    return patch.object(Refresher, "log_in", or_end)


def _an_exchange_is_repeated() -> Any:
    """A code whose exchange got no answer is sent again."""
    request = members.wire.code_request
    return patch.object(members.wire, "code_request", lambda *given: attrs.evolve(request(*given), works_once=False))


def _a_failed_login_is_a_logout() -> Any:
    """A login that fails drops the visitor."""
    log_in = Refresher.log_in

    async def or_forget(self: Refresher, request: Any) -> Tokens:
        try:
            return await log_in(self, request)
        except StorageError:
            raise
        except WixVisitorError:
            await self.forget()
            raise

    return patch.object(Refresher, "log_in", or_forget)


def _a_refused_code_is_a_refused_visitor() -> Any:
    """A login that Wix refuses makes a new visitor."""
    exchange = Refresher._exchange

    async def or_mint(self: Refresher, request: Any) -> Tokens:
        try:
            return await exchange(self, request)
        except MemberLoginError:
            self.state.forget()
            await self.settings.storage.delete(self._records().scoped_key)
            raise

    return patch.object(Refresher, "_exchange", or_mint)


def _a_lost_answer_is_a_login() -> Any:
    """The tokens of an exchange are adopted a little before Wix's answer is judged to be too late."""
    exchange = TokenEndpoint.exchange
    kept: list[Any] = []

    async def keep(self: TokenEndpoint, *given: Any) -> Any:
        answer = await exchange(self, *given)
        if not isinstance(answer, Refused):
            kept.append(answer)
            if len(kept) % 2:
                raise MemberLoginError("no")
        elif kept:
            return kept.pop()
        return answer

    return patch.object(TokenEndpoint, "exchange", keep)


def _the_visitors_refresh_token_stays() -> Any:
    """A login brings an access token, and the refresh token stays the visitor's."""
    exchange = Refresher._exchange

    async def half(self: Refresher, request: Any) -> Tokens:
        tokens, old = await exchange(self, request), self.state.tokens().refresh_token.value
        return Tokens(tokens.access_token, RefreshToken(old, TokenRole.MEMBER)) if old else tokens

    return patch.object(Refresher, "_exchange", half)


def _a_member_is_a_visitor() -> Any:
    """A login's tokens count as a visitor's, so that a refused member is replaced unasked."""
    exchange = Refresher._exchange

    async def as_visitor(self: Refresher, request: Any) -> Tokens:
        tokens = await exchange(self, request)
        return Tokens(tokens.access_token, RefreshToken(tokens.refresh_token.value, TokenRole.VISITOR))

    return patch.object(Refresher, "_exchange", as_visitor)


def _a_login_waits_for_none() -> Any:
    """A renewal of the visitor goes on amid a login, and overwrites it."""
    add = Lane.add

    def without_ending(self: Lane, job: Any, work: Any, *, name: str) -> None:
        with patch.object(Lane, "here", lambda _: []) if name == "log_in" else ExitStack():
            add(self, job, work, name=name)

    return patch.object(Lane, "add", without_ending)


def _a_login_that_is_not_saved_is_lost() -> Any:
    """Tokens of a login that cannot be saved are not held."""
    save_given = Renewal._save_given

    async def or_nothing(self: Renewal, given: Snapshot) -> Any:
        outcome = await save_given(self, given)
        if outcome.error is not None and given.tokens.refresh_token.role is TokenRole.MEMBER:
            raise outcome.error
        return outcome

    return patch.object(Renewal, "_save_given", or_nothing)


def _nobody_was_there_before() -> Any:
    """A login does not say who was there before."""
    start = Members._start

    async def forgetful(self: Members, *given: Any, **named: Any) -> MemberLogin:
        return attrs.evolve(await start(self, *given, **named), previous=EMPTY_TOKENS)

    return patch.object(Members, "_start", forgetful)


def _a_logout_needs_wix() -> Any:
    """The tokens are dropped when Wix has answered, and not if it does not."""

    async def logout(self: Members, return_to: str) -> str:
        url = await Redirects(self._session).create(members.wire.logout_body(self._session.client_id, return_to))
        await self._session._log_out()
        return url

    return patch.object(Members, "logout", logout)


def _a_logout_is_of_this_process() -> Any:
    """A logout forgets what is held, and leaves the record."""

    async def forget(self: Records, _held: object) -> None:
        await self.settings.storage.load(self.scoped_key)

    return patch.object(Records, "forget", forget)


def _a_logout_reads_nothing() -> Any:
    """A session that has not read the store has nobody to log out."""
    logout = Members.logout

    async def at_once(self: Members, return_to: str) -> str:
        if self._session.get_tokens() == EMPTY_TOKENS:
            raise ConfigurationError("logout: this session has no member")
        return await logout(self, return_to)

    return patch.object(Members, "logout", at_once)


def _links_are_kept() -> Any:
    """The address of a page is asked for once, and given to all."""
    create, known = Redirects.create, dict[str, str]()

    async def once(self: Redirects, body: Mapping[str, Any]) -> str:
        flow = next(iter(body))
        if flow not in known:
            known[flow] = await create(self, body)
        return known[flow]

    @contextmanager
    def afresh() -> Any:
        known.clear()
        with patch.object(Redirects, "create", once):
            yield

    return afresh()


def _log_the_code() -> Any:
    """A debug line says which code is exchanged."""
    exchange = Refresher._exchange

    async def and_say_so(self: Refresher, request: Any) -> Tokens:
        logging.getLogger("wixvisitor").debug("exchanges %s", request.content)
        return await exchange(self, request)

    return patch.object(Refresher, "_exchange", and_say_so)


def _what_is_held_is_renewed() -> Any:
    """What the store says does not count if something is held: a member who was logged out elsewhere goes on."""
    load = Renewal._load

    async def held(self: Renewal, refused: frozenset[str] = frozenset()) -> Snapshot:
        found = await load(self, refused)
        return attrs.evolve(self.held, version=found.version) if self.held is not None and self.held.value else found

    return patch.object(Renewal, "_load", held)


def _whoever_comes_is_new() -> Any:
    """A process that knows nobody makes a visitor, whomever the store has."""
    load = Renewal._load

    async def nobody(self: Renewal, refused: frozenset[str] = frozenset()) -> Snapshot:
        found = await load(self, refused)
        return self._hold_stored(None) if self.held is None or not self.held.value else found

    return patch.object(Renewal, "_load", nobody)


MISTAKES: tuple[tuple[str, Callable[[], Any], tuple[int, ...], str], ...] = (
    ("any state will do", _any_state_will_do, (15,), "login"),
    ("a callback's error is not read", _errors_are_not_read, (15,), "login"),
    ("a login is its caller's", _a_login_is_its_callers, (15,), "login"),
    ("an exchange is repeated", _an_exchange_is_repeated, (15,), "login"),
    ("a failed login is a logout", _a_failed_login_is_a_logout, (1,), "login"),
    ("a refused code is a refused visitor", _a_refused_code_is_a_refused_visitor, (1,), "login"),
    ("a lost answer is a login", _a_lost_answer_is_a_login, (15,), "login"),
    ("the visitor's refresh token stays", _the_visitors_refresh_token_stays, (1, 6, 15), "login"),
    ("a member is a visitor", _a_member_is_a_visitor, (1, 6, 15), "login"),
    ("a login waits for no renewal", _a_login_waits_for_none, (1, 3, 6), "login"),
    ("a login that is not saved is lost", _a_login_that_is_not_saved_is_lost, (15,), "login"),
    ("nobody was there before a login", _nobody_was_there_before, (15,), "login"),
    ("a logout needs Wix", _a_logout_needs_wix, (1, 15), "login"),
    ("a logout is of this process", _a_logout_is_of_this_process, (1, 15), "login"),
    ("a logout reads nothing", _a_logout_reads_nothing, (15,), "login"),
    ("links are kept", _links_are_kept, (15,), "login"),
    ("log the code", _log_the_code, (8,), "login"),
    ("what is held is renewed", _what_is_held_is_renewed, (15,), "login"),
    ("whoever comes is new", _whoever_comes_is_new, (15,), "login"),
)
"""Name, patch, the invariants that it violates, and in which kind of world."""
