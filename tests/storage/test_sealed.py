"""SealedStorage: the contract over three kinds of stores, what does not open, rotation, and a visitor's whole life."""

from __future__ import annotations

import base64
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from hypothesis import given
from hypothesis import strategies as st

import wixvisitor
from tests.stores import PlainStorage
from wixvisitor import ConfigurationError, StorageError, VisitorSession
from wixvisitor.storage import (
    ANY_VERSION,
    ConditionalStorage,
    FileStorage,
    LeasingStorage,
    MemoryStorage,
    Record,
    TokenStorage,
    VersionConflict,
)
from wixvisitor.storage._sealing import Damaged, NotOpened, Sealer, UnknownKey, UnknownVersion, generate_key
from wixvisitor.storage.sealed import SealedStorage
from wixvisitor.testing import FakeWix, StorageContract

pytestmark = pytest.mark.anyio

KEY = "client:default"
OTHER = "client:other"
OLD = SealedStorage.generate_key()
NEW = SealedStorage.generate_key()
SECRET = '{"refreshToken":{"value":"JWS.header.classified.signature"}}'


class Sealed(StorageContract):
    """A sealed store, opened again over the same records and with a key list of its own."""

    async def make_inner(self) -> TokenStorage:
        raise NotImplementedError

    async def make_storage(self) -> SealedStorage:
        return SealedStorage(await self.make_inner(), keys=[NEW])

    async def reopen(self, storage: TokenStorage) -> SealedStorage:
        assert isinstance(storage, SealedStorage)
        return SealedStorage(storage._inner, keys=[NEW, OLD])


class TestOverMemory(Sealed):
    async def make_inner(self) -> MemoryStorage:
        return MemoryStorage()


class TestOverLeast(Sealed):
    async def make_inner(self) -> PlainStorage:
        return PlainStorage()


class TestOverFiles(Sealed):
    @pytest.fixture(autouse=True)
    def _place(self, tmp_path: Path) -> None:
        self.place = f"{tmp_path / 'visitors'}/"

    async def make_inner(self) -> FileStorage:
        return FileStorage(self.place)

    async def reopen(self, storage: TokenStorage) -> SealedStorage:
        return SealedStorage(FileStorage(self.place), keys=[NEW])


class TestOverSealed(Sealed):
    async def make_inner(self) -> SealedStorage:
        return SealedStorage(MemoryStorage(), keys=[OLD])


# What it can do


class Closable(PlainStorage):
    """It can be closed, and lends without comparing."""

    closed = 0

    async def aclose(self) -> None:
        self.closed += 1

    async def acquire_lease(self, key: str, holder: str, seconds: float) -> float:
        return 0.0 if (key, holder, seconds) == (KEY, "a", 1.5) else 9.0

    async def release_lease(self, key: str, holder: str) -> None:
        self.texts[key] = holder


class Conditional(PlainStorage):
    """It compares and sets through keywords, lends nothing, and cannot be closed."""

    async def save(self, key: str, value: str, **condition: Any) -> str:  # type: ignore[override]
        self.texts[key] = Record(value, f"version {condition['expected']}")
        return f"version {condition['expected']}"


class Unsigned(PlainStorage):
    """Nobody can tell what its ``save`` takes."""

    class Save:
        __signature__ = "unknown"

        async def __call__(self, key: str, value: str) -> None:
            raise AssertionError

    save = Save()  # type: ignore[assignment]


@pytest.mark.parametrize(
    ("inner", "conditional", "leases", "closable"),
    [
        (PlainStorage(), False, False, False),
        (Unsigned(), False, False, False),
        (Closable(), False, True, True),
        (Conditional(), True, False, False),
        (MemoryStorage(), True, True, False),
    ],
    ids=lambda one: type(one).__name__,
)
async def test_can_do_what_the_inner_store_can(inner, conditional, leases, closable, client_id):
    """A session finds compare-and-set, leases and closing exactly where the inner store has them."""
    storage = SealedStorage(inner, keys=[NEW])
    settings = VisitorSession(client_id, storage=storage)._settings
    assert isinstance(storage, TokenStorage)
    assert settings.conditional is conditional
    assert (settings.leases is storage) is leases
    assert isinstance(storage, LeasingStorage) is leases
    assert hasattr(storage, "acquire_lease") is hasattr(storage, "release_lease") is leases
    assert hasattr(storage, "aclose") is closable
    if not conditional:
        with pytest.raises(TypeError):
            await storage.save(KEY, "value", expected=None)


