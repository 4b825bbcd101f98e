"""The visitors and carts of a FakeWix as JSON, and back. Pure.

The JSON is ``{"wixvisitor-fake": 1, "clock": {"fake", "real"}, "site": {…}, "visitors": […]}``. Times are in seconds
since the epoch. A cart holds its products as they were, so that it does not change when the products do.
"""

from collections import defaultdict
from typing import Any, Final, get_args

from wixvisitor.testing._settings import RefusalShape, RefusalStyle
from wixvisitor.testing._stand_in.cart_state import dump_cart, load_cart
from wixvisitor.testing._stand_in.damage import Damage, checked, damages_reported, number_of, text_of
from wixvisitor.testing._visitors import IssuedToken, Visitor, Visitors

Json = dict[str, Any]

FORMAT: Final = "wixvisitor-fake"
VERSION: Final = 1


def dump_state(visitors: Visitors, *, fake_time: float, real_time: float) -> Json:
    """The state as JSON. The caller holds the fake's lock."""
    access, refresh = _by_visitor(visitors.access_tokens), _by_visitor(visitors.refresh_tokens)
    return {
        FORMAT: VERSION,
        "clock": {"fake": fake_time, "real": real_time},
        "site": visitors.site,
        "visitors": [
            {
                **_dump_visitor(visitor),
                "accessTokens": [_dump_token(token) for token in access[visitor.id]],
                "refreshTokens": [_dump_token(token) for token in refresh[visitor.id]],
            }
            for visitor in visitors.by_id.values()
        ],
    }


def check_format(content: object) -> Json:
    """Returns the JSON of a state, whose fields are not checked yet.

    Raises:
        ValueError: It is something else, or the state of another version.

    """
    if not isinstance(content, dict) or FORMAT not in content:
        raise ValueError("it is not the state of a stand-in")
    if content[FORMAT] != VERSION:
        raise ValueError(f"it has version {content[FORMAT]!r:.20}, and this program reads {VERSION}")
    return content


def resumed_time(content: Json, *, real_time: float) -> float:
    """The time at which the fake's clock goes on: while the stand-in was stopped, time passed at real speed.

    Raises:
        ValueError: The state is damaged.

    """
    with damages_reported():
        clock = checked(content["clock"], dict, "clock")
        return number_of(clock, "fake") + max(0.0, real_time - number_of(clock, "real"))


def load_state(content: Json, visitors: Visitors) -> None:
    """Fills empty ``visitors``. The caller holds the fake's lock.

    Raises:
        ValueError: The state is damaged. Then ``visitors`` may be filled in part.

    """
    with damages_reported():
        visitors.site = {name: checked(value, str, name) for name, value in content["site"].items()}
        for item in content["visitors"]:
            visitor = _load_visitor(item)
            visitors.by_id[visitor.id] = visitor
            for table, name in ((visitors.access_tokens, "accessTokens"), (visitors.refresh_tokens, "refreshTokens")):
                for token in item[name]:
                    table[text_of(token, "value")] = _load_token(token, visitor)


def _dump_visitor(visitor: Visitor) -> Json:
    return {
        "id": visitor.id,
        "clientId": visitor.client_id,
        "memberId": visitor.member_id,
        "createdAt": visitor.created_at,
        "seenAt": visitor.seen_at,
        "cart": None if visitor.cart is None else dump_cart(visitor.cart),
        "reservations": visitor.reservations,
    }


def _load_visitor(item: Json) -> Visitor:
    return Visitor(
        id=text_of(item, "id"),
        client_id=text_of(item, "clientId"),
        member_id=None if item["memberId"] is None else text_of(item, "memberId"),
        cart=None if item["cart"] is None else load_cart(item["cart"]),
        reservations=checked(item.get("reservations", {}), dict, "reservations"),  # an earlier release has none
        created_at=number_of(item, "createdAt"),
        seen_at=number_of(item, "seenAt"),
    )


def _by_visitor(tokens: dict[str, IssuedToken]) -> defaultdict[str, list[IssuedToken]]:
    found: defaultdict[str, list[IssuedToken]] = defaultdict(list)
    for token in tokens.values():
        found[token.visitor.id].append(token)
    return found


def _dump_token(token: IssuedToken) -> Json:
    refusal = token.refusal
    return {
        "value": token.value,
        "memberId": token.member_id,
        "issuedAt": token.issued_at,
        "expiresAt": token.expires_at,
        "revoked": token.revoked,
        "refusal": None if refusal is None else {"shape": refusal.shape, "status": refusal.status},
    }


def _load_token(item: Json, visitor: Visitor) -> IssuedToken:
    refusal = item["refusal"]
    if refusal is not None and refusal["shape"] not in get_args(RefusalShape):
        raise Damage("shape is unknown")
    return IssuedToken(
        value=text_of(item, "value"),
        visitor=visitor,
        member_id=None if item["memberId"] is None else text_of(item, "memberId"),
        issued_at=int(number_of(item, "issuedAt")),
        expires_at=int(number_of(item, "expiresAt")),
        revoked=item["revoked"] is True,
        refusal=None if refusal is None else RefusalStyle(shape=refusal["shape"], status=int(refusal["status"])),
    )
