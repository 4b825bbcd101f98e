"""What lets a stand-in run for weeks: its clock, its state as JSON and on disk, its bounds, its products."""

from __future__ import annotations

import copy
import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import attrs
import httpx
import pytest

from tests.constants import CART, CLIENT_ID, EPOCH
from wixvisitor.testing import FakeWix, Product
from wixvisitor.testing._stand_in.clock import Clock
from wixvisitor.testing._stand_in.member_state import dump_members, load_members
from wixvisitor.testing._stand_in.product_file import read_products
from wixvisitor.testing._stand_in.state import check_format, dump_state, load_state, resumed_time
from wixvisitor.testing._stand_in.state_file import StateFile
from wixvisitor.testing._stand_in.upkeep import tidy

pytestmark = pytest.mark.anyio


@attrs.define
class RealTime:
    """A real clock that a test moves: the time of day, and a counter that a suspend stops."""

    now: float = EPOCH
    ticks: float = 0.0

    def clock(self, **arguments: Any) -> Clock:
        return Clock(real=lambda: self.now, ticks=lambda: self.ticks, **arguments)

    def pass_by(self, seconds: float) -> None:
        self.now += seconds
        self.ticks += seconds


def test_a_clock_with_a_speed() -> None:
    """The clock goes on from where it is when its speed changes, and never back."""
    real = RealTime()
    clock = real.clock(speed=3600)
    real.pass_by(2)
    assert clock() == EPOCH + 7200
    clock.speed = 1
    real.pass_by(10)
    assert clock() == EPOCH + 7210
    clock.speed = 0
    real.pass_by(10)
    clock.advance(5)
    assert clock() == EPOCH + 7215
    clock.speed = 60
    real.now -= 3600  # the machine's clock is put right: nothing that is measured in ticks
    real.pass_by(1)
    assert clock() == EPOCH + 7275


def test_the_end_of_time() -> None:
    """A fast clock stops before dates have more than four digits in the year, so that answers can still be dated."""
    real = RealTime()
    clock = real.clock(speed=86_400)
    real.pass_by(365 * 86_400)
    fake = FakeWix(clock=clock)
    fake.mint_visitor(CLIENT_ID)
    assert fake.now() < 253_000_000_000


@pytest.mark.parametrize("speed", [-1, 86_401, float("nan"), float("inf")])
def test_no_speed(speed: float) -> None:
    """A speed is from 0 to a day in a second."""
    with pytest.raises(ValueError, match="speed"):
        Clock(speed=speed)


@pytest.fixture
def full() -> FakeWix:
    """A fake in which everything has happened that a state can hold."""
    fake = FakeWix(clock=lambda: EPOCH)
    first, second, _ = (fake.mint_visitor(CLIENT_ID) for _ in range(3))
    _, two, _ = fake.visitors
    member = fake.mint_member(CLIENT_ID, "member-1", visitor_id=two)
    items = [
        {
            "quantity": 2 + number,
            "catalogReference": {"appId": "215238eb-22a5-4c36-9e7b-e7c08025e04e", "catalogItemId": product.id},
        }
        for number, product in enumerate(fake.products[1:3])
    ]
    with httpx.Client(transport=_sync(fake), base_url="http://wix") as client:
        headers = {"authorization": first["access_token"]}
        client.post(f"{CART}/add-line-items", json={"catalogItems": items}, headers=headers)
        client.post(f"{CART}/add-coupon", json={"coupon": {"code": "SAVE10"}}, headers=headers)
        client.patch(CART, json={"cart": {"note": "ring twice"}}, headers=headers)
    fake.revoke_access_token(second["access_token"])
    fake.refuse_refresh_token(second["refresh_token"], shape="legacy", status=401)
    assert member["refresh_token"]
    fake.add_member("anna@example.com", "correct horse", profile={"firstName": "Anna"}).home = fake.visitors[two]
    fake.add_member("bea@example.com").must_reset = True
    return fake


def _sync(fake: FakeWix) -> httpx.BaseTransport:
    """A transport for code without an event loop."""
    import anyio

    class Transport(httpx.BaseTransport):
        def handle_request(self, request: httpx.Request) -> httpx.Response:
            async def call() -> httpx.Response:
                async with fake.client() as client:
                    return await client.request(
                        request.method, request.url.path, content=request.read(), headers=request.headers
                    )

            answer = anyio.run(call)
            return httpx.Response(answer.status_code, content=answer.content)

    return Transport()


def dumped(fake: FakeWix) -> dict[str, Any]:
    with fake._lock:
        state = dump_state(fake._visitors, fake_time=fake.now(), real_time=EPOCH)
        return json.loads(json.dumps({**state, "members": dump_members(fake._members)}))