async def test_passes_everything_on():
    """Keys, versions, conditions, holders and closing reach the inner store unchanged."""
    inner = Conditional()
    storage = SealedStorage(inner, keys=[NEW])
    assert await storage.save(KEY, "value", expected="7") == "version 7"
    assert await storage.load(KEY) == Record("value", "version 7")
    assert await storage.save(KEY, "value") == f"version {ANY_VERSION}"
    lending = Closable()
    sealed = SealedStorage(lending, keys=[NEW])
    assert isinstance(sealed, LeasingStorage)
    assert await sealed.acquire_lease(KEY, "a", 1.5) == 0.0
    assert await sealed.acquire_lease(KEY, "b", 1.5) == 9.0
    await sealed.release_lease(KEY, "b")
    assert lending.texts == {KEY: "b"}
    await sealed.delete(KEY)
    assert lending.texts == {}
    await sealed.aclose()
    await sealed.aclose()
    assert lending.closed == 2


async def test_a_store_without_records_keeps_texts():
    """Where the inner store returns plain texts, so does this one."""
    storage = SealedStorage(PlainStorage(), keys=[NEW])
    await storage.save(KEY, "value")
    assert await storage.load(KEY) == "value"
    assert await storage.load(OTHER) is None


async def test_a_conflict_is_the_inner_stores():
    """A save that lost is a VersionConflict, and the record stays."""
    inner = MemoryStorage()
    storage = SealedStorage(inner, keys=[NEW])
    assert isinstance(storage, ConditionalStorage)
    version = await storage.save(KEY, "first", expected=None)
    with pytest.raises(VersionConflict):
        await storage.save(KEY, "second", expected=None)
    assert await storage.load(KEY) == Record("first", version)


@pytest.mark.parametrize("text", ["\ud800", "a\udfffb", "\ud83d\ude00", "\x00", "Zoë 🛒"])
async def test_any_text_comes_back(text):
    """Values and keys are any Python text, lone surrogates and pairs of them included."""
    storage = SealedStorage(PlainStorage(), keys=[NEW])
    await storage.save(text, text)
    assert await storage.load(text) == text


async def test_what_is_kept():
    """The inner store sees a text of ASCII that says what it is, differs each time, and holds nothing readable."""
    inner = PlainStorage()
    storage = SealedStorage(inner, keys=[NEW])
    await storage.save(KEY, SECRET)
    first = inner.texts[KEY]
    await storage.save(KEY, SECRET)
    mark, version, key_id, data = inner.texts[KEY].split(".")
    assert (mark, version, key_id) == ("wixvisitor-sealed", "1", storage._sealer.key_ids[0])
    assert inner.texts[KEY].isascii()
    assert first != inner.texts[KEY]
    assert b"classified" not in base64.urlsafe_b64decode(data + "===")
    assert len(data) < (len(SECRET) + 28) * 4 / 3 + 1


async def test_what_others_read_of_it():
    """The envelope is plain AES-256-GCM, as documented: another program with the key opens it."""
    inner, key = PlainStorage(), os.urandom(32)
    await SealedStorage(inner, keys=[key]).save(KEY, SECRET)
    _, version, key_id, data = inner.texts[KEY].split(".")
    sealed = base64.urlsafe_b64decode(data + "=" * (-len(data) % 4))
    texts = [text.encode() for text in ("wixvisitor record", version, key_id, KEY)]
    bound = b"".join(len(text).to_bytes(8, "big") + text for text in texts)
    assert AESGCM(key).decrypt(sealed[:12], sealed[12:], bound).decode() == SECRET


# What does not open


