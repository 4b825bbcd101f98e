"""The whole life of a visitor, with FakeWix in Wix's place: what would go wrong for real can be made to go wrong."""

from __future__ import annotations

import sys
import time
from collections import Counter
from pathlib import Path
from typing import Final

from examples.demo.facts import Setting, tally
from examples.demo.process import living
from examples.demo.stage import FOUR_HOURS, Stage, kind, listed, short, waited
from examples.demo.story import Story
from wixvisitor.testing import FakeWix

CLIENT_ID: Final = "5e9c1d0a-7c1e-4a52-9d5e-1f2a3b4c5d6e"  # any GUID: FakeWix knows every client
CROWD: Final = 200
SLOW: Final = 0.3  # seconds that Wix takes where people are to be seen waiting


async def perform(story: Story, file: Path) -> bool:
    """Tells the life and returns whether every claim held."""
    started = float(int(time.time()))
    fake = FakeWix(clock=lambda: started)
    async with fake.serve() as base_url:
        setting = Setting(file=str(file), client_id=CLIENT_ID, base_url=base_url)
        story.begin(
            "wixvisitor: the life of one visitor",
            f"Wix is played by FakeWix, on {base_url}. The visitor lives in two processes, one after the other, and "
            f"between them only in its file, {file.name}.",
        )
        async with living(setting) as first:
            stage = Stage(story, fake, first)
            await _a_new_visitor(stage)
            await _something_in_the_cart(stage)
            await _the_process_ends(stage, file)
        async with living(setting) as second:
            stage.life = second
            await _another_process(stage, first.pid)
            await _four_hours_pass(stage)
            await _an_outage(stage)
            await _a_refusal(stage)
    return _summary(stage)


async def _a_new_visitor(stage: Stage) -> None:
    story = stage.story
    story.chapter("A new visitor")
    story.say(f"Process {stage.life.pid} starts without a file, and asks for its visitor's tokens ...")
    facts = await stage.do("ask")
    calls = stage.new_token_calls()
    stage.show(facts, calls)
    stage.home = facts
    story.claim("Wix made one visitor, in one call", calls == {"new visitor": 1}, tally(calls))
    story.claim(f"the token names it: {facts.visitor}", set(stage.fake.visitors) == {facts.visitor}, facts.visitor)
    story.claim("the session said so: minted", facts.had("minted") and facts.role == "visitor", facts.events)


async def _something_in_the_cart(stage: Stage) -> None:
    story = stage.story
    story.chapter("Something in the cart")
    story.say("It looks for a product, and puts it into the current cart (V2, add-line-items) ...")
    facts = await stage.do("shop")
    calls = stage.new_token_calls()
    stage.lines = facts.lines
    story.measured("cart", listed(facts.lines))
    story.measured("token calls", tally(calls))
    story.claim("Wix put it into this visitor's cart", facts.lines and facts.owner == stage.visitor.visitor, facts.note)
    story.claim("no token call was needed", not calls, tally(calls))


async def _the_process_ends(stage: Stage, file: Path) -> None:
    story = stage.story
    story.chapter("The process ends")
    story.say(f"Process {stage.life.pid} is killed; it gets no chance to save or to say goodbye ...")
    status = await stage.life.kill()
    story.measured("exit status", str(status))
    story.claim("it did not end by itself", status != 0, status)
    story.claim(f"its file is there, for its owner only: {file}", _is_private(file), "missing, or open to others")


async def _another_process(stage: Stage, before: int) -> None:
    story = stage.story
    story.chapter("Another process, the same visitor")
    story.say(f"Process {stage.life.pid} starts with the file, and looks into the cart ...")
    facts = await stage.do("cart")
    calls = stage.new_token_calls()
    stage.show(facts, calls)
    story.measured("cart", listed(facts.lines))
    story.claim("it is another process", facts.pid not in (before, 0), facts.pid)
    stage.claim_nobody_was_replaced(facts)
    await stage.claim_cart()
    story.claim("Wix was not asked for tokens", not calls, tally(calls))


async def _four_hours_pass(stage: Stage) -> None:
    story = stage.story
    story.chapter(f"Four hours pass, and {CROWD} ask at once")
    stage.fake.advance(FOUR_HOURS)
    stage.fake.delay(SLOW)
    story.say(f"The token has expired. {CROWD} coroutines ask at once; Wix takes {SLOW:g} s to answer ...")
    facts = await stage.do("ask", callers=CROWD)
    calls = stage.new_token_calls()
    stage.show(facts, calls)
    story.claim(f"one renewal for all {CROWD}", calls == {"renewal": 1}, tally(calls))
    one = facts.served == CROWD and facts.access_tokens == 1
    story.claim("everyone was served, with the same token", one, facts.complaint or f"{facts.access_tokens} tokens")
    stage.claim_nobody_was_replaced(facts)
    await stage.claim_cart()