def reloaded(state: dict[str, Any], **arguments: Any) -> FakeWix:
    fake = FakeWix(clock=lambda: EPOCH, **arguments)
    load_state(check_format(state), fake._visitors)
    load_members(state, fake._members, fake._visitors)
    return fake


def test_the_state_comes_back_whole(full: FakeWix) -> None:
    """A state that was read is written again as the same; no field of a visitor, token or cart is left out."""
    state = dumped(full)
    assert dumped(reloaded(state)) == state
    visitor, token = next(iter(full.visitors.values())), next(iter(full._visitors.access_tokens.values()))
    assert len(state["visitors"][0]) == len(attrs.fields(type(visitor))) + 2  # its tokens are listed with it
    assert len(state["visitors"][0]["accessTokens"][0]) == len(attrs.fields(type(token))) - 1  # without their visitor
    assert len(state["visitors"][0]["cart"]) == len(attrs.fields(type(visitor.cart)))
    assert len(state["members"][0]) == len(attrs.fields(type(full.members["anna@example.com"])))
    assert "correct horse" not in json.dumps(state)


def test_a_state_without_members(full: FakeWix) -> None:
    """The state of an earlier release has no members, and is read."""
    state = dumped(full)
    del state["members"]
    assert reloaded(state).members == {}


def test_a_state_without_apps(full: FakeWix) -> None:
    """In the state of an earlier release the products in carts name no app, and are those of Wix Stores."""
    state = dumped(full)
    for visitor in state["visitors"]:
        for line in (visitor["cart"] or {"lines": []})["lines"]:
            del line["product"]["appId"]
    assert dumped(reloaded(state)) == dumped(full)


async def test_a_visitor_outlives_a_restart(full: FakeWix) -> None:
    """After a reload each token works or is refused as before, and carts stay as they were without their products."""
    after = reloaded(dumped(full), products=[])
    access, refresh = list(full._visitors.access_tokens), list(full._visitors.refresh_tokens)
    answers = []
    for fake in (full, after):
        async with fake.client() as client:
            carts = [(await client.get(CART, headers={"authorization": token})).content for token in access]
            grants = [{"grantType": "refresh_token", "refreshToken": token} for token in refresh]
            answers.append((carts, [(await client.post("/oauth2/token", json=grant)).status_code for grant in grants]))
    assert answers[0] == answers[1]
    carts, statuses = answers[0]
    assert b'"Kettle"' in carts[0]
    assert statuses == [200, 401, 200, 200]