async def unopened(storage: SealedStorage, inner: PlainStorage, says: str) -> None:
    """Loading fails with these words, shows nothing of the record, and leaves it in place."""
    before = dict(inner.texts)
    with pytest.raises(StorageError, match=says) as caught:
        await storage.load(KEY)
    assert "left as it is" in str(caught.value) or "left as it was" in str(caught.value)
    assert "classified" not in str(caught.value)
    assert caught.value.__cause__ is None
    assert inner.texts == before


async def sealed_in(inner: PlainStorage, key: str = OLD) -> str:
    """Saves a record and returns its envelope."""
    await SealedStorage(inner, keys=[key]).save(KEY, SECRET)
    return str(inner.texts[KEY])


async def test_unknown_key():
    """A record of another key names that key and those at hand, and says what to do."""
    inner = PlainStorage()
    key_id = (await sealed_in(inner)).split(".")[2]
    storage = SealedStorage(inner, keys=[NEW])
    await unopened(storage, inner, f"sealed with key {key_id}, but keys has {storage._sealer.key_ids[0]}; put that key")


async def test_another_key_under_the_same_id():
    """A record whose key id was rewritten to one at hand does not open."""
    inner = PlainStorage()
    mark, version, _, data = (await sealed_in(inner)).split(".")
    storage = SealedStorage(inner, keys=[NEW])
    inner.texts[KEY] = ".".join([mark, version, storage._sealer.key_ids[0], data])
    await unopened(storage, inner, "does not open")


async def test_swapped_rows():
    """A record that was moved to another visitor's key opens for nobody."""
    inner = PlainStorage()
    await sealed_in(inner)
    storage = SealedStorage(inner, keys=[OLD])
    await storage.save(OTHER, "another visitor's")
    inner.texts[KEY], inner.texts[OTHER] = inner.texts[OTHER], inner.texts[KEY]
    await unopened(storage, inner, "moved here from another visitor")
    with pytest.raises(StorageError, match="does not open"):
        await storage.load(OTHER)


@pytest.mark.parametrize("cut", [1, 2, 3, 30, 100])
async def test_cut_off(cut):
    """A record whose end is missing does not open."""
    inner = PlainStorage()
    inner.texts[KEY] = (await sealed_in(inner))[:-cut]
    await unopened(SealedStorage(inner, keys=[OLD]), inner, "cut off")


@pytest.mark.parametrize("rest", ["", ".", "1", "1.", "1.0123456789ab", "one.two.three", "1.KEY.x", "-1.x.y", "²"])
async def test_a_mark_and_nothing_behind_it(rest):
    """What only begins like a sealed record does not open."""
    inner = PlainStorage()
    inner.texts[KEY] = f"wixvisitor-sealed.{rest}"
    await unopened(SealedStorage(inner, keys=[OLD]), inner, "does not open|sealed with key 0123456789ab")


@pytest.mark.parametrize("text", ["", SECRET, "{}", "wixvisitor-sealed", SECRET.encode(), Record(SECRET, "7"), 7])
async def test_plaintext(text):
    """A record that was never sealed is not accepted, whatever it is."""
    inner = PlainStorage()
    inner.texts[KEY] = text
    await unopened(SealedStorage(inner, keys=[OLD]), inner, "not sealed .*: load it without SealedStorage")


@pytest.mark.parametrize("version", ["2", "10", "0"])
async def test_unknown_envelope_version(version):
    """A later version's envelope says that wixvisitor is too old for it."""
    inner = PlainStorage()
    mark, _, *rest = (await sealed_in(inner)).split(".")
    inner.texts[KEY] = ".".join([mark, version, *rest])
    await unopened(SealedStorage(inner, keys=[OLD]), inner, f"version {version}; update wixvisitor")


async def test_another_purpose():
    """What was sealed with the same key for something else, a cookie say, is no record."""
    inner = PlainStorage()
    inner.texts[KEY] = "wixvisitor-sealed." + Sealer([OLD], "wixvisitor cookie").seal(SECRET.encode(), (KEY,))
    await unopened(SealedStorage(inner, keys=[OLD]), inner, "does not open")


# Rotation


