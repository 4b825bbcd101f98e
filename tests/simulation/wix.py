"""Wix, as the simulation has it: who it knows is the stand-in's business, how it misbehaves is the seed's.

What it knows is the truth that the invariants are checked against: who a token belongs to, and who was refused.
"""

from __future__ import annotations

import json
import random
from collections import defaultdict
from email.utils import formatdate
from typing import Any

import attrs

from wixvisitor._wire.token_endpoint import TOKEN_PATH
from wixvisitor.testing._refusals import Refused
from wixvisitor.testing._settings import Settings
from wixvisitor.testing._visitors import IssuedToken, TokenResponse, Visitor, Visitors

from .pages import CART_PATH, REDIRECT_PATH, Pages

CLIENT_ID = "5e9c1d0a-7c1e-4a52-9d5e-1f2a3b4c5d6e"
EPOCH = 1_800_000_000.0

Identity = tuple[str, str | None]
"""A visitor's id, and a member's if somebody logged in."""


@attrs.frozen
class Answer:
    """What Wix sends."""

    status: int
    body: bytes
    headers: dict[str, str] = attrs.field(factory=dict)


@attrs.define(kw_only=True, eq=False)
class Way:
    """How one call fares.

    Attributes:
        there: seconds until Wix sees it.
        back: seconds until the answer is here.
        arrives: whether Wix sees it at all.
        returns: whether its answer comes back; else the connection breaks.
        instead: what is answered without doing anything.
        seen_at: when Wix did what was asked.
    """

    there: float
    back: float
    arrives: bool = True
    returns: bool = True
    instead: Answer | None = None
    seen_at: float = 0.0


@attrs.define(kw_only=True, eq=False)
class Moods:
    """How likely each trouble is, 0 to 1, and how slow Wix is.

    Attributes:
        site: what every token call is answered; None for no such trouble.
        stalls: whether no token call is answered at all.
    """

    drops: float = 0.0
    errors: float = 0.0
    turns_away: float = 0.0
    hangs: float = 0.0
    slowness: float = 0.3
    site: Answer | None = None
    stalls: bool = False


@attrs.frozen(eq=False)
class Grant:
    """One answer of the token endpoint: which in the order of all, whose, with which refresh token."""

    serial: int
    identity: Identity
    refresh_token: str


