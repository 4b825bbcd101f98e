"""Every rule about using, renewing and replacing."""

from __future__ import annotations

import base64
import json
import math

import attrs
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.constants import LIFETIME
from wixvisitor import (
    EMPTY_TOKENS,
    AccessToken,
    ConfigurationError,
    RefreshToken,
    SessionExpired,
    TokenRequestError,
    TokenRole,
    Tokens,
)
from wixvisitor._renewal.decision import (
    MAX_COOLDOWN,
    MAX_RETRY_AFTER,
    MIN_COOLDOWN,
    Action,
    Cooldown,
    Need,
    OnRefused,
    Rest,
    Snapshot,
    State,
    Unread,
    Unsaved,
    adopted,
    after_mint,
    after_renewal,
    decide,
    is_enough,
    may_replace,
    must_be_saved,
    next_cooldown,
    rest_of,
    role_of,
    snapshot_of,
    state_of,
)

NOW = 1_795_000_000.0
EXPIRES = int(NOW) + LIFETIME
RENEW_AT = EXPIRES - 900.0

VISITOR = Tokens(AccessToken("access", EXPIRES), RefreshToken("refresh", TokenRole.VISITOR))
NO_REFRESH = Tokens(AccessToken("access", EXPIRES), EMPTY_TOKENS.refresh_token)
NO_ACCESS = Tokens(EMPTY_TOKENS.access_token, VISITOR.refresh_token)

FAILED = TokenRequestError("no answer")
EXPIRED = SessionExpired("refused", role=TokenRole.MEMBER)
WRONG = ConfigurationError("client id")


def jwt(iat: int = int(NOW), exp: int = EXPIRES, **instance: str) -> str:
    data = {"data": json.dumps({"instance": instance}), "iat": iat, "exp": exp}
    return f"OauthNG.JWS.aa.{base64.urlsafe_b64encode(json.dumps(data).encode()).decode().rstrip('=')}.cc"


def held(tokens: Tokens = VISITOR, **changes: bool) -> Snapshot:
    return Snapshot(tokens, RENEW_AT, "1", **changes)


def pause(cause: Exception | None = FAILED) -> Cooldown:
    return Cooldown(NOW - 1, EXPIRES + 1_000.0, 1, cause)


OVER = Cooldown(NOW - 10, NOW - 5, 1, FAILED)
FRESH, AGEING, ENDED = NOW, RENEW_AT + 1, EXPIRES + 1.0

DECISIONS = {
    "nothing was read": (None, NOW, None, Action.LOAD),
    "nothing was read, in a pause": (None, NOW, pause(), Action.LOAD),
    "fresh": (held(), FRESH, None, Action.USE),
    "fresh to the last moment": (held(), RENEW_AT - 0.001, None, Action.USE),
    "fresh in a pause": (held(), FRESH, pause(), Action.USE),
    "fresh in an expired session's pause": (held(), FRESH, pause(EXPIRED), Action.USE),
    "ageing from its first moment": (held(), RENEW_AT, None, Action.USE_AND_RENEW),
    "ageing": (held(), AGEING, None, Action.USE_AND_RENEW),
    "ageing in a pause": (held(), AGEING, pause(), Action.USE),
    "ageing in a background pause": (held(), AGEING, pause(None), Action.USE),
    "ageing after a pause": (held(), AGEING, OVER, Action.USE_AND_RENEW),
    "ageing without a refresh token": (held(NO_REFRESH), AGEING, None, Action.USE),
    "ended at its very second": (held(), float(EXPIRES), None, Action.RENEW),
    "ended": (held(), ENDED, None, Action.RENEW),
    "ended in a pause": (held(), ENDED, pause(), Action.FAIL),
    "ended, the session expired": (held(), ENDED, pause(EXPIRED), Action.FAIL),
    "ended, the client id is wrong": (held(), ENDED, pause(WRONG), Action.FAIL),
    "ended in a background pause": (held(), ENDED, pause(None), Action.RENEW),
    "ended after a pause": (held(), ENDED, OVER, Action.RENEW),
    "ended without a refresh token": (held(NO_REFRESH), ENDED, None, Action.RENEW),
    "no access token": (held(NO_ACCESS), NOW, None, Action.RENEW),
    "no access token, in a pause": (held(NO_ACCESS), NOW, pause(), Action.FAIL),
    "no tokens": (held(EMPTY_TOKENS), NOW, None, Action.RENEW),
    "unsaved": (held(unsaved=Unsaved()), FRESH, None, Action.SAVE),
    "unsaved in a pause": (held(unsaved=Unsaved()), FRESH, pause(), Action.SAVE),
    "unsaved and ended": (held(unsaved=Unsaved()), ENDED, None, Action.SAVE),
    "unsaved and rejected": (held(unsaved=Unsaved(), rejected=True), FRESH, None, Action.SAVE),
    "rejected": (held(rejected=True), FRESH, None, Action.RENEW),
    "rejected in a pause": (held(rejected=True), FRESH, pause(), Action.USE),
    "rejected in a background pause": (held(rejected=True), FRESH, pause(None), Action.RENEW),
    "rejected, the session expired": (held(rejected=True), FRESH, pause(EXPIRED), Action.FAIL),
    "rejected and ageing in a pause": (held(rejected=True), AGEING, pause(), Action.USE),
    "rejected and ended": (held(rejected=True), ENDED, None, Action.RENEW),
    "rejected and ended in a pause": (held(rejected=True), ENDED, pause(), Action.FAIL),
}


