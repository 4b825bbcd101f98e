"""The shop's command line."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from examples.shop.settings import KEYS, Settings
from wixvisitor.cookies import IdCookie, SealedCookie, SharedCookie
from wixvisitor.storage import MemoryStorage
from wixvisitor.storage.redis import RedisStorage
from wixvisitor.storage.sqlalchemy import SQLAlchemyStorage
from wixvisitor.storage.sqlite import SQLiteStorage

posix = pytest.mark.skipif(sys.platform == "win32", reason="modes are POSIX's")


@pytest.fixture(autouse=True)
def no_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in (KEYS, "WIX_CLIENT_ID"):
        monkeypatch.delenv(name, raising=False)


@posix
def test_the_key_is_kept_beside_the_file_of_sqlite(tmp_path: Path):
    """Only its owner may read it, and the next start finds it."""
    store = f"sqlite:{tmp_path / 'visitors.db'}"
    first, second = Settings.parse(["--store", store]), Settings.parse(["--store", store])
    assert first.keys == second.keys
    assert (tmp_path / "visitors.db.key").stat().st_mode & 0o777 == 0o600


@posix
def test_a_key_that_others_can_read_is_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    """It may be known already."""
    (tmp_path / "visitors.db.key").write_text("x", "utf-8")
    (tmp_path / "visitors.db.key").chmod(0o644)
    with pytest.raises(SystemExit):
        Settings.parse(["--store", f"sqlite:{tmp_path / 'visitors.db'}"])
    assert "others can read this key" in capsys.readouterr().err


def test_a_key_made_for_one_start_is_warned_of(capsys: pytest.CaptureFixture[str]):
    """Its visitors are lost at the next; the key itself is neither printed nor in a repr."""
    settings = Settings.parse([])
    said = capsys.readouterr().err
    assert "lost at the next" in said
    assert settings.keys not in said + repr(settings)


def test_keys_of_the_environment_win(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]):
    """Nothing is said, nothing made."""
    monkeypatch.setenv(KEYS, "one,two")
    assert Settings.parse(["--store", "sealed"]).keys == "one,two"
    assert capsys.readouterr().err == ""


@pytest.mark.parametrize(
    ("store", "storage", "cookie"),
    [
        ("memory", MemoryStorage, IdCookie),
        ("sqlite:{}", SQLiteStorage, IdCookie),
        ("redis:localhost:6379/0", RedisStorage, IdCookie),
        ("redis:redis://localhost:6379/0", RedisStorage, IdCookie),
        ("postgresql+psycopg://u:pw@localhost/shop", SQLAlchemyStorage, IdCookie),
        ("sqlite:///{}", SQLAlchemyStorage, IdCookie),
        ("sealed", type(None), SealedCookie),
        ("shared:session", type(None), SharedCookie),
    ],
)
def test_each_store_has_its_cookie(tmp_path: Path, store: str, storage: type, cookie: type):
    """Tokens are in the store or in the cookie; both survive the way to a worker process."""
    settings = Settings.parse(["--store", store.format(tmp_path / "visitors.db")])
    again = Settings.from_environment(settings.to_environment())
    for each in (settings, again):
        assert type(each.storage()) is storage
        assert type(each.cookie()) is cookie
        assert not each.cookie().name.startswith("__Host-")
        assert "u:pw" not in repr(each)
    assert again == settings


def test_the_origin_is_where_wix_leads_back_to():
    """It follows the port; with https cookies are for https; a worker process knows it, too."""
    plain, secure = Settings.parse(["--port", "8123"]), Settings.parse(["--origin", "https://shop.example"])
    assert (plain.origin, plain.secure) == ("http://127.0.0.1:8123", False)
    assert (secure.origin, secure.secure) == ("https://shop.example", True)
    assert Settings.from_environment(secure.to_environment()) == secure


def test_a_shared_cookie_has_keys_for_logins(capsys: pytest.CaptureFixture[str]):
    """They are made at the start without a warning, since no visitor is lost with them."""
    assert Settings.parse(["--store", "shared:wixSession"]).keys
    assert capsys.readouterr().err == ""


@pytest.mark.parametrize(
    "arguments",
    [
        ["--workers", "2"],
        ["--store", "shelf"],
        ["--origin", "https://shop.example/shop"],
        ["--origin", "http://shop.example"],
        ["--origin", "shop.example"],
    ],
)
def test_what_cannot_be_served_is_refused(arguments: list[str]):
    """Processes share no memory, a shelf is no store, and Wix leads back to an origin with https or on this machine."""
    with pytest.raises(SystemExit):
        Settings.parse(arguments)
