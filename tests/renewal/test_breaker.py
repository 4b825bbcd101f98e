"""When a pool leaves the token endpoint alone: the breaker, without a clock."""

from __future__ import annotations

import pytest

from tests.constants import EPOCH
from wixvisitor import ConfigurationError, TokenRequestError, WixVisitorError
from wixvisitor._renewal.breaker import MAX_WAIT, STREAK, Admission, Breaker

LIMIT = TokenRequestError("slow down", status_code=429)
OUTAGE = TokenRequestError("out of order", status_code=503)


def _fail(
    breaker: Breaker,
    *visitors: str,
    cause: WixVisitorError = OUTAGE,
    now: float = EPOCH,
    retry_after: float | None = None,
) -> bool:
    opened = [breaker.failed(one, cause, now, 1.0, retry_after=retry_after) for one in visitors]
    return opened[-1]


def _admit(breaker: Breaker, visitor: str, now: float = EPOCH, *, hopeless: bool = False) -> Admission:
    return breaker.admit(visitor, now, lambda: hopeless)


def _until(breaker: Breaker) -> float:
    assert breaker.cooldown is not None
    return breaker.cooldown.until


def test_a_closed_breaker_lets_all_ask() -> None:
    """Without a failure every visitor asks."""
    assert _admit(Breaker(), "a") is Admission.GO


@pytest.mark.parametrize(
    ("retry_after", "seconds"), [(30.0, 30.0), (6.5, 6.5), (301.0, 300.0), (9e9, 300.0), (None, 1.0), (0.0, 1.0)]
)
def test_one_429_stops_all(retry_after: float | None, seconds: float) -> None:
    """The first 429 begins a pause for all, as long as Wix says and at most 300 s, else 1 s at most."""
    breaker = Breaker()
    assert _fail(breaker, "a", cause=LIMIT, retry_after=retry_after)
    assert _until(breaker) == EPOCH + seconds
    assert _admit(breaker, "b", EPOCH + seconds - 0.001) is Admission.FAIL
    assert _admit(breaker, "b", EPOCH + seconds) is Admission.PROBE


@pytest.mark.parametrize(
    "cause",
    [
        OUTAGE,
        TokenRequestError("no answer"),
        TokenRequestError("a page", status_code=404),
        ConfigurationError("wrong client", status_code=400),
    ],
)
def test_three_visitors_in_a_row_stop_all(cause: WixVisitorError) -> None:
    """Any other failure begins a pause when a third visitor meets it."""
    breaker = Breaker()
    assert not _fail(breaker, "a", "b", cause=cause)
    assert _admit(breaker, "c") is Admission.GO
    assert _fail(breaker, "c", cause=cause)
    assert _admit(breaker, "d") is Admission.FAIL


def test_the_same_visitor_counts_once() -> None:
    """One visitor that fails again and again begins no pause, and two do not either."""
    breaker = Breaker()
    for _ in range(10):
        assert not _fail(breaker, "a", "b")
    assert breaker.cooldown is None


def test_a_success_begins_the_row_anew() -> None:
    """After a success three other visitors have to fail."""
    breaker = Breaker()
    _fail(breaker, "a", "b")
    breaker.succeeded("c")
    assert not _fail(breaker, "d", "e")
    assert _fail(breaker, "f")


def test_trouble_of_its_own() -> None:
    """A visitor whose last call failed neither begins nor extends nor doubles a pause, whatever it meets."""
    breaker = Breaker()
    _fail(breaker, "poisoned")
    breaker.succeeded("b")
    assert not _fail(breaker, "poisoned", cause=LIMIT, retry_after=300.0)
    assert breaker.cooldown is None
    _fail(breaker, "c", cause=LIMIT, retry_after=5.0)
    until = _until(breaker)
    assert not _fail(breaker, "poisoned", cause=LIMIT, now=EPOCH + 1, retry_after=300.0)
    assert _until(breaker) == until
    assert not _fail(breaker, "poisoned", now=EPOCH + 6)
    assert _until(breaker) == until


def test_its_own_success_forgives() -> None:
    """A visitor that was served again counts like any other."""
    breaker = Breaker()
    _fail(breaker, "a")
    breaker.succeeded("a")
    assert _fail(breaker, "a", cause=LIMIT)


