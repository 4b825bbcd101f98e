"""A visitor's record in the store, and the edge where a store's failures are mapped."""

from __future__ import annotations

import json
import traceback
from typing import Any

import anyio
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.constants import CLIENT_ID, OTHER_CLIENT_ID
from tests.stores import ALL_CALLS, TroubledStorage
from wixvisitor import EMPTY_TOKENS, AccessToken, RefreshToken, StorageError, TokenRole, Tokens
from wixvisitor._renewal.decision import Unread
from wixvisitor._renewal.records import Records, Stored, parse, render
from wixvisitor._renewal.settings import checked
from wixvisitor.storage import MemoryStorage, Record, VersionConflict

pytestmark = pytest.mark.anyio

SECRET = "JWS.aaaaaa.classified.cccccc"
TOKENS = Tokens(AccessToken("OauthNG.JWS.a.b.c", 1_795_399_894), RefreshToken("JWS.a.b.c", TokenRole.VISITOR))


class Least:
    """Three methods, a text in and a text out."""

    def __init__(self, texts: dict[str, Any] | None = None) -> None:
        self.texts = {} if texts is None else texts

    async def load(self, key):
        return self.texts.get(key)

    async def save(self, key, value):
        self.texts[key] = value
        return 7

    async def delete(self, key):
        self.texts.pop(key, None)


def raising(error: Exception) -> TroubledStorage:
    """A store whose every call raises this."""
    return TroubledStorage(**dict.fromkeys(ALL_CALLS, error))


def hanging() -> TroubledStorage:
    """A store none of whose calls ends."""
    return TroubledStorage(**dict.fromkeys(ALL_CALLS, lambda *_: anyio.sleep_forever()))


def records(storage: Any, client_id: str = CLIENT_ID, key: str = "default") -> Records:
    settings = checked(
        client_id,
        storage=storage,
        base_url="https://www.wixapis.com",
        allowed_origins=(),
        renew_before=900,
        renew_timeout=30,
        on_refused="auto",
        on_change=None,
        is_refusal=None,
        clock=None,
    )
    return Records(settings, key)


CALLS = {
    "load": lambda one: one.load(),
    "save": lambda one: one.save(TOKENS, None),
    "forget": lambda one: one.forget(None),
    "acquire_lease": lambda one: one.acquire_lease("holder", 1.0),
    "release_lease": lambda one: one.release_lease("holder"),
}


# The text


def test_format():
    """A record is @wix/sdk's token JSON with the format's number and the client id in front, in ASCII."""
    assert render(TOKENS, CLIENT_ID) == (
        f'{{"format":1,"clientId":"{CLIENT_ID}",'
        '"accessToken":{"value":"OauthNG.JWS.a.b.c","expiresAt":1795399894},'
        '"refreshToken":{"value":"JWS.a.b.c","role":"visitor"}}'
    )
    assert Tokens.from_json(render(TOKENS, CLIENT_ID)) == TOKENS


@given(
    st.builds(
        Tokens,
        st.builds(AccessToken, st.text(st.characters(min_codepoint=33, max_codepoint=126)), st.integers(0, 10**11 - 1)),
        st.builds(
            RefreshToken, st.text(st.characters(min_codepoint=33, max_codepoint=126)), st.sampled_from(TokenRole)
        ),
    )
)
def test_round_trip(tokens):
    """What is rendered is parsed."""
    assert render(tokens, CLIENT_ID).isascii()
    assert parse(render(tokens, CLIENT_ID), CLIENT_ID) == tokens


GOOD = json.loads(render(TOKENS, CLIENT_ID))
WRONG = {
    "nothing": ("", "no JSON"),
    "half": (render(TOKENS, CLIENT_ID)[:-1], "no JSON"),
    "deep": ("[" * 100_000, "no JSON"),
    "a list": ("[]", "not one of wixvisitor's"),
    "null": ("null", "not one of wixvisitor's"),
    "tokens of @wix/sdk": (TOKENS.to_json(), "not one of wixvisitor's"),
    "a later format": (json.dumps(GOOD | {"format": 2}), "format 2"),
    "a long format": (json.dumps(GOOD | {"format": SECRET * 9}), "format"),
    "another client": (json.dumps(GOOD | {"clientId": "other"}), "another client ID"),
    "no client": (json.dumps({"format": 1}), "another client ID"),
    "no tokens": (json.dumps({"format": 1, "clientId": CLIENT_ID}), "damaged"),
    "an odd expiry": (json.dumps(GOOD | {"accessToken": {"value": SECRET, "expiresAt": "soon"}}), "expiresAt"),
    "an odd role": (json.dumps(GOOD | {"refreshToken": {"value": SECRET, "role": SECRET}}), r"refreshToken\.role"),
}


