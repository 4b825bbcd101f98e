"""The arguments that all sessions of one site share."""

from __future__ import annotations

import functools
import math
import time
import uuid
from typing import Any

import pytest

from wixvisitor import ConfigurationError, TokensChanged
from wixvisitor import judge_refusal as default_judge_refusal
from wixvisitor._renewal.changes import ChangeReason
from wixvisitor._renewal.decision import OnRefused
from wixvisitor._renewal.settings import Settings, checked, wall_clock
from wixvisitor._tokens import TokenRole
from wixvisitor.storage import ANY_VERSION, FileStorage, MemoryStorage


class Least:
    async def load(self, key):
        return None

    async def save(self, key, value):
        pass

    async def delete(self, key):
        pass


class Wrapper(Least):
    async def save(self, key, value, **options):
        pass


class Conditional(Least):
    async def save(self, key, value, *, expected=ANY_VERSION):
        return "1"


def settings(client_id: Any = "5e9c1d0a-7c1e-4a52-9d5e-1f2a3b4c5d6e", **changes: Any) -> Settings:
    arguments: dict[str, Any] = {
        "storage": MemoryStorage(),
        "base_url": "https://www.wixapis.com",
        "allowed_origins": (),
        "renew_before": 900.0,
        "renew_timeout": 30.0,
        "on_refused": "auto",
        "on_change": None,
        "is_refusal": None,
        "clock": None,
    }
    return checked(client_id, **arguments | changes)


def refuses(argument: str, value: Any) -> None:
    with pytest.raises(ConfigurationError, match=f"^{argument}"):
        settings(**{argument: value})


def test_defaults():
    """What is not given has the documented value."""
    read = settings()
    assert (read.renew_before, read.renew_timeout, read.on_refused) == (900.0, 30.0, OnRefused.AUTO)
    assert read.judge_refusal is default_judge_refusal
    assert read.clock is wall_clock
    assert read.observers.on_change is None
    assert 0 <= read.jitter() < 1


GUID = "0f1e2d3c-4b5a-4789-8abc-def012345678"


@pytest.mark.parametrize(
    "value",
    [
        *("", None, 1, b"id", "two words", "a:b", "line\n", "é", ["id"], "<CLIENT-ID>", uuid.UUID(GUID), GUID.encode()),
        *(f"{GUID}\n", f" {GUID}", f"{{{GUID}}}", f"urn:uuid:{GUID}", GUID.replace("-", ""), GUID[:-1], f"{GUID}0"),
        *(GUID.replace("e", "g"), GUID.replace("1", "\uff11"), GUID.replace("-", "\u2010"), f"{GUID}:{GUID}"),
    ],
)
def test_what_is_no_client_id(value):
    """A client ID is a GUID; the error says where to find it, and does not quote what may have been a secret."""
    with pytest.raises(ConfigurationError, match=r"^client_id: .*Headless Settings") as caught:
        settings(value)
    assert len(str(value)) < 5 or str(value) not in str(caught.value)


@pytest.mark.parametrize("value", [GUID, GUID.upper(), "00000000-0000-0000-0000-000000000000"])
def test_client_id(value):
    """A GUID is kept as it was written, since it names records."""
    assert settings(value).client_id == value


@pytest.mark.parametrize("name", ["renew_before", "renew_timeout"])
@pytest.mark.parametrize("value", [-1, -0.001, math.nan, math.inf, -math.inf, 1e9, "900", None, True, [900]])
def test_wrong_seconds(name, value):
    """Seconds are a finite number that is not negative."""
    refuses(name, value)


def test_seconds():
    """Whole numbers and fractions are seconds; a renewal needs some time."""
    assert settings(renew_before=0, renew_timeout=1).renew_before == 0.0
    assert type(settings(renew_timeout=1).renew_timeout) is float
    refuses("renew_timeout", 0)


@pytest.mark.parametrize("value", ["auto", "new_visitor", "raise"])
def test_policies(value):
    """The three policies are texts."""
    assert settings(on_refused=value).on_refused == value


@pytest.mark.parametrize("value", ["", "AUTO", "ignore", None, 1, []])
def test_wrong_policy(value):
    """Another policy is refused, and the text says which there are."""
    with pytest.raises(ConfigurationError, match="auto, new_visitor, raise"):
        settings(on_refused=value)


async def coroutine(event: TokensChanged) -> None:
    """What somebody might pass as on_change."""


class AsyncCallable:
    async def __call__(self, event: TokensChanged) -> None:
        """Is awaited by nobody."""

    async def method(self, event: TokensChanged) -> None:
        """Neither is this."""


@pytest.mark.parametrize(
    "value", [1, "text", [], coroutine, functools.partial(coroutine), AsyncCallable().method, AsyncCallable()]
)
def test_wrong_on_change(value):
    """``on_change`` is called and not awaited, so whatever returns a coroutine is refused."""
    refuses("on_change", value)


@pytest.mark.parametrize("value", [print, lambda event: None, functools.partial(print), [].append])
def test_on_change(value):
    """Any plain callable will do."""
    assert settings(on_change=value).observers.on_change is value


@pytest.mark.parametrize("value", [None, 1, {}, "visitor.json", object()])
def test_no_storage(value):
    """A storage has load, save and delete; a path or a dict is none."""
    refuses("storage", value)


@pytest.mark.parametrize("value", [MemoryStorage, Least])
def test_a_class_is_no_storage(value):
    """A storage whose parentheses were forgotten is refused at once."""
    refuses("storage", value)


def test_what_a_storage_offers(tmp_path):
    """Compare-and-set is recognised by ``expected``, leases by their methods."""
    offers = {
        type(storage).__name__: (read.conditional, read.leases is storage)
        for storage in (MemoryStorage(), FileStorage(tmp_path), Least(), Wrapper(), Conditional())
        for read in [settings(storage=storage)]
    }
    assert offers == {
        "MemoryStorage": (True, True),
        "FileStorage": (True, True),
        "Least": (False, False),
        "Wrapper": (True, False),
        "Conditional": (True, False),
    }


def test_a_storage_without_a_signature():
    """A save that cannot be inspected is taken for a plain one."""
    storage = Least()
    storage.save = type("Odd", (), {"__signature__": "none", "__call__": lambda self, key, value: None})()
    assert settings(storage=storage).conditional is False


def test_urls_are_checked():
    """The base URL and the allowed origins are checked with everything else."""
    refuses("base_url", "http://www.wixapis.com")
    refuses("allowed_origins", ("edge",))
    refuses("allowed_origins", "https://edge.wixapis.com")


def test_the_clock_can_be_moved(monkeypatch):
    """The time is looked up at each call, so that tests which patch ``time`` work."""
    monkeypatch.setattr(time, "time", lambda: 7.0)
    assert settings().clock() == 7.0
    assert settings(clock=lambda: 8.0).clock() == 8.0


def test_change_events():
    """An event says why, which record and which roles; its reason is a text."""
    event = TokensChanged(ChangeReason.MINTED, "default", TokenRole.NONE, TokenRole.VISITOR)
    assert f"{event.reason} {event.key} {event.old_role} {event.new_role}" == "minted default none visitor"
    assert {reason.value for reason in ChangeReason} == {"minted", "renewed", "replaced", "adopted", "set", "forgotten"}
