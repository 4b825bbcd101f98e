"""What becomes of a login with the real @wix/sdk and with wixvisitor."""

from __future__ import annotations

import anyio
import pytest

from wixvisitor import TokenRole

from .compare_logins import Row, end, run
from .guests import ours
from .login_situations import SITUATIONS
from .tables import pairs

pytestmark = pytest.mark.interop

VISITOR, MEMBER, NONE = TokenRole.VISITOR, TokenRole.MEMBER, TokenRole.NONE


def pair(rows: list[Row], situation: str) -> tuple[Row, Row]:
    """The SDK's row and ours."""
    sdk, mine = (row for row in rows if row.situation == situation)
    return sdk, mine


def test_ours_always_ends_right(login_rows: list[Row]) -> None:
    """Whatever fails, our shopper is who it has to be, with the one visitor and all mugs, or logged out."""
    for row in login_rows:
        if row.client == "wixvisitor":
            assert row.is_right, row
            assert row.stays is not False, row
            assert row.visitors_after == 1, row
            assert row.stays is None or row.mugs == row.mugs_added, row


def test_what_ends_alike(login_rows: list[Row]) -> None:
    """The SDK keeps the visitor, too, when a login fails in the usual ways; only few situations differ."""
    assert [sdk.situation for sdk, mine in pairs(login_rows) if end(sdk) != end(mine)] == [
        "the exchange of the code answers 200 without tokens",
        "a login begins, token expired, one 503 from the token endpoint",
        "a login ends while one call renews the token",
        "a login ends while 100 calls renew the token",
        "a member's token expired, one 503 from the token endpoint",
        "a logout, and Wix answers 503",
        "a logout while one call renews the token",
    ]


def test_an_answer_without_tokens(login_rows: list[Row]) -> None:
    """The SDK takes an answer without tokens for a login, and the next call makes a visitor; here it is an error."""
    sdk, mine = pair(login_rows, "the exchange of the code answers 200 without tokens")
    assert (end(sdk), sdk.told) == ((VISITOR, False, 2, 1), [])
    assert (end(mine), mine.told) == ((VISITOR, True, 1, 2), ["InvalidTokenResponse"])


def test_a_login_that_begins_in_a_hiccup(login_rows: list[Row]) -> None:
    """One failed renewal before the login gives the SDK's member another visitor's empty cart."""
    sdk, mine = pair(login_rows, "a login begins, token expired, one 503 from the token endpoint")
    assert (end(sdk), sdk.told) == ((MEMBER, False, 2, 1), [])
    assert (end(mine), mine.told) == ((MEMBER, True, 1, 2), [])


@pytest.mark.parametrize(("calls", "renewals"), [("one call renews", 1), ("100 calls renew", 100)])
def test_a_late_renewal(login_rows: list[Row], calls: str, renewals: int) -> None:
    """A renewal that ends after the login makes the SDK's member a visitor again; here the login stays."""
    sdk, mine = pair(login_rows, f"a login ends while {calls} the token")
    assert (sdk.after, sdk.stays, sdk.token_calls, sdk.told) == (VISITOR, True, renewals + 1, [])
    assert (mine.after, mine.stays, mine.token_calls, mine.told) == (MEMBER, True, 2, [])


def test_a_member_in_a_hiccup(login_rows: list[Row]) -> None:
    """One failed renewal logs the SDK's member out, without the cart, and nothing says so."""
    sdk, mine = pair(login_rows, "a member's token expired, one 503 from the token endpoint")
    assert (end(sdk), sdk.told) == ((VISITOR, False, 2, 1), [])
    assert (end(mine), mine.told) == ((MEMBER, True, 1, 2), [])


def test_a_logout_in_an_outage(login_rows: list[Row]) -> None:
    """If Wix cannot be asked, the SDK stays logged in; here the tokens are gone. Both tell."""
    sdk, mine = pair(login_rows, "a logout, and Wix answers 503")
    assert (sdk.after, sdk.told) == (MEMBER, ["Error: Service Unavailable"])
    assert (mine.after, mine.told) == (NONE, ["WixAPIError"])


def test_a_renewal_after_the_logout(login_rows: list[Row]) -> None:
    """A renewal that ends after the logout logs the SDK's member in again; here the logout stays."""
    sdk, mine = pair(login_rows, "a logout while one call renews the token")
    assert (sdk.after, sdk.told) == (MEMBER, [])
    assert (mine.after, mine.told) == (NONE, [])


def test_the_reason_in_an_outage(login_rows: list[Row]) -> None:
    """The SDK tells the shop's form that the email is wrong when Wix answers 503; here the reason is unknown."""
    sdk, mine = pair(login_rows, "the shop's form is sent, and Wix answers 503")
    assert (sdk.told, mine.told) == (["invalidEmail"], ["MemberLoginError: 503"])


def test_same_on_trio(login_rows: list[Row]) -> None:
    """Our half of the comparison does not depend on the event loop."""
    mine = [row for row in login_rows if row.client == "wixvisitor"]
    assert [anyio.run(run, situation, "wixvisitor", ours, backend="trio") for situation in SITUATIONS] == mine
