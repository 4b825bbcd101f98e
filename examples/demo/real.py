"""The parts of the demo that make sense against the real Wix, where no failure can be ordered."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Final

import attrs

from examples.demo.facts import Facts, Setting, failed
from examples.demo.process import LifeProcess, living
from examples.demo.story import Story, brief

CROWD: Final = 200
_LEFT_OUT: Final = (
    "Left out: four hours passing (the token lives that long), an outage of the token endpoint and a refused refresh "
    "token. Only a stand-in can be made to do that: run the demo without a client ID."
)


@attrs.define
class Stage:
    """What the chapters share."""

    story: Story
    life: LifeProcess

    async def do(self, what: str, **details: Any) -> Facts:
        """Returns what the process saw while it did this.

        Raises:
            LifeFailed: it could not do it.

        """
        with self.story.waiting():
            return await self.life.obey(what, **details)


async def perform(story: Story, setting: Setting) -> bool:
    """Tells what can be told and returns whether every claim held."""
    story.begin("wixvisitor: one visitor of your site", f"Wix is asked at {setting.base_url}.")
    async with living(setting) as first:
        stage = Stage(story, first)
        home = await _a_visitor(stage, Path(setting.file))
        cart = await _the_cart(stage)
        story.chapter("The process ends")
        story.say(f"Process {first.pid} is killed; it gets no chance to save or to say goodbye ...")
        story.claim("it did not end by itself", await first.kill() != 0, "exit status 0")
    async with living(setting) as second:
        stage.life = second
        await _another_process(stage, home, cart)
        renewed = await _a_renewal(stage, home, cart)
        await _a_crowd(stage, renewed)
    story.chapter("In all")
    story.say(_LEFT_OUT)
    return story.end("One visitor stayed one visitor: two processes, a renewal, and everyone at once.")


async def _a_visitor(stage: Stage, file: Path) -> Facts:
    story, resumed = stage.story, _is_there(file)
    story.chapter("The visitor of the file" if resumed else "A new visitor")
    story.say(f"Process {stage.life.pid} asks for its visitor's tokens ...")
    facts = await stage.do("ask")
    if not facts.served:
        raise failed(next(iter(facts.failures)), facts.complaint)
    story.measured("visitor id", facts.visitor or "not told by the token")
    story.measured("on_change", ", ".join(facts.events) or "nothing had to change")
    story.measured("waited", brief(facts.longest))
    if resumed:
        story.claim("no visitor was made or replaced", not _is_new(facts), facts.events)
    else:
        story.claim("Wix made a visitor", facts.had("minted") and facts.role == "visitor", facts.events)
    story.claim("it is kept in the file", _is_there(file), file)
    return facts


async def _the_cart(stage: Stage) -> Facts:
    story = stage.story
    story.chapter("Something in the cart")
    story.say("It looks for a product to put into the current cart (V2) ...")
    facts = await stage.do("shop")
    _show_cart(story, facts)
    if facts.note:
        story.say(f"{facts.note}, so the cart is only read.")
    story.claim("Wix answers for the cart (404: there is none yet)", facts.status in (200, 404), facts.status)
    return facts


async def _another_process(stage: Stage, home: Facts, cart: Facts) -> None:
    story = stage.story
    story.chapter("Another process, the same visitor")
    story.say(f"Process {stage.life.pid} starts with the file, and looks into the cart ...")
    facts = await stage.do("cart")
    _show_cart(story, facts)
    story.claim("it is another process", facts.pid != home.pid, facts.pid)
    _claim_same(story, facts, home)
    _claim_cart(story, facts, cart)


async def _a_renewal(stage: Stage, home: Facts, cart: Facts) -> Facts:
    story = stage.story
    story.chapter("A renewal, early and on request")
    story.say("The token still works; Wix is asked for a new one all the same (renew_token) ...")
    renewed = await stage.do("renew")
    story.measured("on_change", ", ".join(renewed.events))
    story.claim("Wix renewed the token", renewed.had("renewed"), renewed.events)
    after = await stage.do("cart")
    if home.visitor is not None:
        _claim_same(story, renewed, home)
    _claim_cart(story, after, cart)
    return renewed


async def _a_crowd(stage: Stage, renewed: Facts) -> None:
    story = stage.story
    story.chapter(f"{CROWD} ask at once")
    story.say(f"{CROWD} coroutines ask for the visitor's tokens ...")
    facts = await stage.do("ask", callers=CROWD)
    waited = f"{facts.waited} of {CROWD}, the longest {brief(facts.longest)}" if facts.waited else f"none of {CROWD}"
    story.measured("waited", waited)
    one = facts.served == CROWD and facts.access_tokens == 1
    story.claim("everyone was served, with the same token", one, facts.complaint or f"{facts.access_tokens} tokens")
    story.claim("and nothing had to change", not facts.events and facts.mark == renewed.mark, facts.events)


def _claim_same(story: Story, facts: Facts, home: Facts) -> None:
    same = facts.is_same_visitor(home) and not _is_new(facts)
    story.claim("it is the same visitor", same, facts.visitor or facts.events)


def _claim_cart(story: Story, facts: Facts, cart: Facts) -> None:
    same = (facts.status, facts.lines, facts.owner) == (cart.status, cart.lines, cart.owner)
    story.claim("with the same cart", same, f"{facts.status}, {', '.join(facts.lines) or 'nothing'}")


def _show_cart(story: Story, facts: Facts) -> None:
    story.measured("cart", ", ".join(facts.lines) or f"empty ({facts.status})")
    if facts.owner:
        story.measured("its owner", facts.owner)


def _is_there(file: Path) -> bool:
    return file.is_file()


def _is_new(facts: Facts) -> bool:
    return facts.had("minted") or facts.had("replaced")
