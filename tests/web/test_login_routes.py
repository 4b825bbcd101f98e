"""The login's routes in each framework: a login, a logout, and handlers that need a member."""

from __future__ import annotations

import pytest

from tests.web.logins import FRAMEWORKS, open_town

pytestmark = pytest.mark.anyio


@pytest.fixture(params=FRAMEWORKS)
def framework(request: pytest.FixtureRequest) -> str:
    return str(request.param)


async def test_a_login_and_a_logout(framework):
    """A visitor with a cart logs in on Wix's page, is the member, and logs out here and at Wix."""
    async with open_town(framework) as town, town.browser() as browser:
        assert await browser.who() == "visitor1"
        before = dict(browser.client.cookies)
        page = await browser.begins()
        assert len(browser.logins) == 1
        back = await browser.get(town.wix.approve(page))
        assert (back.status_code, back.headers["location"]) == (303, "/account")
        assert browser.logins == []
        assert dict(browser.client.cookies) != before
        assert await browser.who() == "member1"
        assert (await browser.get("/account")).text == "member1"
        ((was_member, login),) = town.ended
        assert was_member
        assert login.previous.refresh_token.value == "JWS.visitor1"
        member = dict(browser.client.cookies)
        out = await browser.post("/auth/logout?next=/bye")
        assert out.status_code == 303
        assert out.headers["location"].startswith("https://wix.example/logout?to=")
        assert out.headers["location"].endswith("%2Fbye")
        assert dict(browser.client.cookies) != member
        assert await browser.who() == "visitor2"
        browser.client.cookies.clear()
        browser.client.cookies.update(member)
        assert not (await browser.who()).startswith("member")
