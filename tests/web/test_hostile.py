"""Hostile browsers: a fresh start and a clear line in the log, never a 500, never somebody else's visitor."""

from __future__ import annotations

import pytest

from tests.stores import TroubledStorage
from tests.web.conftest import COOKIES, KEY, OTHER_KEY
from tests.web.shops import FORMS, body_of
from wixvisitor.cookies import CookieContent, IdCookie

pytestmark = pytest.mark.anyio

FRAMEWORKS = ("starlette", "aiohttp")
LONG = 3_000  # aiohttp's server takes lines of 8,190 bytes, and refuses longer ones itself


def hostile(name: str, good: str) -> dict[str, bytes]:
    half = len(good) // 2
    return {
        "empty": b"",
        "all bytes": bytes(byte for byte in range(0x21, 0x100) if byte != 0x7F),
        "long": b"A" * LONG,
        "bad base64": good.rpartition(".")[0].encode() + b".!!!!",
        "cut off": good[:half].encode(),
        "turned around": good[::-1].encode(),
        "doubled": good.encode() * 2,
        "quotes": b'"' + good[:half].encode() + b'"',
        "nested JSON": b"%5B" * 900,
        "another version": b"9" + good[1:].encode(),
        "null": b"null",
        "percent": b"%FF%FE%00",
    }


@pytest.mark.parametrize("framework", FRAMEWORKS)
@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("kind", list(hostile("", "")))
async def test_a_hostile_cookie_is_a_fresh_start(open_shop, framework, form, kind):
    """Whatever is in the cookie: 200, a visitor of one's own, and a new cookie that works."""
    async with open_shop(framework, cookie=form) as town, town.browsers() as victim, town.browsers() as attacker:
        known = body_of(await victim.get("/cart"))
        name = town.cookie_name
        value = hostile(name, victim.cookies[name])[kind]
        answer = body_of(await attacker.get("/cart", headers=[(b"Cookie", name.encode() + b"=" + value)]))
        assert answer["who"] != known["who"]
        assert body_of(await attacker.get("/cart")) == answer
        assert body_of(await victim.get("/cart")) == known


@pytest.mark.parametrize("form", FORMS)
async def test_a_cookie_of_100_kilobytes(open_shop, form):
    """A huge cookie is not even opened."""
    async with open_shop("starlette", cookie=form) as town, town.browsers() as browser:
        header = {"Cookie": f"{town.cookie_name}={'A' * 100_000}"}
        assert body_of(await browser.get("/cart", headers=header))["status"] == 404


@pytest.mark.parametrize("framework", FRAMEWORKS)
@pytest.mark.parametrize("form", ["id", "sealed"])
async def test_a_cookie_of_other_keys(open_shop, framework, form, caplog, client_id):
    """A cookie of keys that are gone is a fresh start, and the log names the key, for whoever forgot to keep it."""
    caplog.set_level("INFO", logger="wixvisitor")
    async with open_shop(framework, cookie=form) as town, town.browsers() as browser:
        other = COOKIES[form](secure=framework != "aiohttp")
        other = type(other)([OTHER_KEY], secure=framework != "aiohttp")
        header = other.write(CookieContent("i" * 43), client_id, town.fake.now()).partition(";")[0]
        response = await browser.get("/cart", headers={"Cookie": header})
        assert body_of(response)["status"] == 404
        assert town.cookie_name in response.headers["Set-Cookie"]
        assert any("is sealed with the key" in record.getMessage() for record in caplog.records)


@pytest.mark.parametrize("form", ["id", "sealed"])
@pytest.mark.parametrize("content", ["[]", "{}", '{"id":"' + "i" * 43 + '","at":null}', "\x00"])
async def test_a_good_seal_around_a_broken_payload(open_shop, form, content):
    """What our own keys have sealed, but no version of ours wrote, is a fresh start too."""
    async with open_shop("starlette", cookie=form) as town, town.browsers() as browser:
        cookie = town.shop.cookie
        value = cookie._sealer.seal(content.encode(), (town.shop.pool._settings.client_id, town.cookie_name))
        first = body_of(await browser.get("/cart", headers={"Cookie": f"{town.cookie_name}={value}"}))
        assert body_of(await browser.get("/cart")) == first
        assert town.visitors == 1