def test_calls_under_way_extend_but_do_not_double() -> None:
    """Failures of calls that were under way when the pause began make it as long as Wix says, and not twice as long."""
    breaker = Breaker()
    _fail(breaker, "a", cause=LIMIT, retry_after=2.0)
    assert not _fail(breaker, "b", cause=LIMIT, now=EPOCH + 0.5, retry_after=4.0)
    assert _until(breaker) == EPOCH + 4.5
    _fail(breaker, "c", cause=LIMIT, now=EPOCH + 0.6, retry_after=1.0)
    assert _until(breaker) == EPOCH + 4.5
    assert breaker.cooldown is not None
    assert breaker.cooldown.failures == 1


def test_one_asks_for_all() -> None:
    """When the pause is over the first visitor asks and the others wait; if it fails the pause doubles up to 60 s."""
    breaker, now, seconds = Breaker(), EPOCH, []
    _fail(breaker, "a", cause=LIMIT)
    for number in range(8):
        now = _until(breaker)
        assert _admit(breaker, f"probe {number}", now) is Admission.PROBE
        breaker.probe = f"probe {number}"
        assert _admit(breaker, "another", now) is Admission.WAIT
        assert _fail(breaker, f"probe {number}", now=now)
        assert breaker.probe is None
        seconds.append(_until(breaker) - now)
    assert seconds == [2.0, 4.0, 8.0, 16.0, 32.0, 60.0, 60.0, 60.0]
    now = _until(breaker)
    breaker.probe = "last"
    breaker.succeeded("last")
    assert _admit(breaker, "another", now) is Admission.GO
    assert breaker.cooldown is None


def test_a_probe_without_an_answer_is_followed_by_another() -> None:
    """A probe that was cancelled, or refused, decides nothing: the next visitor asks for all."""
    breaker = Breaker()
    _fail(breaker, "a", cause=LIMIT)
    breaker.probe = "b"
    breaker.left("c")
    assert breaker.probe == "b"
    breaker.left("b")
    assert _admit(breaker, "c", _until(breaker)) is Admission.PROBE


def test_who_failed_last_is_no_probe() -> None:
    """A visitor whose last call failed waits for another one to ask, for 60 s at most."""
    breaker = Breaker()
    _fail(breaker, "a", cause=LIMIT)
    over = _until(breaker)
    assert _admit(breaker, "a", over) is Admission.WAIT
    assert breaker.seconds_to_wait("a", over) == EPOCH + MAX_WAIT - over
    assert _admit(breaker, "a", EPOCH + MAX_WAIT) is Admission.GO
    assert _admit(breaker, "b", over) is Admission.PROBE
    assert breaker.seconds_to_wait("b", over) == 0.0


def test_who_failed_last_asks_if_all_did() -> None:
    """Where the last call of every live visitor failed, there is no other one to wait for."""
    breaker = Breaker()
    _fail(breaker, "a", "b", "c")
    over = _until(breaker)
    assert _admit(breaker, "a", over, hopeless=True) is Admission.GO
    assert breaker.have_failed(["a", "b", "c"])
    assert not breaker.have_failed(["a", "d"])


def test_a_clock_that_is_set_back_ends_the_pause() -> None:
    """A pause that begins in the future is over, and so is a wait."""
    breaker = Breaker()
    _fail(breaker, "a", cause=LIMIT, retry_after=300.0)
    assert _admit(breaker, "b", EPOCH - 1) is Admission.PROBE
    assert _admit(breaker, "a", EPOCH - 1) is Admission.GO


def test_what_is_remembered_is_bounded() -> None:
    """A hundred thousand visitors that fail leave a few thousand keys behind, and the latest is among them."""
    breaker = Breaker()
    for number in range(100_000):
        _fail(breaker, str(number), now=EPOCH + number / 1_000)
    assert len(breaker._failed_at) == 4_096
    assert breaker.have_failed(["99999"])
    assert len(breaker._streak) < STREAK


def test_a_call_from_before_a_pause_fails_after_it() -> None:
    """A call that was under way when a pause began, and fails after its end, neither begins nor doubles another."""
    breaker, now = Breaker(), 1_000.0
    _fail(breaker, "a", "b", "c", now=now)
    assert breaker.cooldown is not None
    now = breaker.cooldown.until + 1
    assert _admit(breaker, "probe", now) is Admission.PROBE
    breaker.probe = "probe"
    assert not breaker.failed("late", OUTAGE, now, 1.0, retry_after=None, began=999.0)
    assert not breaker.cooldown.active(now)
    assert breaker.failed("probe", OUTAGE, now, 1.0, retry_after=None, began=now)
    assert breaker.cooldown.until == pytest.approx(now + 2.0)