def decided(snapshot: Snapshot | None, now: float, waiting: Cooldown | None, need: Need = Need.TOKEN) -> Action:
    return decide(state_of(snapshot, now), need, rest_of(waiting, now))


@pytest.mark.parametrize("name", DECISIONS)
def test_who_needs_a_token(name):
    """What a caller that needs a token does next, for every combination of token, clock and cooldown."""
    snapshot, now, waiting, expected = DECISIONS[name]
    assert decided(snapshot, now, waiting) is expected


@pytest.mark.parametrize("name", [name for name, row in DECISIONS.items() if row[0] is not None])
def test_snapshot_agrees_with_the_table(name):
    """A snapshot that calls itself fresh is one that the table would use, in a cooldown or not."""
    snapshot, now, waiting, _ = DECISIONS[name]
    if now < snapshot.fresh_until:
        assert decided(snapshot, now, waiting) is Action.USE
    else:
        assert decided(snapshot, now, None) is not Action.USE or not snapshot.tokens.refresh_token.value


NEEDS = [need for need in Need if need is not Need.BACKGROUND]  # it is what USE_AND_RENEW starts


@pytest.mark.parametrize("rest", Rest)
@pytest.mark.parametrize("need", NEEDS)
@pytest.mark.parametrize("state", State)
def test_every_cell_of_the_table(state, need, rest):
    """What holds in every cell, whatever the state, the need, and why Wix or the store is left alone."""
    action = decide(state, need, rest)
    if action in (Action.USE, Action.USE_AND_RENEW) and need is not Need.LOADED:
        assert state in (State.FRESH, State.AGEING, State.REJECTED)  # rule 6, and the clock
        assert state is not State.REJECTED or (need is Need.TOKEN and rest in (Rest.FAILED, Rest.STORE))
    if action is Action.USE_AND_RENEW:
        assert (state, need) == (State.AGEING, Need.TOKEN)
        assert rest in (Rest.NONE, Rest.PASSING_ON)
    assert (action is Action.LOAD) == (state is State.UNREAD and need is not Need.ANOTHER)
    if state is State.UNSAVED:  # nothing else can be done before
        assert action is Action.SAVE or (action is Action.FAIL and rest is Rest.STORE)
    if action is Action.FAIL:
        assert rest in (Rest.FAILED, Rest.REFUSED, Rest.STORE)  # there is a cause to tell
    if action is Action.PASS_ON:
        assert need is Need.ANOTHER
    if need is Need.LOADED:  # asks Wix for nothing
        assert action in (Action.LOAD, Action.SAVE, Action.USE)
    if need is Need.FORCED:  # asks whatever was learnt
        assert action is decide(state, need)


