"""Which of a browser's ids is newer, and how long that is remembered."""

from __future__ import annotations

import gc

import pytest

from tests.constants import Clock
from wixvisitor._web.order import MAX_IDS, SECONDS, Order


class Request:
    """Something that is under way."""


@pytest.fixture
def order(clock: Clock) -> Order:
    return Order(clock=clock)


def test_nothing_is_old_before_a_change(order):
    """Ids of which no change was answered are as new as any."""
    assert not order.is_older("a", None, order.enter(Request()))


def test_an_id_that_was_left(order):
    """Once a change is answered, the id from before is old and the new one is not."""
    since = order.enter(Request())
    order.sent("a", "b", order.number())
    assert order.is_older("a", None, since)
    assert not order.is_older("b", None, since)


def test_changes_count_in_the_order_they_were_made(order):
    """Of two changes of one id the later made one counts, whichever is answered first."""
    since = order.enter(Request())
    first, second = order.number(), order.number()
    order.sent("a", "c", second)
    assert order.is_older("a", first, since)
    order.sent("a", "b", first)
    assert order.is_older("b", None, since)
    assert not order.is_older("c", None, since)


def test_ids_one_after_the_other(order):
    """An id stays old when the one after it is left as well, also for a change that was made in between."""
    since = order.enter(Request())
    order.sent("a", "b", order.number())
    between = order.number()
    order.sent("b", "c", order.number())
    assert order.is_older("a", None, since)
    assert order.is_older("b", None, since)
    assert order.is_older("a", between, since)
    assert not order.is_older("c", None, since)


def test_another_key_of_the_same_visitor(order):
    """What was known under one key is old when the visitor is left under another key."""
    since = order.enter(Request())
    order.same("a", "b")
    order.sent("b", "c", order.number())
    assert order.is_older("a", None, since)


def test_who_never_got_the_answer(order, clock):
    """A request that begins two minutes after the answer comes from a browser that never got it."""
    order.sent("a", "b", order.number())
    clock.now += SECONDS
    assert order.is_older("a", None, order.enter(Request()))
    clock.now += 1
    assert not order.is_older("a", None, order.enter(Request()))


def test_a_request_that_takes_very_long(order, clock):
    """A change is remembered as long as a request is under way that began before it, and no longer."""
    request = Request()
    since = order.enter(request)
    order.sent("a", "b", order.number())
    clock.now += 100_000
    order.sent("c", "d", order.number())
    assert order.is_older("a", None, since)
    order.leave(request)
    order.sent("e", "f", order.number())
    assert not order.is_older("a", None, since)
    assert len(order) == 4


def test_a_request_that_is_gone(order, clock):
    """A request that ends without an answer holds nothing back."""
    request = Request()
    order.enter(request)
    order.sent("a", "b", order.number())
    del request
    gc.collect()
    clock.now += SECONDS + 1
    order.sent("c", "d", order.number())
    assert len(order) == 2


def test_there_is_a_limit(order):
    """However many changes there are, no more than so many ids are remembered."""
    request = Request()
    order.enter(request)
    for number in range(MAX_IDS):
        order.sent(f"a{number}", f"b{number}", order.number())
    assert len(order) == MAX_IDS