async def _an_outage(stage: Stage) -> None:
    story, fake = stage.story, stage.fake
    story.chapter("Wix's token endpoint fails for a while")
    fake.advance(FOUR_HOURS)
    failing = fake.fail(503, times=None)
    story.say("Four more hours; now the endpoint answers 503. 50 ask ...")
    await _turned_away(stage, "failed (503)")
    story.say("They ask again at once, while the session leaves Wix in peace ...")
    await _turned_away(stage, None)
    failing.remove()
    dropping = fake.drop(times=None)
    fake.advance(60)
    story.say("A minute later the endpoint drops connections. 50 ask ...")
    await _turned_away(stage, "connection dropped")
    dropping.remove()
    fake.advance(120)
    story.say("Two minutes later it works again. 50 ask ...")
    facts = await stage.do("ask", callers=50)
    calls = stage.new_token_calls()
    stage.show(facts, calls)
    recovered = calls == {"renewal": 1} and facts.served == 50
    story.claim("it recovered by itself, with one renewal", recovered, facts.complaint or tally(calls))
    stage.claim_nobody_was_replaced(facts)
    await stage.claim_cart()


async def _turned_away(stage: Stage, why: str | None) -> None:
    """50 ask in vain; ``why`` is what Wix did to the calls, None if there must be none."""
    facts = await stage.do("ask", callers=50)
    calls = stage.new_token_calls()
    stage.story.measured("token calls", tally(calls))
    stage.story.measured("waited", waited(facts))
    told = facts.failures == {"TokenRequestError": 50}
    stage.story.claim(f"each of the 50 got a TokenRequestError: {facts.complaint}", told, facts.failures)
    if why is None:
        stage.story.claim("Wix was not asked again", not calls, tally(calls))
    else:
        few = set(calls) == {why} and calls.total() < 10
        stage.story.claim("Wix was asked a few times, for all 50 together", few, tally(calls))
    stage.claim_nobody_was_replaced(facts)


async def _a_refusal(stage: Stage) -> None:
    story, fake = stage.story, stage.fake
    story.chapter("Wix refuses the visitor")
    fake.refuse_refresh_tokens(stage.visitor.visitor or "")
    fake.advance(FOUR_HOURS)
    story.say("Four more hours, and Wix does not accept the refresh token any more. 50 ask ...")
    facts = await stage.do("ask", callers=50)
    calls = stage.new_token_calls()
    stage.show(facts, calls)
    story.measured("on_change", ", ".join(facts.events))
    replaced = calls == {"refused (400)": 1, "new visitor": 1} and facts.served == 50
    story.claim("Wix refused once, and made one new visitor for all 50", replaced, facts.complaint or tally(calls))
    story.claim("the session said so: replaced", facts.had("replaced"), facts.events)
    other = not facts.is_same_visitor(stage.visitor)
    known = set(fake.visitors) == {stage.visitor.visitor, facts.visitor}
    story.claim("it is another visitor, as Wix's books say", other and known, facts.visitor)
    cart = await stage.do("cart")
    story.claim("whose cart is empty, so nothing was mixed up", cart.status == 404, listed(cart.lines))


def _summary(stage: Stage) -> bool:
    story, fake = stage.story, stage.fake
    story.chapter("In all")
    calls = Counter(kind(call) for call in fake.token_calls())
    peak, asked, known = fake.max_concurrency(), len(fake.token_calls("anonymous")), len(fake.visitors)
    expected = {"new visitor": "2", "renewal": "2", "refused (400)": "1"}
    rows = [(f"token calls: {what}", expected.get(what, "a few"), str(number)) for what, number in calls.items()]
    rows.append(("token calls at once, at most", "1", str(peak)))
    rows.append(("visitors that ever existed", "2", str(known)))
    story.table(("", "expected", "seen"), rows)
    story.claim("two visitors ever existed: the one, and the one after the refusal", known == 2, known)
    story.claim("Wix was asked for a new visitor twice, and never in the outage", asked == 2, asked)
    alone = calls["renewal"] == 2 and peak == 1
    story.claim("every renewal was needed, and there were never two at once", alone, f"{tally(calls)}; {peak} at once")
    story.claim("every call was one that Wix knows", not fake.unmatched, fake.unmatched)
    return story.end(
        f"One visitor stayed one visitor ({short(stage.home)}) through a kill, {CROWD} callers at once, half a "
        "day and an outage; only Wix's own refusal replaced it."
    )


def _is_private(file: Path) -> bool:
    return file.is_file() and (sys.platform == "win32" or not file.stat().st_mode & 0o077)
