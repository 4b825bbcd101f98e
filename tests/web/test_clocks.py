"""Cookies that were written by a machine whose clock is wrong, or by a browser whose clock is."""

from __future__ import annotations

import json
from typing import Any

import pytest

from tests.constants import LIFETIME
from tests.web.conftest import COOKIES
from tests.web.shops import APPS
from wixvisitor import AccessToken, Tokens
from wixvisitor._web.visits import new_content
from wixvisitor.cookies import CookieContent

pytestmark = pytest.mark.anyio

HOUR = 3_600


@pytest.mark.parametrize("framework", APPS)
@pytest.mark.parametrize("form", ["sealed", "wixSession", "session", "wix-session"])
async def test_an_end_that_is_too_late(
    open_shop: Any, visitor: Tokens, client_id: str, framework: str, form: str
) -> None:
    """Tokens in a cookie end when they themselves say so: an ended one is renewed before the first call."""
    late = Tokens(
        AccessToken(visitor.access_token.value, visitor.access_token.expires_at + 9 * HOUR), visitor.refresh_token
    )
    written = COOKIES[form](secure=framework != "aiohttp").write(
        CookieContent(new_content().key, late), client_id, 0.0 + _now(visitor)
    )
    async with open_shop(framework, cookie=form) as town, town.browsers() as browser:
        for passed, renewals in ((0, 0), (LIFETIME + 1, 1)):
            town.fake.advance(passed)
            response = await browser.get("/cart", headers={"Cookie": written.partition(";")[0]})
            assert json.loads(response.text)["status"] == 404
            assert len(town.fake.token_calls("refresh_token")) == renewals
        assert {call.status for call in town.fake.api_calls()} == {404}
        assert town.visitors == 1


def _now(visitor: Tokens) -> float:
    return float(visitor.access_token.expires_at - LIFETIME)