async def test_rotation():
    """An old record opens with both keys; saved again it opens with the new one alone, and not with the old one."""
    inner = PlainStorage()
    await sealed_in(inner, OLD)
    both, new, old = (SealedStorage(inner, keys=keys) for keys in ([NEW, OLD], [NEW], [OLD]))
    assert await both.load(KEY) == await old.load(KEY) == SECRET
    await unopened(new, inner, "put that key at the end of keys")
    await both.save(KEY, SECRET)
    assert await both.load(KEY) == await new.load(KEY) == SECRET
    await unopened(old, inner, f"sealed with key {new._sealer.key_ids[0]}")


async def test_loading_does_not_seal_again():
    """A record keeps its key until it is saved."""
    inner = PlainStorage()
    before = await sealed_in(inner, OLD)
    await SealedStorage(inner, keys=[NEW, OLD]).load(KEY)
    assert inner.texts[KEY] == before


# Its arguments


@pytest.mark.parametrize("spelling", ["bytes", "base64", "base64url", "without padding", "with a newline", "generated"])
async def test_spellings_of_a_key(spelling):
    """A key is 32 bytes, or their base64 in either alphabet, with or without padding."""
    data = b"\xfb\xff" * 16
    text = base64.b64encode(data).decode()
    keys = {
        "bytes": data,
        "base64": text,
        "base64url": base64.urlsafe_b64encode(data).decode(),
        "without padding": text.rstrip("="),
        "with a newline": f" {text}\n",
        "generated": generate_key(),
    }
    inner = PlainStorage()
    await SealedStorage(inner, keys=[keys[spelling]]).save(KEY, "value")
    opener = keys["generated"] if spelling == "generated" else data
    assert await SealedStorage(inner, keys=(NEW, opener)).load(KEY) == "value"


@pytest.mark.parametrize(
    "key",
    [
        "",
        "classified",
        "classified" * 3 + "é",
        "c" * 32,
        "c" * 42,
        "c" * 45,
        "ab" * 32,
        "c" * 20 + " " + "c" * 23,
        "c" * 20 + "\0" + "c" * 22,
        b"",
        b"c" * 31,
        b"c" * 33,
        b"c" * 44,
        bytearray(32),
        None,
        7,
        ["c"],
    ],
)
def test_no_key(key):
    """Anything but 32 bytes is refused, by its place in the list and without showing it."""
    with pytest.raises(ConfigurationError, match=r"keys\[1\]: expected 32 random bytes") as caught:
        SealedStorage(PlainStorage(), keys=[NEW, key])
    assert "cc" not in str(caught.value)
    assert "classified" not in str(caught.value)
    assert caught.value.__context__ is None


@pytest.mark.parametrize("keys", [(), [], "c" * 44, b"c" * 32, None, {"c" * 44}, iter(["c" * 44])])
def test_no_list_of_keys(keys):
    """The keys are a list with at least one; a single text is not taken for a list of letters."""
    with pytest.raises(ConfigurationError, match="keys: expected a list of keys") as caught:
        SealedStorage(PlainStorage(), keys=keys)
    assert NEW not in str(caught.value)


@pytest.mark.parametrize("inner", [None, "path", PlainStorage, object(), {}])
def test_no_storage(inner):
    """The inner store has load, save and delete, and is no class."""
    with pytest.raises(ConfigurationError, match="inner: expected an object with async load, save and delete"):
        SealedStorage(inner, keys=[NEW])


def test_generated_keys():
    """Each key is new, 32 bytes, and can be spelled with the tools that everybody has."""
    keys = {SealedStorage.generate_key() for _ in range(100)}
    assert len(keys) == 100
    assert {len(base64.urlsafe_b64decode(key)) for key in keys} == {32}


def test_repr_shows_no_key():
    """The repr tells the inner store and the ids of the keys, in their order."""
    data = os.urandom(32)
    storage = SealedStorage(MemoryStorage(), keys=[NEW, data])
    first, second = storage._sealer.key_ids
    assert repr(storage) == f"<SealedStorage over <MemoryStorage of 0 visitors>, keys {first}, {second}>"
    assert repr(storage._sealer) == f"<Sealer for 'wixvisitor record', keys {first}, {second}>"
    assert Sealer([data], "x").key_ids == (second,)
    assert data.hex()[:12] not in repr(storage)


