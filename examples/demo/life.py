"""One process of the visitor, ``python -m examples.demo.life SETTING``. It does what the demo tells it.

It knows only the visitor that the file holds.
"""

from __future__ import annotations

import asyncio
import base64
import hashlib
import json
import logging
import os
import sys
import time
from collections import Counter
from typing import Any, Final

import anyio
import attrs
import httpx

from examples.demo.facts import Facts, Setting, to_line
from examples.demo.screen import give_up
from wixvisitor import TokensChanged, VisitorSession, WixVisitorError
from wixvisitor.storage import FileStorage

CART: Final = "/ecom/v2/carts/current"
PRODUCTS: Final = "/stores-reader/v1/products/query"  # the reader that answers on sites of both catalog versions
STORES: Final = "215238eb-22a5-4c36-9e7b-e7c08025e04e"  # the app id of Wix Stores

_NOTICEABLE: Final = 0.005  # seconds; a token that is at hand takes microseconds


def run(setting: str) -> int:
    """Obeys the commands on stdin until it ends."""
    logging.getLogger("wixvisitor").addHandler(logging.NullHandler())  # what failed is told as a fact
    life = Life(Setting(**json.loads(setting)))
    with asyncio.Runner() as runner:
        for line in sys.stdin:
            sys.stdout.write(to_line(runner.run(life.obey(**json.loads(line)))))
            sys.stdout.flush()
        runner.run(life.session.aclose())
    return 0


class Life:
    """The process's session, and its clock, which the demo moves."""

    def __init__(self, setting: Setting) -> None:
        self._now: float | None = None
        self._events: list[str] = []
        self.session = VisitorSession(
            setting.client_id,
            storage=FileStorage(setting.file),
            base_url=setting.base_url,
            on_change=self._changed,
            clock=self._clock,
        )

    async def obey(self, do: str, *, now: float | None = None, callers: int = 1) -> dict[str, Any]:
        """Does one thing and returns the facts, or what went wrong, ready for JSON."""
        self._now = now
        self._events.clear()
        try:
            seen = await self._do(do, callers)
        except (WixVisitorError, httpx.HTTPError) as error:
            kind = type(error).__name__ if isinstance(error, WixVisitorError) else "TokenRequestError"
            return {"failed": kind, "message": str(error) or f"Wix could not be reached ({type(error).__name__})"}
        tokens = self.session.get_tokens()
        refresh = tokens.refresh_token
        facts = Facts(
            pid=os.getpid(),
            role=refresh.role.value,
            visitor=visitor_id(tokens.access_token.value),
            mark=hashlib.sha256(refresh.value.encode()).hexdigest()[:8] if refresh.value else "",
            events=tuple(self._events),
            **seen,
        )
        return attrs.asdict(facts)

    async def _do(self, do: str, callers: int) -> dict[str, Any]:
        if do == "ask":
            return await Crowd(self.session).ask(callers)
        if do == "renew":
            await self.session.renew_token()
            return {}
        note = await self._fill_cart() if do == "shop" else ""
        return {**await self._cart(), "note": note}

    async def _cart(self) -> dict[str, Any]:
        response = await self.session.get(CART)
        if response.status_code != 200:
            return {"status": response.status_code}
        cart = _json(response).get("cart") or {}
        owner = cart.get("customerInfo") or {}
        lines = [f"{_quantity(line)} x {_name(line)}" for line in cart.get("lineItems") or ()]
        return {"status": 200, "lines": lines, "owner": owner.get("visitorId") or owner.get("memberId")}

    async def _fill_cart(self) -> str:
        """Puts the first product that can be had into the cart; returns why that was not possible."""
        found = await self.session.post(PRODUCTS, json={"query": {"paging": {"limit": 10}}})
        answers = [found.status_code]
        for product in _json(found).get("products") or ():
            if (product.get("stock") or {}).get("inStock", True):
                reference = {"appId": STORES, "catalogItemId": product.get("id")}
                items = [{"quantity": 1, "catalogReference": reference}]
                added = await self.session.post(f"{CART}/add-line-items", json={"catalogItems": items})
                if added.is_success:
                    return ""
                answers.append(added.status_code)
        return f"no product could be put into the cart (Wix answered {', '.join(map(str, answers))})"

    def _clock(self) -> float:
        return time.time() if self._now is None else self._now

    def _changed(self, event: TokensChanged) -> None:
        self._events.append(f"{event.reason}: {event.old_role} -> {event.new_role}")


@attrs.define
class Crowd:
    """Tasks that ask for tokens at the same time, each with its own watch."""

    session: VisitorSession
    _waits: list[float] = attrs.field(factory=list)
    _access_tokens: set[str] = attrs.field(factory=set, repr=False)
    _failures: Counter[str] = attrs.field(factory=Counter)
    _complaint: str = ""

    async def ask(self, callers: int) -> dict[str, Any]:
        """Returns how they fared, as fields of ``Facts``."""
        async with anyio.create_task_group() as tasks:
            for _ in range(callers):
                tasks.start_soon(self._one)
        return {
            "callers": callers,
            "served": callers - self._failures.total(),
            "waited": sum(wait > _NOTICEABLE for wait in self._waits),
            "longest": max(self._waits),
            "access_tokens": len(self._access_tokens),
            "failures": dict(self._failures),
            "complaint": self._complaint,
        }

    async def _one(self) -> None:
        started = time.perf_counter()
        try:
            tokens = await self.session.generate_visitor_tokens()
            self._access_tokens.add(tokens.access_token.value)
        except WixVisitorError as error:
            self._failures[type(error).__name__] += 1
            self._complaint = str(error)
        self._waits.append(time.perf_counter() - started)


def visitor_id(access_token: str) -> str | None:
    """Returns whose token it is, as it says itself, or None. Wix documents no shape, so never decide by it."""
    try:
        payload = access_token.split(".")[3]
        content = json.loads(base64.urlsafe_b64decode(payload + "=" * (-len(payload) % 4)))
        found = json.loads(content["data"])["instance"]["aid"]
    except (ValueError, LookupError, TypeError):  # another shape
        return None
    return found if isinstance(found, str) else None


def _json(response: httpx.Response) -> dict[str, Any]:
    try:
        body = response.json()
    except ValueError:  # HTML, or nothing
        return {}
    return body if isinstance(body, dict) else {}


def _quantity(line: dict[str, Any]) -> object:
    return (line.get("quantityInfo") or {}).get("requestedQuantity", line.get("quantity", 1))


def _name(line: dict[str, Any]) -> str:
    name = line.get("name")
    return str(name.get("original") if isinstance(name, dict) else name)


if __name__ == "__main__":
    try:
        sys.exit(run(sys.argv[1]))
    except BrokenPipeError:  # the demo has gone
        give_up()
