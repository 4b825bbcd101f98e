"""Each input, however it is bent, ends in a value or in a typed error; see ``ends``. What fails can be replayed."""

from __future__ import annotations

import zlib
from pathlib import Path
from random import Random
from typing import Any

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from .mutations import ATOMS, TEXTS, each_field, mutated
from .targets import TARGETS

CORPUS = Path(__file__).with_name("corpus")
KEPT = Path(".nox/fuzz")
FILES = [
    pytest.param(name, file, id=f"{name}-{file.stem}")
    for name in TARGETS
    for file in sorted((CORPUS / name).glob("*.seed"))
]
WITH_FIELDS = (
    *("token_json", "token_answer", "jwt_payload", "wix_error", "graphql_answer", "record", "file"),
    *("sqlite_row", "redis_reply", "key_value_entry", "id_cookie", "sealed_cookie"),
)
SLOW = {"sqlite_row": 8, "sqlite_file": 8, "header_value": 3, "file": 2}  # how many times fewer random inputs these get
BENT = 12  # random changes of each corpus file
PIECES = (
    "https://",
    "http://",
    "localhost",
    "127.0.0.1",
    "[::1]",
    "xn--",
    "@",
    ":",
    "/",
    "%41",
    "%",
    "?",
    "#",
    "..",
    "\\",
)
MORE_PIECES = (
    "JWS.",
    "eyJ",
    "=",
    ";",
    '"',
    ",",
    "GMT",
    "Jan",
    "2027",
    "-0000",
    "private",
    "\n",
    "\n\n",
    "200",
    "401",
    "seal:",
    "raw:",
)


def fed(name: str, data: bytes) -> None:
    """Feeds the input to the target. One that is not handled is kept, and the error says how to replay it."""
    try:
        TARGETS[name](data)
    except Exception as error:
        file = KEPT / name / "from-a-test"
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(data)
        error.add_note(f"replay it: python -m tests.fuzz --replay {file} {name}")
        raise


@pytest.mark.parametrize(("name", "file"), FILES)
def test_corpus(name: str, file: Path) -> None:
    """Every interesting input that was kept ends well."""
    fed(name, file.read_bytes())


@pytest.mark.parametrize("name", WITH_FIELDS)
def test_each_field(name: str) -> None:
    """Each field of a good input may be missing, of any other type, huge, deep or no text."""
    inputs = list(each_field((CORPUS / name / "good.seed").read_bytes()))
    assert len(inputs) > 2 * len(ATOMS)
    for data in inputs:
        fed(name, data)


@pytest.mark.parametrize(("name", "file"), FILES)
def test_bent(name: str, file: Path) -> None:
    """Random changes of each corpus file end well: other encodings, doubled keys, cuts, splices, depth."""
    seed = zlib.crc32(f"{name}/{file.stem}".encode())
    random, good = Random(seed), file.read_bytes()
    for _ in range(BENT // SLOW.get(name, 1)):
        fed(name, mutated(random, good))


def anything() -> st.SearchStrategy[bytes]:
    """Bytes, texts with lone surrogates, and texts made of pieces that mean something somewhere."""
    pieces = st.sampled_from((*PIECES, *MORE_PIECES, *(text for text in TEXTS if len(text) < 500)))
    texts = st.one_of(st.text(), st.lists(st.one_of(pieces, st.text(max_size=3)), max_size=8).map("".join))
    return st.one_of(st.binary(), texts.map(lambda text: text.encode("utf-8", "surrogatepass")))


@pytest.mark.parametrize("name", [pytest.param(name, id=name) for name in TARGETS])
def test_anything(name: str) -> None:
    """Whatever the bytes are, the target ends well."""

    @settings(
        max_examples=40 // SLOW.get(name, 1),
        deadline=None,
        derandomize=True,
        database=None,
        suppress_health_check=list(HealthCheck),
    )
    @given(data=anything())
    @example(data=b"")
    def search(data: Any) -> None:
        fed(name, data)

    search()
