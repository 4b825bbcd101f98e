"""The real @wix/sdk in front of `python -m wixvisitor fake`, pointed there as the command says."""

import json
import subprocess
from typing import Any

import httpx
import pytest

from tests.commands import Served, fake_command
from tests.constants import CLIENT_ID
from wixvisitor.testing._catalog import BUILT_IN, STORES_APP_ID

from .real_sdk import HERE, PATIENCE

pytestmark = pytest.mark.interop

SHOPPING = """
import { createClient, OAuthStrategy } from '@wix/sdk';
import { currentCart } from '@wix/ecom';
%(line)s
const client = createClient({ modules: { currentCart }, auth: OAuthStrategy({ clientId: '%(client_id)s' }) });
const item = { quantity: 2, catalogReference: { appId: '%(app_id)s', catalogItemId: '%(mug)s' } };
const { cart } = await client.currentCart.addToCurrentCart({ lineItems: [item] });
const read = await client.currentCart.getCurrentCart();
process.stdout.write(JSON.stringify([cart._id, read._id, read.buyerInfo.visitorId, read.lineItems[0].quantity]));
"""


def shop(served: Served, **options: Any) -> list[object]:
    """Runs the SDK, and returns what it has seen of its cart."""
    names = {"line": served.how("@wix/sdk"), "client_id": CLIENT_ID, "app_id": STORES_APP_ID, "mug": BUILT_IN[0].id}
    node = ["node", "--input-type=module", "--eval", SHOPPING % names]
    seen: list[object] = json.loads(subprocess.check_output(node, cwd=HERE, timeout=PATIENCE, **options))
    return seen


def test_the_sdk_shops_there() -> None:
    """The SDK's visitor and cart are those that the command's page shows."""
    with fake_command() as served:
        added, read, visitor_id, quantity = shop(served)
        state = httpx.get(f"{served.url}/_fake/state").json()
    assert (added, quantity) == (read, 2)
    (visitor,) = state["visitors"]
    assert visitor["id"] == visitor_id
    assert [(line["name"], line["quantity"]) for line in visitor["cart"]["lines"]] == [("Mug", 2)]
    assert [call["status"] for call in state["calls"]] == [200, 200, 200]


def test_a_fault_by_http() -> None:
    """A fault that a program has added over HTTP meets the SDK, once."""
    with fake_command() as served:
        fault = {"verb": "fail", "grant_type": "anonymous"}
        httpx.post(f"{served.url}/_fake/faults", json=fault).raise_for_status()
        with pytest.raises(subprocess.CalledProcessError):
            shop(served, stderr=subprocess.DEVNULL)
        shop(served)
        assert httpx.get(f"{served.url}/_fake/state").json()["totals"]["visitors"] == 1
