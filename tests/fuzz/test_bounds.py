"""Large inputs take memory in proportion to their size, and time that does not grow with its square.

Inputs repeat one piece: what makes parsers recurse, regular expressions go back, and copies pile up.
"""

from __future__ import annotations

import gc
import time
import tracemalloc

import pytest

from tests.constants import IN_CI

from .targets import TARGETS

SMALL, LARGE = 1 << 17, 1 << 19  # bytes; the second is four times the first
FACTOR, BASE = 64, 2 << 20  # bytes of memory for each byte of input; and for whatever is made once
QUICK, GROWTH = 2.0, 10  # seconds of this process that need no look; a square would take 16 times as long
BEFORE = {
    "token_answer": b"400\n\n",
    "wix_error": b"application/json\n\n",
    "sqlite_row": b"ttr\n1\n9e99\n",
    "redis_reply": b"ltv\n1\n",
    "sealed_record": b"seal:",
    "http_date": b"Mon, ",
    "request_url": b"https://",
    "base_url": b"https://",
}
PIECES = (
    *(b"[", b'{"a":', b"[1,", b"9", b"a", b"\xff", b" ", b"\n", b"%", b"%41", b'"', b"\\u004a", b",", b";", b"=", b":"),
    *(b"JWS.", b"eyJ", b"OauthNG.", b"wixvisitor=a;", b"a@", b"1 Jan ", b"1_", b"a.", b"-b9", b"@["),
)
IN_JSON = ((b'{"message":"', b'"}'), (b'{"a":[', b"0]}"))  # what a piece is put between as well
_PUNYCODE = b"text/plain; charset=punycode\n\n"  # each character moves all that stand behind it
NOT_LARGE = {"sqlite_file": "SQLite reads pages, not the file"}


def shapes(name: str, size: int) -> list[bytes]:
    """The large inputs of a target, of about this many bytes each."""
    before = BEFORE.get(name, b"")
    plain = [before + (piece * (size // len(piece) + 1))[:size] for piece in PIECES]
    texts = [
        before + IN_JSON[0][0] + piece * (size // len(piece)) + IN_JSON[0][1]
        for piece in (b"JWS.a", b"\\u004a", b"eyJ")
    ]
    lists = [before + IN_JSON[1][0] + piece * (size // len(piece)) + IN_JSON[1][1] for piece in (b"1,", b"{},", b"[],")]
    codec = [_PUNYCODE + b"a" * (size // 2) + b"-" + b"b9" * (size // 4)] if name == "wix_error" else []
    return plain + texts + lists + codec


def tried(name: str, size: int) -> list[bytes]:
    """The shapes that a run tries: all of them in CI, else a third, another one for each of three targets."""
    return shapes(name, size)[0 if IN_CI else list(TARGETS).index(name) % 3 :: 1 if IN_CI else 3]


def seconds(name: str, data: bytes) -> float:
    """What the target takes of the processor, the least of two runs; the collector of garbage does not count."""
    spent = []
    gc.disable()
    try:
        for _ in range(2):
            began = time.process_time()
            TARGETS[name](data)
            spent.append(time.process_time() - began)
            if spent[-1] < QUICK:
                break
    finally:
        gc.enable()
    return min(spent)


@pytest.mark.parametrize("name", [name for name in TARGETS if name not in NOT_LARGE])
def test_time(name: str) -> None:
    """Half a megabyte of anything takes a moment, or at least no square of what a quarter of it takes."""
    for small, large in zip(tried(name, SMALL), tried(name, LARGE), strict=True):
        spent = seconds(name, large)
        if spent >= QUICK:
            assert spent < GROWTH * seconds(name, small), f"{large[:40]!r}… takes {spent:.1f} s"


@pytest.mark.parametrize("name", [name for name in TARGETS if name not in NOT_LARGE])
def test_memory(name: str) -> None:
    """What an input takes of the memory at once is in proportion to it."""
    TARGETS[name](b"")  # what is made once
    tracemalloc.start()
    try:
        for data in tried(name, SMALL // 2):
            tracemalloc.reset_peak()
            before, _ = tracemalloc.get_traced_memory()
            TARGETS[name](data)
            _, peak = tracemalloc.get_traced_memory()
            assert peak - before < FACTOR * len(data) + BASE, f"{data[:40]!r}… takes {(peak - before) >> 20} MB"
    finally:
        tracemalloc.stop()