# A visitor's life


@pytest.fixture
def place(tmp_path: Path) -> Path:
    return tmp_path / "visitors"


def everything_in(place: Path) -> bytes:
    return b"\n".join(path.read_bytes() for path in place.rglob("*") if path.is_file())


@pytest.mark.usefixtures("no_backoff")
async def test_a_visitor_with_sealed_files(still: FakeWix, session_of: Callable[..., VisitorSession], place: Path):
    """A visitor is minted, resumed and renewed; the files never hold a token's text."""

    def open_store(*keys: str) -> SealedStorage:
        return SealedStorage(FileStorage(f"{place}/"), keys=keys)

    first = await session_of(storage=open_store(OLD)).generate_visitor_tokens()
    resumed = session_of(storage=open_store(NEW, OLD))
    assert await resumed.generate_visitor_tokens() == first
    assert len(still.token_calls()) == 1
    still.advance(14_401)
    renewed = await resumed.generate_visitor_tokens()
    assert renewed.refresh_token == first.refresh_token
    assert renewed.access_token != first.access_token
    assert await session_of(storage=open_store(NEW)).generate_visitor_tokens() == renewed
    assert len(still.visitors) == 1
    files = everything_in(place)
    assert b"wixvisitor-sealed.1." in files
    for token in (first.access_token, renewed.access_token, first.refresh_token):
        assert not any(part.encode() in files for part in token.value.split(".") if len(part) > 12)


@pytest.mark.parametrize("trouble", ["wrong key", "plaintext", "moved"])
async def test_what_does_not_open_makes_no_visitor(
    still: FakeWix, session_of: Callable[..., VisitorSession], place: Path, trouble: str
):
    """A session whose record does not open raises a StorageError, asks Wix for nothing, and goes on afterwards."""
    plain = FileStorage(f"{place}/")
    right = SealedStorage(plain, keys=[OLD])
    storage = SealedStorage(plain, keys=[NEW]) if trouble == "wrong key" else right
    tokens = await session_of(storage=plain if trouble == "plaintext" else right).generate_visitor_tokens()
    if trouble == "moved":
        first, second = (f"{session_of()._settings.client_id}:{name}" for name in ("default", "second"))
        found = await plain.load(first)
        assert found is not None
        await plain.save(second, found.value)
    still.reset_calls()
    before = everything_in(place)
    session = session_of(storage=storage, key="second" if trouble == "moved" else "default")
    for call in (session.auth_headers, session.generate_visitor_tokens, lambda: session.get("/x")):
        with pytest.raises(StorageError, match=r"sealed|open") as caught:
            await call()
        assert tokens.refresh_token.value not in str(caught.value)
    assert still.calls == []
    assert everything_in(place) == before
    if trouble == "wrong key":
        again = session_of(storage=SealedStorage(plain, keys=[NEW, OLD]))
        assert await again.generate_visitor_tokens() == tokens


# The pure part

texts = st.text(st.characters(codec=None), max_size=20)  # lone surrogates included
contexts = st.lists(texts, max_size=4).map(tuple)
SEALER = Sealer([NEW, OLD], "test")


@given(st.binary(max_size=200), contexts)
def test_sealed_and_opened(data, context):
    """Any bytes come back in any context, and never from two envelopes that are the same."""
    envelope = SEALER.seal(data, context)
    assert SEALER.open(envelope, context) == data
    assert Sealer([OLD, NEW], "test").open(envelope, context) == data
    assert SEALER.seal(data, context) != envelope