class WixModel:
    """Wix.

    Attributes:
        moods: changed as the world goes on.
        grants: by access token.
        refresh_serials: when each refresh token was first handed out, in the order of grants.
        refused: the refresh tokens that were refused to somebody.
        carts: whose cart each thing was put into, as often as it was.
        poisoned: visitors for whose refresh tokens there is always this answer.
        poisons_next: what the next visitor that is made is poisoned with.
        doubts: what renewals are answered instead, None for what is true.
        doubts_mints: whether mints, and logins, are answered so as well.
        pages: its pages for browsers.
        secrets: the codes and verifiers of logins.
    """

    def __init__(self, chance: random.Random, now: Any, *, settings: Settings, omits: bool = False) -> None:
        self.moods = Moods()
        self.grants: dict[str, Grant] = {}
        self.refresh_serials: dict[str, int] = {}
        self.refused: set[str] = set()
        self.carts: dict[int, list[Identity]] = defaultdict(list)
        self.poisoned: dict[str, Answer] = {}
        self.poisons_next: Answer | None = None
        self.doubts: Answer | None = None
        self.doubts_mints = False
        self._members: dict[str | None, int] = {}
        self.secrets: set[str] = set()
        self._omits = omits
        self._random = chance
        self._visitors = Visitors(settings=settings, server_time=lambda: EPOCH + now() + settings.clock_skew)
        self._server_time = self._visitors.server_time
        self.pages = Pages(settings, self._visitors, self._server_time)

    @property
    def lifetime(self) -> float:
        """Seconds that an access token lives."""
        return self._visitors.settings.access_token_lifetime

    def name(self, identity: Identity | None) -> str:
        """A short name for whoever this is, numbered in the order of their coming."""
        if identity is None:
            return "nobody"
        who = "visitor" if identity[1] is None else f"member {self._members[identity[1]]} of"
        return f"{who} {list(self._visitors.by_id).index(identity[0]) + 1}"

    def identity(self, access_token: str) -> Identity | None:
        """Whose access token this is."""
        grant = self.grants.get(access_token)
        return None if grant is None else grant.identity

    def whose(self, refresh_token: str) -> Identity:
        """Whose refresh token this is."""
        return _identity(self._visitors.refresh_tokens[refresh_token])

    def log_in(self) -> TokenResponse:
        """A member's tokens, as the login pages hand them out."""
        visitor = self._visitors.create(CLIENT_ID)
        return self._granted(visitor, self._visitors.issue(visitor, f"member-{len(self.grants)}"))

    def revoke(self, identity: Identity, *, access_only: bool) -> None:
        """Refuses whoever this is from now on; with ``access_only`` just the access tokens that there are."""
        for token in self._visitors.access_tokens.values():
            if _identity(token) == identity:
                token.revoked = True
        for token in () if access_only else self._visitors.refresh_tokens.values():
            if _identity(token) == identity:
                token.refusal = self._visitors.settings.refusal

    def ended_for(self, access_token: str) -> float:
        """Seconds since this access token ended, by Wix's clock."""
        token = self._visitors.access_tokens.get(access_token)
        return -1e9 if token is None else self._server_time() - token.expires_at

    def is_poisoned(self, access_token: str) -> bool:
        """Whether this visitor's token calls always fail."""
        identity = self.identity(access_token)
        return identity is not None and identity[0] in self.poisoned

    def poison(self, identity: Identity, answer: Answer) -> None:
        """Answers so whoever renews this visitor, for ever."""
        self.poisoned[identity[0]] = answer

    def way(self, *, is_token_call: bool, body: bytes = b"") -> Way:
        """Draws how a call fares."""
        chance, moods = self._random, self.moods
        way = Way(
            there=0.002 + chance.expovariate(2 / moods.slowness), back=0.002 + chance.expovariate(2 / moods.slowness)
        )
        if is_token_call and (fixed := self._fixed_way(way, body)) is not None:
            return fixed
        if chance.random() < moods.hangs:
            return attrs.evolve(way, there=0.05, back=10.0, returns=False, arrives=chance.random() < 0.5)
        if chance.random() < moods.drops:
            return attrs.evolve(way, arrives=chance.random() < 0.5, returns=False)
        if not is_token_call and chance.random() < moods.turns_away:
            return attrs.evolve(way, instead=NOT_ABOUT_THE_TOKEN)
        if chance.random() < moods.errors:
            return attrs.evolve(way, instead=chance.choice(_TROUBLES if is_token_call else _API_TROUBLES))
        return way

    def _fixed_way(self, way: Way, body: bytes) -> Way | None:
        """How this token call fares in any case: it is a poisoned visitor's, or the whole site is limited."""
        sent = json.loads(body).get("refreshToken", "")
        if self.doubts is not None and (sent or self.doubts_mints):
            return attrs.evolve(way, instead=self.doubts)
        token = self._visitors.refresh_tokens.get(sent) if self.poisoned else None
        poison = self.poisoned.get(token.visitor.id) if token is not None else None
        if poison or self.moods.site:
            return attrs.evolve(way, instead=poison or self.moods.site)
        return attrs.evolve(way, there=0.05, back=60.0, returns=False, arrives=False) if self.moods.stalls else None

    def serve(self, path: str, body: bytes, authorization: str | None) -> Answer:
        """Does what is asked, at once."""
        try:
            if path == TOKEN_PATH:
                return self._json(200, self._tokens(json.loads(body)))
            token = self._visitors.identify(authorization)
            if path == REDIRECT_PATH:
                return self._json(200, self.pages.redirect(token, body))
        except Refused as refused:
            return self._json(refused.status, refused.body)
        if body:
            self.carts[json.loads(body)["thing"]].append(_identity(token))
        cart = {"cart": {"id": self.pages.cart_id(token.visitor)}} if path == CART_PATH else {}
        return self._json(200, {"visitor": token.visitor.id, **cart})

    def _tokens(self, fields: dict[str, str]) -> TokenResponse:
        if fields["grantType"] == "anonymous":
            visitor, tokens = self._visitors.mint(fields["clientId"])
            if self.poisons_next is not None:
                self.poisoned[visitor.id], self.poisons_next = self.poisons_next, None
        elif fields["grantType"] == "authorization_code":
            return self._granted(*self.pages.exchange(fields))
        else:
            try:
                visitor, tokens = self._visitors.renew(fields["refreshToken"], client_id=fields["clientId"])
            except Refused:
                self.refused.add(fields["refreshToken"])
                raise
        granted = self._granted(visitor, tokens)
        if self._omits and fields["grantType"] != "anonymous":
            granted.pop("refresh_token")
        return granted

    def _granted(self, visitor: Visitor, tokens: TokenResponse) -> TokenResponse:
        serial = len(self.grants) + 1
        member_id = self._visitors.access_tokens[tokens["access_token"]].member_id
        self._members.setdefault(member_id, len(self._members) + 1)
        self.grants[tokens["access_token"]] = Grant(serial, (visitor.id, member_id), tokens["refresh_token"])
        self.refresh_serials.setdefault(tokens["refresh_token"], serial)
        return tokens

    def _json(self, status: int, content: Any) -> Answer:
        date = formatdate(self._server_time(), usegmt=True)
        return Answer(status, json.dumps(content).encode(), {"content-type": "application/json", "date": date})


def _identity(token: IssuedToken) -> Identity:
    return token.visitor.id, token.member_id


def _trouble(status: int, body: str, **headers: str) -> Answer:
    return Answer(status, body.encode(), {name.replace("_", "-"): value for name, value in headers.items()})


NOT_ABOUT_THE_TOKEN = _trouble(401, '{"message": "the blog is not installed"}')
_API_TROUBLES = (
    _trouble(429, '{"message": "slow down"}', retry_after="2"),
    _trouble(503, "<html>Service Unavailable</html>"),
    _trouble(500, '{"message": "boom"}'),
)
_TROUBLES = (
    *_API_TROUBLES,
    _trouble(429, "", retry_after="20"),
    _trouble(200, "<html>Welcome to our hotel's Wi-Fi</html>"),
    _trouble(200, "{}"),
    _trouble(404, "<html>Not Found</html>"),
    _trouble(408, ""),
    _trouble(403, "<html>Are you a robot?</html>"),
    _trouble(302, "", location="https://example.com/login"),
)
SITE_TROUBLES = (
    *(_trouble(429, "", retry_after=seconds) for seconds in ("3", "6", "20")),
    _trouble(429, '{"message": "slow down"}'),
    _trouble(503, "<html>Service Unavailable</html>"),
    _trouble(200, "<html>We will be right back</html>"),
)
"""What the token endpoint answers everybody while the site is limited, or out of order."""
POISONS = (
    _trouble(500, '{"message": "boom"}'),
    _trouble(429, "", retry_after="2"),
    _trouble(429, "", retry_after="30"),
)
"""What it answers for one visitor, for ever."""
DOUBTFUL = (
    _trouble(403, '{"message": "Forbidden"}'),
    _trouble(400, "{}"),
    _trouble(401, '{"error": "", "message": "Please try again"}'),
)
"""What a gateway, or Wix itself, may answer to a renewal, and what does not say that the token is refused."""
