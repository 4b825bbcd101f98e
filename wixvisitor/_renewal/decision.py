"""Decides when a token is used, renewed or replaced: every rule that a visitor's identity depends on. Pure.

``TABLE`` and ``RESTING`` say what happens next. The identity rules behind them:

1. REFUSAL ONLY. Only Wix's refusal of this refresh token may cost a visitor. ``judge_refusal`` says what is one: a
   certain one names the token; a doubtful one costs nothing until it is confirmed (``doubts``). No network error,
   timeout, 404, 408, 425, 429, 5xx, HTML, empty or cut-off answer ever does, unless the refresh token's own ``exp`` is
   past, and then 400, 401 and 403 only (``has_run_out``). Before a token counts as refused the store is read again: if
   another process has moved on, its tokens win. [``Renewal._renew``]
2. POLICY. ``on_refused="auto"``: a refused visitor is replaced, a refused member raises ``SessionExpired``, so that
   no member is logged out silently. [``may_replace``]
3. NO MINT FROM AN API ANSWER. A 401 leads to one renewal and one replay, never to a mint. If the replay is rejected
   too, the 401 was not about the token, and 401s are passed through for ``PASS_THROUGH`` seconds. A pool learns the
   routes that always answer 401 (``routes``). [``Need.may_mint``, ``Rest.PASSING_ON``]
4. LATE LOSES. A late renewal never overwrites newer tokens. [``lane``, ``TokenState.publish``, ``Renewal._save``]
5. ROTATION. A refresh token in the answer replaces the old one, an absent one keeps it. [``after_renewal``]
6. SAVE FIRST. New tokens are saved before a caller gets them. If saving fails, the session goes on from memory and
   logs it. But if the refresh token changed, it raises and keeps the tokens, and the next use saves again.
   [``must_be_saved``]
7. GOES BACK. A store that goes back in time loses no visitor: the later tokens are kept, tried first and saved again.
   [``lineage``, ``Renewal._load``]
8. STANDSTILL. A token call during which the process stood still is no failure. [``_tasks.time_limits``]
"""

from __future__ import annotations

from collections.abc import Mapping
from enum import Enum, StrEnum, auto
from typing import Final

import attrs

from wixvisitor._renewal.lineage import Lineage
from wixvisitor._tokens import EMPTY_TOKENS, AccessToken, RefreshToken, TokenRole, Tokens
from wixvisitor._wire.claims import read_claims
from wixvisitor._wire.token_endpoint import DEFAULT_LIFETIME
from wixvisitor.errors import SessionExpired, WixVisitorError

PASS_THROUGH: Final = 60.0  # seconds in which 401s are passed on after a replay was rejected as well
MIN_COOLDOWN: Final = 1.0  # seconds, at most, after a first failure; each further failure doubles them …
MAX_COOLDOWN: Final = 60.0  # … up to here
MAX_RETRY_AFTER: Final = 300.0  # seconds; the longest Retry-After that is kept
_JITTER: Final = 0.05  # of the renewal window, so that processes sharing a visitor do not wake together
_MIN_LIFETIME: Final = 60  # seconds; a shorter lifetime counts as this
_STAMP_SLACK: Final = 60  # seconds by which an expiry stamp may exceed the token's own


class OnRefused(StrEnum):
    """What to do when Wix refuses the refresh token."""

    AUTO = "auto"
    NEW_VISITOR = "new_visitor"
    RAISE = "raise"


class Unread(Enum):
    """The version of a record that was not read. Saving over it is unconditional."""

    UNREAD = auto()


@attrs.frozen(eq=False, repr=False, match_args=False, weakref_slot=False)
class Unsaved:
    """Why tokens wait to be saved, and what the save has to write.

    Attributes:
        seeds: the seeds to write. None: the application gave these tokens at the start, as ``tokens=``, so they are a
            seed themselves; a record that had this seed before wins.
        is_renewal: whether they are the same visitor as before, renewed; else a new identity.
        lineage: the lineage of a new identity since the first attempt, so that a late save does not become the later
            record (rule 7). None: there was no attempt yet.
    """

    seeds: tuple[str, ...] | None = ()
    is_renewal: bool = False
    lineage: Lineage | None = None


