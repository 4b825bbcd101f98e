"""Each function of `wixvisitor.apis` sends what the real SDK's function sends for the same arguments."""

from __future__ import annotations

import base64
import importlib
import json
import os
import subprocess
import warnings
from collections.abc import Iterator
from typing import Any

import anyio
import httpx
import pytest

from tests.constants import CLIENT_ID
from tools.apis.description import HERE as APIS
from tools.apis.description import read_description, snake
from wixvisitor import AccessToken, RefreshToken, TokenRole, Tokens, VisitorSession

from .conftest import missing_packages
from .real_sdk import HERE

pytestmark = pytest.mark.interop

SEEDS = (1, 2)
HEADERS = (
    "authorization",
    "content-type",
)  # the SDK's others, such as x-wix-bi-gateway, say who asks
SENT_AS_GET_BY_THE_SDK = {  # so that a CDN can keep the answer; longer ones as POST, which REST documents and we send
    "stores.products_v3.count_products",
    "stores.products_v3.query_products",
    "stores.products_v3.search_products",
    "stores.products.query_products",
    "stores.collections.query_collections",
    "pricing_plans.plans_v3.query_plans",
    "pricing_plans.plans_v3.search_plans",
}
PACKED_BY_THE_SDK = {  # nested parameters in one, ".r"; REST documents plain ones, which we send where they suffice
    "forms.forms.get_form",
    "forms.forms.list_forms",
    "members.members.list_members",
    "pricing_plans.orders.member_list_orders",
}
BY_HAND = {"data/items"}  # its package has no licence; written from Wix's REST reference
TOKENS = Tokens(AccessToken("OauthNG.JWS.a.b.c", 4_000_000_000), RefreshToken("JWS.r", TokenRole.VISITOR))


@pytest.fixture(scope="module", params=SEEDS)
def calls(request: pytest.FixtureRequest) -> list[dict[str, Any]]:
    """What the SDK sends for each method, with arguments made of a seed."""
    missing = missing_packages(APIS)
    if missing is not None:
        (pytest.fail if os.environ.get("WIXVISITOR_REQUIRE_INTEROP") == "1" else pytest.skip)(missing)
    command = ["node", HERE / "apis.mjs", str(request.param)]
    result = subprocess.run(command, capture_output=True, encoding="utf-8", check=True, timeout=300)
    return [json.loads(line) for line in result.stdout.splitlines()]


def test_requests_equal_those_of_the_sdk(calls: list[dict[str, Any]]) -> None:
    """N of N: method, path, query, body, Authorization and Content-Type are the SDK's."""
    assert [call for call in calls if "error" in call] == []
    described = {one.name: one for one in read_description()[1] if one.name not in BY_HAND}
    assert len(calls) == sum(len(one.methods) for one in described.values())
    names = [f"{call['module'].replace('/', '.')}.{snake(call['method'])}" for call in calls]
    differing = {
        name: (ours, theirs)
        for name, call in zip(names, calls, strict=True)
        if (ours := our_request(name, call["arguments"])) != (theirs := their_request(name, call["request"]))
    }
    assert differing == {}


def test_what_the_sdk_sends_otherwise(calls: list[dict[str, Any]]) -> None:
    """The methods that the SDK sends as GET, or packs, are these."""
    described = json.loads((APIS / "description.json").read_text("utf-8"))["modules"]
    found: dict[str, set[str]] = {"sdkSendsGet": set(), "sdkPacksQuery": set()}
    for module, one in described.items():
        for method, facts in one["methods"].items():
            for word in found.keys() & facts.keys():
                found[word].add(f"{module.replace('/', '.')}.{snake(method)}")
    assert found == {"sdkSendsGet": SENT_AS_GET_BY_THE_SDK, "sdkPacksQuery": PACKED_BY_THE_SDK}
    methods = {snake(call["method"]): call["request"]["method"] for call in calls}
    assert methods["search_products"] == "POST", "a query that is too long for GET"


def our_request(name: str, arguments: dict[str, Any]) -> dict[str, Any]:
    """What our function sends."""
    requests: list[httpx.Request] = []

    def answer(request: httpx.Request) -> httpx.Response:
        requests.append(request)
        return httpx.Response(200, json={})

    async def call() -> None:
        module, _, function = name.rpartition(".")
        async with httpx.AsyncClient(transport=httpx.MockTransport(answer)) as client:
            session = VisitorSession(CLIENT_ID, tokens=TOKENS, client=client)
            named = {snake(key): value for key, value in arguments.items()}
            with warnings.catch_warnings():
                warnings.simplefilter("ignore", DeprecationWarning)
                await getattr(importlib.import_module(f"wixvisitor.apis.{module}"), function)(session, **named)

    anyio.run(call)
    (request,) = requests
    return {
        "method": request.method,
        "path": request.url.path,
        "query": sorted(unpacked(request.url.params.multi_items())),
        "body": json.loads(request.content) if request.content else None,
        "headers": {key: request.headers[key] for key in HEADERS if key in request.headers},
    }


def their_request(name: str, sent: dict[str, Any]) -> dict[str, Any]:
    """What the SDK's function sent, without the headers that differ on purpose."""
    query = [(key, value) for key, value in sent["query"]]
    packed = any(key == ".r" for key, _ in query)
    assert not packed or name in PACKED_BY_THE_SDK
    headers = {key: value for key, value in sent["headers"].items() if key in HEADERS}
    return {**sent, "query": sorted(unpacked(query)), "headers": headers}


def unpacked(query: list[tuple[str, str]]) -> Iterator[tuple[str, str]]:
    """The parameters, those in ``.r`` one by one."""
    for key, value in query:
        if key == ".r":
            yield from flat("", json.loads(base64.urlsafe_b64decode(value + "=" * (-len(value) % 4))))
        else:
            yield key, value


def flat(before: str, value: Any) -> Iterator[tuple[str, str]]:
    """A value's texts with their paths."""
    match value:
        case dict():
            for key, inner in value.items():
                yield from flat(f"{before}.{key}" if before else key, inner)
        case list():
            for inner in value:
                yield from flat(before, inner)
        case None:
            pass  # no parameter
        case bool():
            yield before, json.dumps(value)
        case _:
            yield before, str(value)
