"""Passwords of members: which are accepted, and how they are kept. Pure, but for the salt."""

import hashlib
import hmac
import secrets

from wixvisitor.testing._refusals import validation_error


def hash_of(password: str) -> str:
    """A salted hash, so that a stand-in's file shows no password that is used elsewhere, too. It is a cheap one."""
    salt = secrets.token_hex(16)
    return f"{salt}:{_hashed(password, salt)}"


def matches(password: str, hashed: str) -> bool:
    """Whether this is the hash of this password."""
    salt, _, wanted = hashed.partition(":")
    return bool(wanted) and hmac.compare_digest(_hashed(password, salt), wanted)


def _hashed(password: str, salt: str) -> str:
    raw = password.encode(errors="surrogatepass")  # JSON can hold half surrogate pairs
    return hashlib.scrypt(raw, salt=salt.encode(), n=1024, r=8, p=1).hex()


def checked_password(value: object) -> str:
    """Returns the password.

    Raises:
        Refused: It is missing, or longer than 1,000 characters: 400.

    """
    if not isinstance(value, str) or not 1 <= len(value) <= 1_000:
        raise validation_error("password", "must have 1 to 1,000 characters")
    return value
