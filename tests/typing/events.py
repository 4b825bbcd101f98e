"""Checked by mypy and pyright, never run: what ``on_event`` and ``on_change`` accept, and what events are."""

from __future__ import annotations

from typing import assert_type

from wixvisitor import Event, PauseBegan, TokenRequested, TokensChanged, VisitorPool, VisitorSession
from wixvisitor.members import LoginOutcome, MemberLogin, MemberLoginError
from wixvisitor.opentelemetry import instrument, uninstrument


def listen(event: Event) -> None:
    """An event's class tells its fields."""
    match event:
        case TokenRequested():
            assert_type(event.seconds, float)
            assert_type(event.status_code, int | None)
        case PauseBegan(key=key):
            assert_type(key, str | None)
        case TokensChanged():
            assert_type(event.key, str)


async def later(event: Event) -> None:
    """An async function is no observer."""


events: list[Event] = []
pool = VisitorPool("", on_event=listen)
session = VisitorSession("", on_event=events.append, on_change=lambda change: change.reason)
VisitorSession("", on_event=later)  # type: ignore[arg-type] # pyright: ignore[reportArgumentType]
instrument(pool)
uninstrument(session)
instrument("pool")  # type: ignore[arg-type] # pyright: ignore[reportArgumentType]


async def log_in() -> None:
    """The types of a login."""
    login = assert_type(await session.members.start_login("", idp="google"), MemberLogin)
    assert_type(await session.members.login("", ""), LoginOutcome)
    await session.members.start_login("", prompt="never")  # type: ignore[arg-type] # pyright: ignore[reportArgumentType]
    await session.members.login_external("", email="", api_key="")  # type: ignore[call-overload] # pyright: ignore[reportCallIssue]
    try:
        await session.members.finish_login(login, {"code": ""})
    except MemberLoginError as error:
        assert_type(error.code, str | None)