@pytest.mark.parametrize("name", WRONG)
def test_wrong_records(name):
    """Anything else is a StorageError that says what is wrong, without the text."""
    text, reason = WRONG[name]
    with pytest.raises(StorageError, match=reason) as caught:
        parse(text, CLIENT_ID)
    assert "classified" not in str(caught.value)
    assert caught.value.__cause__ is None


@pytest.mark.parametrize("text", ["two words", "a\r\nX-Injected: 1", "é", "\x00"])
@pytest.mark.parametrize("half", ["accessToken", "refreshToken"])
def test_a_record_that_no_header_could_carry(text, half):
    """A stored token with characters that no token has is a damaged record, not an error of the HTTP client."""
    with pytest.raises(StorageError, match="damaged"):
        parse(json.dumps(GOOD | {half: GOOD[half] | {"value": text}}), CLIENT_ID)


@given(st.text() | st.recursive(st.none() | st.integers() | st.text(), st.lists).map(json.dumps))
def test_any_record(text):
    """Any text is a StorageError if it is no record."""
    with pytest.raises(StorageError, match=r"it was left as it is|this version reads 1"):
        parse(text, CLIENT_ID)


# The calls


async def test_load_and_save():
    """What was saved is loaded, with the version that the store gave it."""
    storage = MemoryStorage()
    one = records(storage)
    assert await one.load() is None
    version = await one.save(TOKENS, None)
    assert await one.load() == Stored(TOKENS, version)
    await one.forget(None)
    gone = await one.load()
    assert gone is not None
    assert gone.tokens == EMPTY_TOKENS
    assert gone.lineage is not None


async def test_who_is_not_there_is_not_forgotten():
    """Forgetting a visitor who never was leaves nothing behind."""
    storage = MemoryStorage()
    await records(storage).forget(None)
    assert await storage.load(f"{CLIENT_ID}:default") is None


@pytest.mark.parametrize(
    "text",
    ["", "{", "[]", '{"seeds": 1}', '{"seeds": {"a": 1}}', '["seeds"]', '{"seeds": null}', '{"seeds": [1, null]}'],
)
async def test_a_damaged_list_of_seeds(text):
    """What is no list of seeds is none."""
    storage = MemoryStorage()
    await storage.save(f"{CLIENT_ID}:default", text)
    one = records(storage)
    await one.version()
    assert one.seeds == ()


async def test_sites_never_mix():
    """The key in the store is scoped by the client id."""
    storage = MemoryStorage()
    await records(storage).save(TOKENS, None)
    assert records(storage, OTHER_CLIENT_ID).scoped_key == f"{OTHER_CLIENT_ID}:default"
    assert await records(storage, OTHER_CLIENT_ID).load() is None
    assert await records(storage, key="other").load() is None
    assert await storage.load(f"{CLIENT_ID}:default") is not None


async def test_a_record_of_another_site():
    """A record that says it belongs to another client id is refused, and stays."""
    storage = MemoryStorage()
    await storage.save(f"{CLIENT_ID}:default", render(TOKENS, OTHER_CLIENT_ID))
    with pytest.raises(StorageError, match="another client ID"):
        await records(storage).load()
    assert await storage.load(f"{CLIENT_ID}:default") is not None


async def test_conditions():
    """A version, its absence, and not having read are what ``save`` expects."""
    one = records(MemoryStorage())
    first = await one.save(TOKENS, None)
    with pytest.raises(VersionConflict):
        await one.save(TOKENS, None)
    second = await one.save(TOKENS, first)
    with pytest.raises(VersionConflict):
        await one.save(TOKENS, first)
    assert await one.save(TOKENS, Unread.UNREAD) not in (first, second)


async def test_the_least_storage():
    """A store without versions is given no condition, and its texts are records."""
    storage = Least()
    one = records(storage)
    assert await one.save(TOKENS, None) is None
    assert await one.save(TOKENS, "whatever") is None
    assert await one.load() == Stored(TOKENS, None)
    assert await one.acquire_lease("a", 60) == 0.0
    assert await one.acquire_lease("b", 60) == 0.0
    await one.release_lease("a")
    await one.forget(None)
    assert await one.load() is None


async def test_leases():
    """A store's lease is the visitor's."""
    storage = MemoryStorage()
    one = records(storage)
    assert await one.acquire_lease("a", 60) == 0.0
    assert await one.acquire_lease("b", 60) > 0
    assert await storage.acquire_lease(one.scoped_key, "b", 60) > 0
    await one.release_lease("a")
    assert await one.acquire_lease("b", 60) == 0.0