def test_held():
    """A snapshot knows its access token and whether the clock has passed its end."""
    assert held().value == "access"
    assert held().unexpired(EXPIRES - 0.001)
    assert not held().unexpired(EXPIRES)
    assert not held(EMPTY_TOKENS).unexpired(-1.0)
    assert held().fresh_until == RENEW_AT
    for unusable in (held(unsaved=Unsaved()), held(rejected=True), held(NO_ACCESS)):
        assert unusable.fresh_until == -math.inf
    assert attrs.evolve(held(rejected=True), rejected=False).fresh_until == RENEW_AT
    assert "access" not in repr(held()).replace("access_token", "").replace("AccessToken", "")


# hold


@pytest.mark.parametrize(
    ("lifetime", "renew_before", "window"),
    [
        (14_400, 900.0, 900.0),
        (14_400, 0.0, 0.0),
        (14_400, 3_600.0, 3_600.0),
        (14_400, 10_000.0, 3_600.0),
        (60, 900.0, 15.0),
        (86_400, 900.0, 900.0),
    ],
)
def test_renewal_window(lifetime, renew_before, window):
    """A renewal starts ``renew_before`` ahead of the end, never more than a quarter of the lifetime."""
    assert snapshot_of(VISITOR, renew_before=renew_before, jitter=0, lifetime=lifetime).renew_at == EXPIRES - window


@pytest.mark.parametrize("jitter", [0.0, 0.5, 1.0])
def test_renewal_jitter(jitter):
    """Jitter makes the window up to five percent shorter, so that processes do not wake together."""
    snapshot = snapshot_of(VISITOR, renew_before=900.0, jitter=jitter, lifetime=LIFETIME)
    assert snapshot.renew_at == pytest.approx(EXPIRES - 900 * (1 - 0.05 * jitter))


def test_lifetime_of_resumed_tokens():
    """A resumed token's lifetime is read from it, else four hours are assumed."""
    short = Tokens(AccessToken(jwt(exp=int(NOW) + 400), int(NOW) + 400), VISITOR.refresh_token)
    assert snapshot_of(short, renew_before=900.0, jitter=0).renew_at == NOW + 300
    assert snapshot_of(VISITOR, renew_before=10_000.0, jitter=0).renew_at == EXPIRES - 3_600


def test_hold_keeps_what_it_is_given():
    """The version and whether the tokens are unsaved are kept."""
    snapshot = snapshot_of(VISITOR, renew_before=1, jitter=0, version=Unread.UNREAD, unsaved=Unsaved())
    assert (snapshot.tokens, snapshot.version, snapshot.rejected) == (VISITOR, Unread.UNREAD, False)
    assert snapshot.unsaved


# adopted


@pytest.mark.parametrize(
    ("stamp", "expected"),
    [(-5_000, -5_000), (0, 0), (60, 60), (61, 0), (14_400, 0), (99_999_999, 0)],
)
def test_adopted_stamp(stamp, expected):
    """An expiry stamp later than the token's own ``exp``, by more than a minute, is not believed."""
    tokens = Tokens(AccessToken(jwt(), EXPIRES + stamp), VISITOR.refresh_token)
    assert adopted(tokens) == Tokens(AccessToken(jwt(), EXPIRES + expected), VISITOR.refresh_token)


def test_adopted_opaque():
    """The stamp of a token that cannot be read is all there is."""
    assert adopted(VISITOR) is VISITOR
    assert adopted(EMPTY_TOKENS) is EMPTY_TOKENS


# after_mint, after_renewal, must_be_saved

NEW = AccessToken("new", EXPIRES + 9)


def test_after_mint():
    """A new visitor has a visitor's role; without a refresh token it is nobody's."""
    assert after_mint(NEW, "r") == Tokens(NEW, RefreshToken("r", TokenRole.VISITOR))
    assert after_mint(NEW, None) == after_mint(NEW, "") == Tokens(NEW, EMPTY_TOKENS.refresh_token)