@attrs.frozen(eq=False, repr=False, match_args=False, weakref_slot=False)
class Snapshot:
    """The tokens that a session holds, swapped in one assignment.

    Attributes:
        tokens: the visitor.
        renew_at: from here (epoch seconds by Wix's clock, as all here) a renewal starts in the background.
        version: the store's version of these tokens, None if the store has none.
        unsaved: why these tokens must be saved before they are used (rule 6); None if they need not be.
        rejected: an API answered 401 to this access token.
        lineage: of the record that was read or saved last (rule 7).
        grant: the number of grants to this session so far. A later grant may bring the same access token again, as
            mocks and caching proxies do.
    """

    tokens: Tokens
    renew_at: float
    version: str | Unread | None = None
    unsaved: Unsaved | None = None
    rejected: bool = False
    lineage: Lineage | None = None
    grant: int = 0
    fresh_until: float = attrs.field(init=False)

    def __attrs_post_init__(self) -> None:
        usable = self.tokens.access_token.value and not self.unsaved and not self.rejected
        object.__setattr__(self, "fresh_until", self.renew_at if usable else float("-inf"))

    @property
    def value(self) -> str:
        """The access token's text."""
        return self.tokens.access_token.value

    @property
    def was_forgotten(self) -> bool:
        """Whether the visitor was forgotten. The store may hold a new visitor by now."""
        return self.lineage is not None and self.tokens == EMPTY_TOKENS

    def is_after(self, other: Snapshot) -> bool:
        """Whether this is another token than the other one, or a later grant of the same text."""
        return self.value != other.value or self.grant > other.grant

    def unexpired(self, now: float) -> bool:
        """Whether the access token still works by the clock."""
        return bool(self.value) and now < self.tokens.access_token.expires_at


@attrs.frozen(eq=False, repr=False, match_args=False)
class Cooldown:
    """The time after a failure in which the token endpoint, or the store, is left alone.

    Attributes:
        since, until: epoch seconds. A clock that is set back before ``since`` ends the cooldown.
        failures: how many in a row.
        cause: what callers without a usable token get. None: they may ask; only background renewals wait.
    """

    since: float
    until: float
    failures: int
    cause: WixVisitorError | None

    def active(self, now: float) -> bool:
        """Whether the cooldown lasts at ``now``."""
        return self.since <= now < self.until


class State(Enum):
    """What a visitor's session has."""

    UNREAD = auto()  # the store was not read yet
    UNSAVED = auto()  # tokens that must be saved before anyone uses them (rule 6)
    FRESH = auto()
    AGEING = auto()  # the token works, and ends soon
    REJECTED = auto()  # an API answered 401 to it, although it works by the clock
    EXPIRED = auto()  # or there is no access token


class Need(Enum):
    """What a caller needs."""

    LOADED = auto()  # to know whose tokens these are
    TOKEN = auto()  # a token for a request
    BACKGROUND = auto()  # a renewal in the background: the old token still works
    ANOTHER = auto()  # another token after a 401
    FORCED = auto()  # a renewal, whatever the clock says: ``renew_token``

    @property
    def may_mint(self) -> bool:
        """Whether a visitor may be minted when there is nothing to renew."""
        return self is Need.TOKEN

    @property
    def may_replace(self) -> bool:
        """Whether a refusal may end in a new visitor now. In the background the old token goes on while it works."""
        return self in (Need.TOKEN, Need.ANOTHER, Need.FORCED)


class Rest(Enum):
    """Why Wix or the store is left alone at the moment."""

    NONE = auto()
    BACKGROUND = auto()  # a background renewal failed; callers who wait may ask
    FAILED = auto()  # asking failed
    REFUSED = auto()  # Wix has refused the refresh token, and the policy forbids replacing this role
    STORE = auto()  # the store contradicts itself
    PASSING_ON = auto()  # renewing does not help against these 401s (rule 3)


class Action(Enum):
    """What happens next."""

    USE = auto()  # the token that is there
    USE_AND_RENEW = auto()  # use it, and start a renewal in the background
    LOAD = auto()  # read the store
    SAVE = auto()  # save what is held
    RENEW = auto()  # renew, or mint if there is nothing to renew
    FAIL = auto()  # raise why Wix or the store is left alone
    PASS_ON = auto()  # give the 401 to the caller


_LOAD, _SAVE, _RENEW, _USE, _FAIL, _PASS_ON = (
    Action.LOAD, Action.SAVE, Action.RENEW, Action.USE, Action.FAIL, Action.PASS_ON,
)  # fmt: skip