async def test_a_replayed_id_of_another_site(open_shop, still):
    """An id of another site with the same keys is nobody here."""
    async with open_shop("starlette") as town, town.browsers() as browser:
        header = IdCookie([KEY]).write(CookieContent("i" * 43), "11111111-7c1e-4a52-9d5e-1f2a3b4c5d6e", still.now())
        await browser.get("/looked", headers={"Cookie": header.partition(";")[0]})
        storage = town.shop.pool._settings.storage
        assert await storage.load(f"{town.shop.pool._settings.client_id}:{'i' * 43}") is None
        response = await browser.get("/cart", headers={"Cookie": header.partition(";")[0]})
        assert "Set-Cookie" in response.headers
        assert await storage.load(f"{town.shop.pool._settings.client_id}:{'i' * 43}") is None


@pytest.mark.parametrize("framework", FRAMEWORKS)
@pytest.mark.parametrize("form", FORMS)
async def test_two_cookies_of_one_name(open_shop, framework, form, caplog):
    """Two different visitors in one request: one of them was planted, so it is neither, and the log says so."""
    async with open_shop(framework, cookie=form) as town, town.browsers() as anna, town.browsers() as mallory:
        name = town.cookie_name
        both = [body_of(await anna.get("/cart"))["who"], body_of(await mallory.get("/cart"))["who"]]
        header = f"{name}={mallory.cookies[name]}; {name}={anna.cookies[name]}"
        async with town.browsers(headers={"Cookie": header}) as victim:
            assert body_of(await victim.get("/cart"))["who"] not in both
        assert any("two different cookies" in record.getMessage() for record in caplog.records)


@pytest.mark.parametrize("form", FORMS)
async def test_the_same_cookie_twice(open_shop, form):
    """The same cookie twice, or beside junk of the same name, is that visitor."""
    async with open_shop("starlette", cookie=form) as town, town.browsers() as anna:
        name = town.cookie_name
        known = body_of(await anna.get("/cart"))
        pair = f"{name}={anna.cookies[name]}"
        for header in (f"{pair}; {pair}", f"{name}=junk; {pair}", f"{pair}; {name}=", f"a=b;;=; c; {pair}"):
            async with town.browsers(headers={"Cookie": header}) as browser:
                assert body_of(await browser.get("/cart")) == known


async def test_http2_sends_cookies_one_by_one(open_shop):
    """Several ``Cookie`` headers are one."""
    async with open_shop("starlette") as town, town.browsers() as anna:
        known = body_of(await anna.get("/cart"))
        name = town.cookie_name
        headers = [("Cookie", "a=b"), ("Cookie", f"{name}={anna.cookies[name]}")]
        async with town.browsers(headers=headers) as browser:
            assert body_of(await browser.get("/cart")) == known


async def test_junk_is_refused_before_the_storage_is_asked(open_shop):
    """A made-up id never reaches the storage."""
    storage = TroubledStorage()
    async with open_shop("starlette", storage=storage) as town, town.browsers() as browser:
        await browser.get("/looked", headers={"Cookie": f"{town.cookie_name}=made-up"})
        [loaded] = [call for call in storage.calls if call.name == "load"]
        assert "made-up" not in loaded.key


@pytest.mark.parametrize("form", FORMS)
async def test_no_secret_in_the_log(open_shop, form, caplog):
    """Whatever is logged about a cookie, it holds nothing of what was in it."""
    caplog.set_level("DEBUG", logger="wixvisitor")
    async with open_shop("starlette", cookie=form) as town, town.browsers() as browser:
        await browser.get("/cart")
        name = town.cookie_name
        good = browser.cookies[name]
        for junk in (good[:-3], good[20:], f"{good}x"):
            async with town.browsers(headers={"Cookie": f"{name}={junk}"}) as other:
                await other.get("/cart")
        text = "\n".join(record.getMessage() for record in caplog.records if record.name == "wixvisitor")
        assert "not taken" in text
        assert not any(good[start : start + 12] in text for start in range(20, len(good) - 12))