@pytest.mark.parametrize("role", TokenRole)
@pytest.mark.parametrize(("answered", "kept"), [(None, "old"), ("", "old"), ("old", "old"), ("rotated", "rotated")])
def test_rotation(role, answered, kept):
    """A refresh token in the answer replaces the old one, an absent one keeps it, and the role stays."""
    old = Tokens(VISITOR.access_token, RefreshToken("old", role))
    new = after_renewal(old, NEW, answered)
    assert new == Tokens(NEW, RefreshToken(kept, role))
    assert must_be_saved(old, new) is (kept != "old")


def test_first_mint_must_be_saved():
    """A new visitor must be saved, a new access token alone need not be."""
    assert must_be_saved(EMPTY_TOKENS, VISITOR)
    assert not must_be_saved(VISITOR, attrs.evolve(VISITOR, access_token=NEW))


# role_of, may_replace


@pytest.mark.parametrize(
    ("tokens", "role"),
    [
        (EMPTY_TOKENS, TokenRole.NONE),
        (VISITOR, TokenRole.VISITOR),
        (attrs.evolve(VISITOR, refresh_token=RefreshToken("r", TokenRole.MEMBER)), TokenRole.MEMBER),
        (Tokens(EMPTY_TOKENS.access_token, RefreshToken("", TokenRole.MEMBER)), TokenRole.MEMBER),
        (NO_REFRESH, TokenRole.VISITOR),
        (Tokens(AccessToken(jwt(aid="a"), EXPIRES), EMPTY_TOKENS.refresh_token), TokenRole.VISITOR),
        (Tokens(AccessToken(jwt(aid="a", uid="u"), EXPIRES), EMPTY_TOKENS.refresh_token), TokenRole.MEMBER),
    ],
)
def test_role_of(tokens, role):
    """Whose tokens they are, also when only an access token is there."""
    assert role_of(tokens) is role


def test_may_replace():
    """``auto`` replaces a visitor and never a member; nobody is always replaced."""
    allowed = {(role, policy) for role in TokenRole for policy in OnRefused if may_replace(role, policy)}
    assert allowed == {
        (TokenRole.NONE, OnRefused.AUTO),
        (TokenRole.NONE, OnRefused.NEW_VISITOR),
        (TokenRole.NONE, OnRefused.RAISE),
        (TokenRole.VISITOR, OnRefused.AUTO),
        (TokenRole.VISITOR, OnRefused.NEW_VISITOR),
        (TokenRole.MEMBER, OnRefused.NEW_VISITOR),
    }


def test_needs():
    """Only a caller that waits for a token may mint, and no visitor is replaced in the background or by loading."""
    assert [need for need in Need if need.may_mint] == [Need.TOKEN]
    assert [need for need in Need if not need.may_replace] == [Need.LOADED, Need.BACKGROUND]


ENOUGH = {
    "fresh": (held(), None, Need.TOKEN, FRESH, True),
    "fresh, in the background": (held(), None, Need.BACKGROUND, FRESH, True),
    "ageing": (held(), None, Need.TOKEN, AGEING, True),
    "ageing, in the background": (held(), None, Need.BACKGROUND, AGEING, False),
    "ended": (held(), None, Need.TOKEN, ENDED, False),
    "forced": (held(), None, Need.FORCED, FRESH, False),
    "rejected": (held(), held(rejected=True), Need.ANOTHER, FRESH, False),
    "another than the rejected one": (held(), held(NO_ACCESS, rejected=True), Need.ANOTHER, FRESH, True),
}


@pytest.mark.parametrize("name", ENOUGH)
def test_what_is_enough(name):
    """Wix is not asked where the store has what the renewal is about."""
    found, ours, need, now, expected = ENOUGH[name]
    assert is_enough(found, ours, need, now) is expected


# next_cooldown


def seconds(one: Cooldown) -> float:
    return one.until - one.since