# Every rule of what a caller gets. ``BACKGROUND`` needs nothing here: it is what USE_AND_RENEW starts.
TABLE: Final[Mapping[State, Mapping[Need, Action]]] = {
    State.UNREAD:   {Need.LOADED: _LOAD, Need.TOKEN: _LOAD,  Need.ANOTHER: _PASS_ON, Need.FORCED: _LOAD},
    State.UNSAVED:  {Need.LOADED: _SAVE, Need.TOKEN: _SAVE,  Need.ANOTHER: _SAVE,    Need.FORCED: _SAVE},
    State.FRESH:    {Need.LOADED: _USE,  Need.TOKEN: _USE,   Need.ANOTHER: _USE,     Need.FORCED: _RENEW},
    State.AGEING:   {Need.LOADED: _USE,  Need.TOKEN: Action.USE_AND_RENEW,
                                                             Need.ANOTHER: _USE,     Need.FORCED: _RENEW},
    State.REJECTED: {Need.LOADED: _USE,  Need.TOKEN: _RENEW, Need.ANOTHER: _RENEW,   Need.FORCED: _RENEW},
    State.EXPIRED:  {Need.LOADED: _USE,  Need.TOKEN: _RENEW, Need.ANOTHER: _RENEW,   Need.FORCED: _RENEW},
}  # fmt: skip

# What is different while Wix or the store is left alone. ``renew_token`` asks all the same.
RESTING: Final[Mapping[tuple[State, Need], Mapping[Rest, Action]]] = {
    (State.UNSAVED, Need.TOKEN): {Rest.STORE: _FAIL},
    (State.AGEING, Need.TOKEN): {Rest.BACKGROUND: _USE, Rest.FAILED: _USE, Rest.REFUSED: _USE, Rest.STORE: _USE},
    (State.REJECTED, Need.TOKEN): {Rest.FAILED: _USE, Rest.STORE: _USE, Rest.REFUSED: _FAIL},
    (State.EXPIRED, Need.TOKEN): {Rest.FAILED: _FAIL, Rest.STORE: _FAIL, Rest.REFUSED: _FAIL},
    (State.REJECTED, Need.ANOTHER): {Rest.FAILED: _PASS_ON, Rest.STORE: _PASS_ON, Rest.REFUSED: _FAIL,
                                     Rest.PASSING_ON: _PASS_ON},
    (State.EXPIRED, Need.ANOTHER): {Rest.FAILED: _PASS_ON, Rest.STORE: _PASS_ON, Rest.REFUSED: _FAIL,
                                    Rest.PASSING_ON: _PASS_ON},
}  # fmt: skip


def decide(state: State, need: Need, rest: Rest = Rest.NONE) -> Action:
    """Returns what happens next: the table's answer, or what is different while Wix or the store is left alone."""
    return RESTING.get((state, need), {}).get(rest) or TABLE[state][need]


def state_of(held: Snapshot | None, wix_now: float) -> State:
    """Returns what a session has.

    Args:
        held: the snapshot, None before the store was read.
        wix_now: epoch seconds by Wix's clock, which tokens end by.
    """
    if held is None:
        return State.UNREAD
    if held.unsaved:
        return State.UNSAVED
    if not held.unexpired(wix_now):
        return State.EXPIRED
    if held.rejected:
        return State.REJECTED
    if wix_now < held.renew_at or not held.tokens.refresh_token.value:
        return State.FRESH
    return State.AGEING


def rest_of(cooldown: Cooldown | None, now: float) -> Rest:
    """Returns why Wix or the store is left alone at ``now`` (epoch seconds by the machine's clock)."""
    if cooldown is None or not cooldown.active(now):
        return Rest.NONE
    if cooldown.cause is None:
        return Rest.BACKGROUND
    if cooldown.cause._backs_off:
        return Rest.STORE
    return Rest.REFUSED if isinstance(cooldown.cause, SessionExpired) else Rest.FAILED


def is_enough(found: Snapshot, held: Snapshot | None, need: Need, wix_now: float) -> bool:
    """Returns whether the store had what a renewal is about, so that Wix need not be asked.

    Args:
        found: the later of what the store holds and what is held.
        held: what the session held when the renewal began.
        need: what the renewal is for.
        wix_now: epoch seconds by Wix's clock.
    """
    is_rejected = held is not None and held.rejected and found.value == held.value
    if need is Need.FORCED or is_rejected or not found.unexpired(wix_now):
        return False
    return wix_now < found.renew_at or need is not Need.BACKGROUND