@pytest.mark.parametrize("loaded", [b"bytes", 1, {"value": SECRET}, [], False])
async def test_odd_loads(loaded):
    """A store that returns something else is told what was expected."""
    with pytest.raises(StorageError, match="expected a Record") as caught:
        await records(Least({f"{CLIENT_ID}:default": loaded})).load()
    assert "classified" not in str(caught.value)


async def test_a_record_object_of_a_plain_storage():
    """A Record without a version is as good as a text."""
    text = render(TOKENS, CLIENT_ID)
    assert await records(Least({f"{CLIENT_ID}:default": Record(text)})).load() == Stored(TOKENS, None)


# Failures

ERRORS = [OSError(5, "Input/output error"), RuntimeError("no connection"), TimeoutError(), KeyError("x"), ValueError()]


@pytest.mark.parametrize("call", CALLS)
@pytest.mark.parametrize("error", ERRORS, ids=lambda error: type(error).__name__)
async def test_failures(call, error):
    """Whatever a store raises is a StorageError to us."""
    with pytest.raises(StorageError, match="the store"):
        await CALLS[call](records(raising(error)))


async def test_failures_name_their_cause():
    """The text says what was tried, and the cause is there without frames that hold secrets."""
    error = OSError(5, "Input/output error")
    with pytest.raises(StorageError, match=r"could not save: OSError: .*Input/output error") as caught:
        await records(raising(error)).save(TOKENS, None)
    assert caught.value.__cause__ is error
    assert error.__traceback__ is None


SPEAKING = {
    "an error": RuntimeError(f"cannot store {SECRET}"),
    "a StorageError": StorageError(f"cannot store {SECRET}"),
    "a VersionConflict": VersionConflict(f"{SECRET} is not there"),
    "an error with a cause": RuntimeError("cannot store"),
    "a StorageError with a cause": StorageError("cannot store"),
}
SPEAKING["an error with a cause"].__cause__ = ValueError(f"bad value {SECRET}")
SPEAKING["a StorageError with a cause"].__cause__ = ValueError(f"bad value {SECRET}")


@pytest.mark.parametrize("call", CALLS)
@pytest.mark.parametrize("name", SPEAKING)
async def test_failures_hold_no_token(call, name):
    """A store that puts the value into its errors leaks it neither in a text nor in a printed traceback."""
    with pytest.raises(StorageError) as caught:
        await CALLS[call](records(raising(SPEAKING[name])))
    assert "classified" not in str(caught.value) + repr(caught.value)
    assert "classified" not in "".join(traceback.format_exception(caught.value))


async def test_what_is_saved_is_known_whatever_it_looks_like():
    """Tokens that do not look like Wix's are masked too where a save fails: it is known what was to be saved."""
    tokens = Tokens(AccessToken("plain-access", 1), RefreshToken("plain-refresh", TokenRole.VISITOR))
    text = f"cannot store {render(tokens, CLIENT_ID)}: plain-access and plain-refresh are too plain"
    for error in (RuntimeError(text), StorageError(text), VersionConflict(text), OSError(5, text)):
        with pytest.raises(StorageError) as caught:
            await records(raising(error)).save(tokens, None)
        printed = "".join(traceback.format_exception(caught.value))
        assert "plain-" not in printed
        assert "[token]" in printed


@pytest.mark.parametrize("call", CALLS)
async def test_storage_errors_stay_what_they_are(call):
    """A StorageError keeps its text, and a conflict is a conflict."""
    with pytest.raises(StorageError, match=r"^the disk is full$") as caught:
        await CALLS[call](records(raising(StorageError("the disk is full"))))
    assert type(caught.value) is StorageError
    with pytest.raises(VersionConflict, match="changed"):
        await CALLS[call](records(raising(VersionConflict("changed"))))


@pytest.mark.parametrize("call", CALLS)
async def test_a_store_that_hangs(call, monkeypatch):
    """A call that does not end is given up, with a StorageError that says so."""
    monkeypatch.setattr("wixvisitor._renewal.records._TIMEOUT", 0.01)
    with anyio.fail_after(5), pytest.raises(StorageError, match=r"within 0\.01 s"):
        await CALLS[call](records(hanging()))


@pytest.mark.parametrize("call", CALLS)
async def test_cancellation_is_no_failure(call):
    """A cancelled caller is cancelled, and no StorageError hides that."""
    with anyio.move_on_after(0.01) as scope:
        await CALLS[call](records(hanging()))
    assert scope.cancelled_caught


def test_reprs():
    """Neither what is stored nor the record shows a token."""
    stored = Stored(Tokens(AccessToken(SECRET, 1), RefreshToken(SECRET, TokenRole.MEMBER)), "1")
    assert "classified" not in repr(stored) + repr(Record(render(stored.tokens, CLIENT_ID), "1"))
