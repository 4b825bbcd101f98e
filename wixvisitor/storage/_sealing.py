"""Seals bytes into a text and opens it again: AES-256-GCM with key ids. No I/O; the system makes the nonces.

An envelope is ``1.<key id>.<base64url of nonce and ciphertext>``. The purpose, and
a context such as the visitor's key, are authenticated with it but not stored in it: an envelope opens only for the same
purpose and context. A key is good for 2**32 seals.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import os
import re
from collections.abc import Sequence
from contextlib import suppress
from typing import Final

try:
    from cryptography.exceptions import InvalidTag
    from cryptography.hazmat.primitives.ciphers.aead import AESGCM
except ModuleNotFoundError as error:
    if (error.name or "").partition(".")[0] != "cryptography":
        raise
    raise ImportError("sealing needs cryptography: pip install 'wixvisitor[crypto]'", name=error.name) from error

from wixvisitor.errors import ConfigurationError

_VERSION: Final = "1"
_KEY: Final = 32  # bytes
_NONCE: Final = 12  # bytes
_TAG: Final = 16  # bytes
_SOME_VERSION: Final = re.compile(r"[0-9]{1,4}")
_SOME_KEY_ID: Final = re.compile(r"[0-9a-f]{12}")


class NotOpened(Exception):
    """An envelope was not opened. The exception's text holds nothing of its content."""


class UnknownVersion(NotOpened):
    """The envelope has a version that this code does not know; the exception's text is that version."""


class UnknownKey(NotOpened):
    """The envelope was sealed with another key than these; the exception's text is that key's id."""


class Damaged(NotOpened):
    """The text is no envelope, was changed or cut off, or was sealed for another purpose or context."""


class Sealer:
    """Seals with the first key, and opens with any of the keys.

    Args:
        keys: 32 bytes each, as bytes or as base64 or base64url text.
        purpose: the purpose of the envelopes; an envelope does not open for another purpose.

    Attributes:
        key_ids: names of the keys, in the same order. They are derived from the keys and are no secrets.

    Raises:
        ConfigurationError: a key is not valid, or there is no key.

    Concurrency: safe to share between tasks and threads. It takes some microseconds and never waits.
    """

    __slots__ = ("_ciphers", "_deriving_key", "_purpose", "key_ids")

    def __init__(self, keys: Sequence[str | bytes], purpose: str) -> None:
        if isinstance(keys, str | bytes) or not isinstance(keys, Sequence) or not keys:
            raise ConfigurationError("keys: expected a list of keys; the first one seals, all of them open")
        checked = [_checked(key, f"keys[{number}]") for number, key in enumerate(keys)]
        self._ciphers = {_id(key): AESGCM(key) for key in checked}
        self._deriving_key = hmac.digest(min(checked, key=_id), b"wixvisitor: derive", "sha256")
        self._purpose = purpose
        self.key_ids = tuple(self._ciphers)

    def for_purpose(self, purpose: str) -> Sealer:
        """Returns a sealer with the same keys for another purpose."""
        other = object.__new__(Sealer)
        other._ciphers, other._deriving_key, other._purpose = self._ciphers, self._deriving_key, purpose
        other.key_ids = self.key_ids
        return other

    def seal(self, plaintext: bytes, context: tuple[str, ...]) -> str:
        """Returns an envelope, in ASCII. Two envelopes of the same plaintext differ.

        Args:
            plaintext: the bytes to protect.
            context: texts such as the visitor's key; the same texts are needed to open the envelope.
        """
        key_id, nonce = self.key_ids[0], os.urandom(_NONCE)
        sealed = self._ciphers[key_id].encrypt(nonce, plaintext, self._bound(key_id, context))
        return f"{_VERSION}.{key_id}.{_encoded(nonce + sealed)}"

    def open(self, text: str, context: tuple[str, ...]) -> bytes:
        """Returns the plaintext.

        Raises:
            UnknownVersion, UnknownKey, Damaged: it was sealed by other code, with another key, for another context, or
                was changed since.
        """
        version, _, rest = text.partition(".")
        if version != _VERSION:
            raise UnknownVersion(version) if _SOME_VERSION.fullmatch(version) else Damaged
        key_id, _, data = rest.partition(".")
        if key_id not in self._ciphers:
            raise UnknownKey(key_id) if _SOME_KEY_ID.fullmatch(key_id) else Damaged
        sealed = _decoded(data)
        if len(sealed) < _NONCE + _TAG or _encoded(sealed) != data:  # another spelling of the same bytes
            raise Damaged
        try:
            return self._ciphers[key_id].decrypt(sealed[:_NONCE], sealed[_NONCE:], self._bound(key_id, context))
        except InvalidTag:
            raise Damaged from None

    def derive(self, context: tuple[str, ...]) -> str:
        """Returns 256 bits as base64url text, the same for the same context. Without the key they cannot be computed.

        The order of the keys does not matter, so that all processes agree while keys are rotated.
        """
        return _encoded(hmac.digest(self._deriving_key, self._bound("derive", context), "sha256"))

    def __repr__(self) -> str:
        return f"<Sealer for {self._purpose!r}, keys {', '.join(self.key_ids)}>"

    def _bound(self, key_id: str, context: tuple[str, ...]) -> bytes:
        """Returns the bytes that are authenticated as well. Their lengths tell any two contexts apart."""
        texts = (self._purpose, _VERSION, key_id, *context)
        parts = [text.encode("utf-8", "surrogatepass") for text in texts]
        return b"".join(len(part).to_bytes(8, "big") + part for part in parts)


def generate_key() -> str:
    """Returns a new random key, as base64url text."""
    return base64.urlsafe_b64encode(os.urandom(_KEY)).decode()


def _checked(key: object, name: str) -> bytes:
    data = _decoded(key.strip().rstrip("=")) if isinstance(key, str) else key
    if not isinstance(data, bytes) or len(data) != _KEY:
        raise ConfigurationError(
            f"{name}: expected {_KEY} random bytes, or their base64 text (44 characters); generate_key() makes one"
        )
    return data


def _id(key: bytes) -> str:
    return hashlib.sha256(b"wixvisitor key id\0" + key).hexdigest()[:12]


def _encoded(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).decode().rstrip("=")


def _decoded(text: str) -> bytes:
    """Decodes either base64 alphabet without padding; returns no bytes if the text is no base64."""
    with suppress(ValueError):
        return base64.b64decode(text.replace("-", "+").replace("_", "/") + "=" * (-len(text) % 4), validate=True)
    return b""