@given(st.binary(max_size=50), contexts, st.data())
def test_a_flipped_bit(data, context, draw):
    """An envelope in which any one bit was changed does not open."""
    envelope = SEALER.seal(data, context).encode()
    place = draw.draw(st.integers(0, len(envelope) * 8 - 1))
    changed = bytearray(envelope)
    changed[place // 8] ^= 1 << place % 8
    with pytest.raises(NotOpened):
        SEALER.open(changed.decode("latin-1"), context)


@pytest.mark.parametrize("length", [0, 1, 2])
def test_every_flipped_bit(length):
    """The same for each bit of an envelope, whatever its length leaves in the last base64 digit."""
    envelope = SEALER.seal(b"x" * length, ("a",))
    for number, letter in enumerate(envelope):
        for bit in range(8):
            changed = envelope[:number] + chr(ord(letter) ^ 1 << bit) + envelope[number + 1 :]
            with pytest.raises(NotOpened):
                SEALER.open(changed, ("a",))


@given(contexts, contexts)
def test_another_context(context, other):
    """What was sealed in one context opens in no other."""
    envelope = SEALER.seal(b"data", context)
    if context == other:
        assert SEALER.open(envelope, other) == b"data"
    else:
        with pytest.raises(Damaged):
            SEALER.open(envelope, other)


@pytest.mark.parametrize(
    ("one", "other"),
    [
        (("a", "b"), ("ab",)),
        (("a", "b"), ("ab", "")),
        (("a,b",), ("a", "b")),
        (("\ud83d\ude00",), ("😀",)),
        (("\ud800",), ("?",)),
        (("\ud800",), ("\udfff",)),
        ((), ("",)),
        (("a\0b",), ("a", "b")),
    ],
)
def test_contexts_that_look_alike(one, other):
    """Contexts that a careless encoding would confuse are told apart."""
    with pytest.raises(Damaged):
        SEALER.open(SEALER.seal(b"data", one), other)


@given(st.text(max_size=60) | st.from_regex(r"1\.[0-9a-f]{12}\.[A-Za-z0-9_-]*", fullmatch=True))
def test_no_envelope(text):
    """Whatever text is no envelope is a NotOpened and nothing else."""
    with pytest.raises(NotOpened):
        SEALER.open(text, ())


def test_what_is_raised():
    """The errors name the version and the key id, so that whoever catches them can say what to do."""
    version, key_id, data = SEALER.seal(b"data", ()).split(".")
    assert (version, key_id) == ("1", SEALER.key_ids[0])
    with pytest.raises(UnknownVersion, match=r"^2$"):
        SEALER.open(f"2.{key_id}.{data}", ())
    with pytest.raises(UnknownKey, match=r"^0123456789ab$"):
        SEALER.open(f"1.0123456789ab.{data}", ())
    with pytest.raises(Damaged, match=r"^$"):
        SEALER.open(f"1.{key_id}.{data}=", ())


def test_one_key_twice():
    """A key that is named twice counts once, and the first one still seals."""
    assert Sealer([NEW, OLD, NEW], "test").key_ids == SEALER.key_ids


# Without the extra


def run(program: str) -> str:
    environment = os.environ | {"PYTHONPATH": str(Path(wixvisitor.__file__).parents[1])}
    environment = {name: value for name, value in environment.items() if not name.startswith(("COV_", "COVERAGE_"))}
    command = [sys.executable, "-c", program]
    return subprocess.run(command, capture_output=True, encoding="utf-8", check=True, env=environment).stdout


@pytest.mark.parametrize("module", ["sealed", "_sealing"])
def test_without_cryptography(module):
    """Whoever has no cryptography is told which extra to install."""
    program = (
        "import sys\nsys.modules['cryptography'] = None\n"
        f"try:\n    import wixvisitor.storage.{module}\n"
        "except ImportError as error:\n    print(type(error).__name__, error)"
    )
    assert run(program) == "ImportError sealing needs cryptography: pip install 'wixvisitor[crypto]'\n"


def test_with_a_broken_cryptography():
    """A cryptography that is there and lacks something is not mistaken for a missing one."""
    program = (
        "import sys\nfrom importlib.abc import MetaPathFinder\n"
        "class Broken(MetaPathFinder):\n"
        "    def find_spec(self, name, path, target=None):\n"
        "        if name == 'cryptography': raise ModuleNotFoundError('no backend', name='_cffi_backend')\n"
        "sys.meta_path.insert(0, Broken())\n"
        "try:\n    import wixvisitor.storage.sealed\n"
        "except ImportError as error:\n    print(type(error).__name__, error)"
    )
    assert run(program) == "ModuleNotFoundError no backend\n"