@pytest.mark.parametrize(
    ("failures", "longest"),
    [(0, 1.0), (1, 2.0), (2, 4.0), (3, 8.0), (4, 16.0), (5, 32.0), (6, 60.0), (7, 60.0), (10, 60.0), (10_000, 60.0)],
)
def test_pauses_double(failures, longest):
    """At most 1 s after the first failure, doubling to at most 60 s, half of it at least."""
    before = Cooldown(0.0, 1.0, failures, FAILED) if failures else None
    assert seconds(next_cooldown(before, NOW, 1.0, cause=FAILED, retry_after=None)) == pytest.approx(longest)
    assert seconds(next_cooldown(before, NOW, 0.0, cause=FAILED, retry_after=None)) == pytest.approx(longest / 2)
    assert next_cooldown(before, NOW, 0.0, cause=FAILED, retry_after=None).failures == failures + 1


@pytest.mark.parametrize(
    ("retry_after", "expected"), [(0.5, 0.5), (30.0, 30.0), (300.0, 300.0), (301.0, 300.0), (86_400.0, 300.0)]
)
def test_retry_after(retry_after, expected):
    """What Wix asks for is kept, up to five minutes, without jitter that would make it shorter."""
    for jitter in (0.0, 1.0):
        paused = next_cooldown(None, NOW, jitter, cause=FAILED, retry_after=retry_after)
        assert seconds(paused) == pytest.approx(expected)


def test_retry_after_zero():
    """``Retry-After: 0`` does not hammer: the usual pause counts."""
    assert seconds(next_cooldown(None, NOW, 0.0, cause=FAILED, retry_after=0.0)) == pytest.approx(0.5)


def test_pause_keeps_its_cause():
    """The cause is what callers are told; a background failure has none."""
    assert next_cooldown(None, NOW, 0.5, cause=EXPIRED, retry_after=None).cause is EXPIRED
    assert next_cooldown(pause(), NOW, 0.5, cause=None, retry_after=None).cause is None


@pytest.mark.parametrize(
    ("now", "active"), [(NOW - 0.001, False), (NOW, True), (NOW + 0.999, True), (NOW + 1.0, False), (0.0, False)]
)
def test_pause_ends(now, active):
    """A pause lasts from its beginning to its end; a clock that was set back ends it."""
    assert Cooldown(NOW, NOW + 1, 1, FAILED).active(now) is active


@given(
    st.none() | st.integers(1, 10**6),
    st.floats(0, 4e9),
    st.floats(0, 1),
    st.none() | st.floats(0, allow_infinity=False),
)
def test_any_pause_is_bounded(failures, now, jitter, retry_after):
    """No pause is longer than a minute, or than five if Wix asks for it, and each one begins now."""
    before = None if failures is None else Cooldown(now, now, failures, FAILED)
    after = next_cooldown(before, now, jitter, cause=FAILED, retry_after=retry_after)
    limit = MAX_RETRY_AFTER if retry_after else MAX_COOLDOWN
    assert after.since == now
    assert 0 <= seconds(after) <= limit + 1e-3
    if failures is None and not retry_after:
        assert seconds(after) <= MIN_COOLDOWN + 1e-3


@given(
    st.none() | st.builds(Snapshot, st.sampled_from([VISITOR, NO_REFRESH, NO_ACCESS, EMPTY_TOKENS]), st.floats(0, 4e9)),
    st.floats(0, 4e9),
    st.none() | st.sampled_from([pause(), pause(None), pause(EXPIRED), OVER]),
    st.booleans(),
    st.booleans(),
)
def test_decisions_are_safe(snapshot, now, waiting, unsaved, rejected):
    """A token is only used if the clock allows it, and failing is only told with a cause."""
    if snapshot is not None:
        snapshot = attrs.evolve(snapshot, unsaved=Unsaved() if unsaved else None, rejected=rejected)
    step = decided(snapshot, now, waiting)
    if step in (Action.USE, Action.USE_AND_RENEW):
        assert snapshot.unexpired(now)
        assert not snapshot.unsaved
    if step is Action.USE_AND_RENEW:
        assert snapshot.tokens.refresh_token.value
    if step is Action.FAIL:
        assert waiting is not None
        assert waiting.cause is not None
        assert waiting.active(now)