def snapshot_of(
    tokens: Tokens,
    *,
    renew_before: float,
    jitter: float,
    lifetime: float | None = None,
    version: str | Unread | None = None,
    unsaved: Unsaved | None = None,
    lineage: Lineage | None = None,
) -> Snapshot:
    """Returns the snapshot of these tokens.

    Args:
        tokens: the visitor.
        renew_before: seconds before expiry; never more than a quarter of the token's lifetime counts.
        jitter: a number from 0 to 1, drawn once for these tokens.
        lifetime: seconds from issue to expiry as just granted; None: what the token itself says, else 4 hours.
        version: the store's version.
        unsaved: why they must be saved first, if they must.
        lineage: of the record that was read or saved last.
    """
    if lifetime is None:
        claims = read_claims(tokens.access_token.value)
        lifetime = claims.lifetime if claims else DEFAULT_LIFETIME
        if claims and tokens.access_token.expires_at > claims.expires_at + _STAMP_SLACK:
            # It works after its own exp, so its own lifetime is not true either. The answer that brought it may have
            # given it the shortest lifetime.
            lifetime = _MIN_LIFETIME
    window = min(renew_before, lifetime / 4)
    renew_at = tokens.access_token.expires_at - window * (1 - _JITTER * jitter)
    return Snapshot(tokens, renew_at, version, unsaved, lineage=lineage)


def adopted(tokens: Tokens) -> Tokens:
    """Returns tokens that Wix did not grant just now, with an expiry no later than the access token's own ``exp``.

    A cached token response stamped with "now + expires_in" claims hours that the token does not have.
    """
    access = tokens.access_token
    claims = read_claims(access.value)
    if claims is None or access.expires_at <= claims.expires_at + _STAMP_SLACK:
        return tokens
    return Tokens(AccessToken(access.value, claims.expires_at), tokens.refresh_token)


def after_mint(access: AccessToken, refresh_token: str | None) -> Tokens:
    """Returns a new visitor's tokens."""
    if not refresh_token:
        return Tokens(access, EMPTY_TOKENS.refresh_token)
    return Tokens(access, RefreshToken(refresh_token, TokenRole.VISITOR))


def after_renewal(old: Tokens, access: AccessToken, refresh_token: str | None) -> Tokens:
    """Returns the same visitor with a new access token (rule 5, ROTATION)."""
    if not refresh_token or refresh_token == old.refresh_token.value:
        return Tokens(access, old.refresh_token)
    return Tokens(access, RefreshToken(refresh_token, old.refresh_token.role))


def role_of(tokens: Tokens) -> TokenRole:
    """Returns the role of these tokens, also if there is only an access token."""
    if tokens.refresh_token.role is not TokenRole.NONE:
        return tokens.refresh_token.role
    if not tokens.access_token.value:
        return TokenRole.NONE
    claims = read_claims(tokens.access_token.value)
    return TokenRole.MEMBER if claims and claims.member_id else TokenRole.VISITOR


def is_older_copy(given: Tokens, known: Tokens) -> bool:
    """Returns whether ``known`` are later tokens of the same visitor, as far as both access tokens tell.

    A bot that gives the tokens it saved long ago at each call must not go back to them.
    """
    theirs, ours = read_claims(given.access_token.value), read_claims(known.access_token.value)
    if theirs is None or ours is None or theirs.visitor_id is None or theirs.visitor_id != ours.visitor_id:
        return False
    return role_of(given) is role_of(known) and theirs.issued_at < ours.issued_at


def may_replace(role: TokenRole, policy: OnRefused) -> bool:
    """Whether a session of this role may become a new visitor when it cannot be renewed (rule 2, POLICY)."""
    if role is TokenRole.NONE or policy is OnRefused.NEW_VISITOR:
        return True
    return policy is OnRefused.AUTO and role is not TokenRole.MEMBER


def must_be_saved(old: Tokens, new: Tokens) -> bool:
    """Whether losing ``new`` would lose the visitor (rule 6, SAVE FIRST)."""
    return old.refresh_token.value != new.refresh_token.value


def next_cooldown(
    cooldown: Cooldown | None, now: float, jitter: float, *, cause: WixVisitorError | None, retry_after: float | None
) -> Cooldown:
    """Returns the cooldown after one more failure: at most 1 s, doubling to at most 60 s, or Wix's ``Retry-After``."""
    failures = 1 if cooldown is None else cooldown.failures + 1
    longest = min(MAX_COOLDOWN, MIN_COOLDOWN * 2 ** min(failures - 1, 10))
    seconds = longest * (0.5 + 0.5 * jitter)
    if retry_after:
        seconds = min(retry_after, MAX_RETRY_AFTER)
    return Cooldown(now, now + seconds, failures, cause)


def extended(cooldown: Cooldown, now: float, retry_after: float | None) -> Cooldown:
    """Returns the cooldown, extended to the ``Retry-After`` that Wix has sent meanwhile."""
    until = now + min(retry_after or 0.0, MAX_RETRY_AFTER)
    return attrs.evolve(cooldown, until=max(cooldown.until, until))
