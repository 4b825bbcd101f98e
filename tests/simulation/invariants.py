"""What must hold at every step.

 1. a visitor's identity changes only after Wix refused exactly its refresh token, or the app set other tokens; a
    doubtful answer is no refusal until it is confirmed (``doubt``);
 2. under one key nobody acts as anybody but the one who was saved; a loser's extra visitor is used for no request;
 3. one renewal for a visitor in a process; one among all for a lease, and one for each holder that stalls or dies;
 4. every caller ends in time, with a token or a typed error of its own; one that is cancelled ends at once; closing
    takes 3 seconds at most;
 5. no request carries a token that its process knows to be expired or turned down, or that has ended by Wix's clock
    once a token answer has told the time;
 6. newer tokens are never overwritten by older ones, nor what the app has set by what it set earlier, also if a hung
    thread writes late; no member becomes a visitor unasked;
 7. after the last fault everything recovers, without a restart;
 8. no token in anything that is logged or raised;
 9. no task, socket, lease or lock is left behind, and no caller goes on waiting after the app was closed;
10. after a 429 a pool leaves the token endpoint alone for as long as Wix says, and after another failure that three
    visitors in a row have met for half a second at least, doubling. Meanwhile callers are told at once why, and for how
    long, and those whose token works are served. Afterwards one visitor asks first;
11. one visitor's trouble is its own: other visitors are told of it neither when its call before had failed as well, nor
    when another visitor has been served since;
12. the store's time is not Wix's: no error says that Wix was late if it was not asked, and it is asked only if there is
    time for its answer;
13. while a renewal waits, at most every fourth turn is a new visitor's, and in any minute a process makes no more new
    visitors than its cap allows;
14. a store that goes back in time takes nobody along: whoever holds a later state, which it has read or was told to be
    saved, goes on with it unless Wix refuses it, and saves it over the older one; what was saved since, by a process
    that knew nothing of that, is later if more time has passed than the clocks differ by;
15. a login that fails, is abandoned or is another one's changes nothing, and one whose code was exchanged is not lost,
    also if its caller leaves; whose cart it was before is known. After a logout the tokens are gone, whatever came of
    it, and no process renews them. No new visitor is asked for where one is stored. A checkout leads to the own cart.

Here are those that follow from the tokens alone, as functions that yield what is wrong; the others stand where the
thing can be seen: 2, 3, 5 and 14 in ``watch``, 4 in ``shopper``, 7 and 9 in ``life`` and ``world``, 10 to 13 in
``site``, 15 in ``logins`` and ``logouts``.
"""

from __future__ import annotations

import traceback
from collections.abc import Iterator

from wixvisitor import EMPTY_TOKENS, TokenRole, Tokens, WixVisitorError

from .wix import WixModel

Wrong = tuple[int, str]
"""The invariant's number, and what is wrong."""

_TOKEN_TEXT = "JWS."  # every token has it, and nothing else
_END = 20  # characters of a token, which nobody guesses


class Violation(AssertionError):
    """An invariant does not hold."""

    def __init__(self, number: int, text: str) -> None:
        super().__init__(f"invariant {number}: {text}")
        self.number = number


def may_follow(old: Tokens, new: Tokens, wix: WixModel, policy: str) -> Iterator[Wrong]:
    """Invariants 1 and 6: who comes after whom, unless the app set other tokens."""
    before, after = (wix.identity(tokens.access_token.value) for tokens in (old, new))
    if before is None or after is None:
        return
    if before == after:
        yield from _are_newer(old, new, wix)
    elif old.refresh_token.value not in wix.refused:
        yield 1, f"{wix.name(after)} replaces {wix.name(before)}, whom Wix has not refused"
    elif old.refresh_token.role is TokenRole.MEMBER and policy != "new_visitor":
        yield 6, f"the member {wix.name(before)} becomes the visitor {wix.name(after)}"


def _are_newer(old: Tokens, new: Tokens, wix: WixModel) -> Iterator[Wrong]:
    before, after = (wix.grants[tokens.access_token.value].serial for tokens in (old, new))
    if after < before:
        yield 6, f"tokens of grant {after} replace those of grant {before}"


def belong_together(tokens: Tokens, wix: WixModel) -> Iterator[Wrong]:
    """Invariant 6: an access token stands with the refresh token that came with it, or a later one."""
    grant = wix.grants.get(tokens.access_token.value)
    if grant is None or tokens.refresh_token == EMPTY_TOKENS.refresh_token:
        return
    kept, granted = (wix.refresh_serials.get(value, 0) for value in (tokens.refresh_token.value, grant.refresh_token))
    if kept < granted:
        yield 6, f"keeps refresh token {kept}, though grant {grant.serial} brought {granted}"


def is_ones_own(error: BaseException, earlier: list[BaseException], wix: WixModel) -> Iterator[Wrong]:
    """Invariants 4 and 8: an error was raised to nobody else, and holds no secret. It is added to the earlier ones.

    The cause may be shared by all who waited, as long as it has no traceback that each of them would add to.
    """
    if type(error) is WixVisitorError:
        yield 4, f"an error that is of no kind: {error}"
    if holds_token("".join(traceback.format_exception(error)), wix):
        yield 8, f"an exception's traceback holds a token: {type(error).__name__}"
    if any(known is error for known in earlier):
        yield 4, f"one {type(error).__name__} was raised to two callers"
    part: BaseException | None = error
    while part is not None and not any(known is part for known in earlier):
        earlier.append(part)
        part = part.__cause__
    if part is not None and part.__traceback__ is not None:
        yield 4, f"two errors share a {type(part).__name__} that has a traceback"


def holds_token(text: str, wix: WixModel) -> bool:
    """Whether there is a token in this text, or the end of one."""
    secrets = (*wix.grants, *wix.refresh_serials, *wix.secrets)
    return _TOKEN_TEXT in text or any(secret[-_END:] in text for secret in secrets)
