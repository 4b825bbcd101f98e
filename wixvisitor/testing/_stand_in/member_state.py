"""The members of a FakeWix as JSON, and back. Pure.

A state has them beside its visitors, as ``"members": […]``; one of an earlier release has none. Which browsers are
logged in at the hosted pages is not kept, nor are links, codes, mail and orders.
"""

from typing import Any

from wixvisitor.testing._member import Member
from wixvisitor.testing._members import Members
from wixvisitor.testing._stand_in.damage import checked, damages_reported, number_of, text_of
from wixvisitor.testing._visitors import Visitors

Json = dict[str, Any]


def dump_members(members: Members) -> list[Json]:
    """The members as JSON, with the hashes of their passwords. The caller holds the fake's lock."""
    return [
        {
            "id": member.id,
            "email": member.email,
            "profile": member.profile,
            "password": member.password,
            "isVerified": member.is_verified,
            "isApproved": member.is_approved,
            "mustReset": member.must_reset,
            "createdAt": member.created_at,
            "home": None if member.home is None else member.home.id,
        }
        for member in members.by_id.values()
    ]


def load_members(content: Json, members: Members, visitors: Visitors) -> None:
    """Fills empty ``members`` from a state, after its visitors. The caller holds the fake's lock.

    Raises:
        ValueError: The state is damaged. Then ``members`` may be filled in part.

    """
    with damages_reported():
        for item in content.get("members", []):
            member = Member(
                id=text_of(item, "id"),
                email=text_of(item, "email"),
                profile=checked(item["profile"], dict, "profile"),
                password=text_of(item, "password"),
                is_verified=item["isVerified"] is True,
                is_approved=item["isApproved"] is True,
                must_reset=item["mustReset"] is True,
                created_at=number_of(item, "createdAt"),
                home=None if item["home"] is None else visitors.by_id.get(text_of(item, "home")),
            )
            members.by_id[member.id] = member