def damages(value: Any, path: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    """The path of each value in a JSON text."""
    if path:
        yield path
    for key, inner in value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ():
        yield from damages(inner, (*path, key))


@pytest.mark.parametrize("damage", [None, "x", -1, [], {}, [None], {"a": 1}, float("nan"), True], ids=repr)
def test_a_damaged_state_is_an_error(full: FakeWix, damage: Any) -> None:
    """Whatever value of a state is replaced, it is read or is a ValueError that says that it is damaged."""
    state = dumped(full)
    told = []
    for path in damages(state):
        broken = copy.deepcopy(state)
        place = broken
        for key in path[:-1]:
            place = place[key]
        place[path[-1]] = damage
        try:
            resumed_time(check_format(broken), real_time=EPOCH)
            dumped(reloaded(broken))
        except ValueError as error:
            told.append(str(error))
    assert len(told) > 20
    assert [text for text in told if not text.startswith(("it is damaged: ", "it has version"))] == []


def test_time_goes_on_over_a_restart(full: FakeWix) -> None:
    """The clock goes on where it was, plus the real time for which the stand-in was stopped; never back."""
    state = dumped(full)
    state["clock"] = {"fake": EPOCH + 1_000_000, "real": EPOCH}
    assert resumed_time(state, real_time=EPOCH + 60) == EPOCH + 1_000_060
    assert resumed_time(state, real_time=EPOCH - 60) == EPOCH + 1_000_000


def test_the_file(tmp_path: Path) -> None:
    """A write replaces the file for its owner only and leaves no draft; a second stand-in may not use it meanwhile."""
    path = tmp_path / "fake.json"
    with StateFile(path) as file:
        assert file.read() is None
        for number in range(2):
            file.write({"wixvisitor-fake": 1, "number": number})
        assert file.read() == {"wixvisitor-fake": 1, "number": 1}
        with pytest.raises(ValueError, match="another stand-in"):
            StateFile(path).__enter__()
    assert path.stat().st_mode & 0o077 == 0
    assert {one.name for one in tmp_path.iterdir()} <= {"fake.json", "fake.json.lock"}
    with StateFile(path):
        pass


def test_a_write_that_fails(tmp_path: Path) -> None:
    """If the new state cannot be written, the old one remains, and no draft does."""
    with StateFile(tmp_path / "fake.json") as file:
        file.write({"wixvisitor-fake": 1})
        with pytest.raises(TypeError):
            file.write({"wixvisitor-fake": object()})
        assert file.read() == {"wixvisitor-fake": 1}
    assert not list(tmp_path.glob("*.tmp")) + list(tmp_path.glob(".*.tmp"))


@pytest.mark.parametrize(
    "content", ["", "{", "[]", "{}", '{"wixvisitor": 1}', '{"wixvisitor-fake": 2}', "[" * 100_000, "\xff"]
)
def test_a_foreign_file(tmp_path: Path, content: str) -> None:
    """A file that holds something else is an error, and is left as it is."""
    path = tmp_path / "fake.json"
    path.write_bytes(content.encode("latin-1"))
    with StateFile(path) as file, pytest.raises(ValueError, match=r"JSON|state|version"):
        file.read()
    assert path.read_bytes() == content.encode("latin-1")


async def test_the_log_is_bounded() -> None:
    """A fake that keeps few calls keeps the last ones, fewer if they are large, and what it counts by path is small."""
    fake = FakeWix(keep_calls=10)
    async with fake.client() as client:
        for number in range(50):
            await client.get(f"/nowhere/{number}")
        assert [call.path for call in fake.calls] == [f"/nowhere/{number}" for number in range(40, 50)]
        assert len(fake._log._peaks) <= 10
        for _ in range(5):
            await client.post("/large", content=bytes(6_000_000))
    assert [call.path for call in fake.calls] == ["/large"] * 2
    fake.reset_calls()
    assert (fake.calls, fake._log._bytes, fake._log._under_way) == ([], 0, {})


def test_visitors_and_tokens_are_bounded(full: FakeWix) -> None:
    """The visitors seen last stay, with their latest tokens; expired tokens and ended faults are forgotten."""
    first = next(iter(full.visitors))
    for _ in range(200):
        full._visitors.issue(full.visitors[first], None)
    tidy(full)
    assert len(full._visitors.access_tokens) < 60
    full.advance(400 * 86_400)
    late = full.mint_visitor(CLIENT_ID)
    full._visitors.issue(full.visitors[first], None)
    full.visitors[first].seen_at = full.now()
    full.fail(times=1).remove()
    tidy(full, 2)
    assert next(iter(full.visitors)) == first
    assert len(full.visitors) == 2
    assert late["access_token"] in full._visitors.access_tokens
    assert {token.visitor.id for token in full._visitors.refresh_tokens.values()} == set(full.visitors)
    assert len(full._visitors.access_tokens) == 2
    assert full._faults._faults == []


def test_members_are_bounded(full: FakeWix) -> None:
    """The newest members stay, and none keeps a visitor who was forgotten."""
    full._hosted.unknown_logins.add(("forgotten", "member"))
    tidy(full, 1)
    assert list(full.members) == ["bea@example.com"]
    assert (full._hosted.unknown_logins, full.members["bea@example.com"].home) == (set(), None)


@pytest.fixture
def products(tmp_path: Path) -> Callable[[Any], list[Product]]:
    def read(content: Any) -> list[Product]:
        path = tmp_path / "products.json"
        path.write_text(content if isinstance(content, str) else json.dumps(content), "utf-8")
        return read_products(path)

    return read


def test_products_of_a_file(products: Callable[[Any], list[Product]]) -> None:
    """A product needs a name and a price; its ID depends on the name, so that it is the same after a restart."""
    mug = {"name": "Mug & Söhne", "price": 12.5}
    full = {"id": "tea", "name": "Tea", "price": "270.10", "slug": "green-tea", "stock": 0}
    found = products([mug, full])
    assert found == products([mug, full])
    assert [product.slug for product in found] == ["mug-söhne", "green-tea"]
    assert [str(product.price) for product in found] == ["12.5", "270.10"]
    assert (found[1].id, found[1].stock, found[0].stock) == ("tea", 0, None)


@pytest.mark.parametrize(
    ("content", "about"),
    [
        ("", "JSON"),
        ({}, "list"),
        ([1], "product 1"),
        ([{"price": 1}], "product 1 has no name"),
        ([{"name": "a"}], "price of product 1"),
        ([{"name": "a", "price": 1}, {"name": "b", "price": "free"}], "price of product 2"),
        ([{"name": "a", "price": -1}], "price"),
        ([{"name": "a", "price": True}], "price"),
        ('[{"name": "a", "price": NaN}]', "price"),
        ([{"name": "a", "price": 1, "stock": 1.5}], "stock"),
        ([{"name": "a", "price": 1, "cost": 1}], "cost"),
        ([{"name": ["a"], "price": 1}], "name"),
        ([{"name": "a", "price": 1}] * 2, "same"),
    ],
)
def test_no_products(products: Callable[[Any], list[Product]], content: Any, about: str) -> None:
    """What is no list of products is an error that says which product, and which of its fields."""
    with pytest.raises(ValueError, match=about):
        products(content)
