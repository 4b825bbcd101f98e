"""Explains failures of Redis to the operator."""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Final

from redis import exceptions

from wixvisitor._wire.redaction import redact
from wixvisitor.errors import StorageError
from wixvisitor.storage._redis_scripts import NOT_OURS

# Searched in the exception's type and text, in this order: older servers wrap a script's error in another one, and
# redis-py has no class for many errors.
_REASONS: Final = tuple(
    (re.compile(pattern), reason)
    for pattern, reason in {
        rf"UnicodeDecodeError|\b(WRONGTYPE|{NOT_OURS})\b": (
            "the stored value is no record of wixvisitor; it was left as it is"
        ),
        r"AuthenticationError|AuthorizationError|\b(NOAUTH|WRONGPASS)\b": (
            "the server refuses the user name or the password; check the URL or the client"
        ),
        r"NoPermissionError|\bNOPERM\b": (
            "the user lacks a permission; it needs EVALSHA, EVAL, EXISTS, HMGET, HEXISTS, HSET, GET, SET, DEL, PTTL, "
            "PEXPIRE and PERSIST on the prefix's keys"
        ),
        r"BusyLoadingError|\bLOADING\b": "the server is still loading its data; wait until it has finished",
        r"OutOfMemoryError|\bOOM\b": ("the server has no memory left and refuses writes; raise its maxmemory"),
        r"ReadOnlyError|\bREADONLY\b": (
            "the server is a read-only replica; give the primary's URL, or wait for the failover"
        ),
        r"\bMISCONF\b": "the server cannot write to its disk and refuses writes; look at its log",
        r"\bNOREPLICAS\b": "the server has fewer replicas than min-replicas-to-write and refuses writes",
        r"ClusterDownError|MasterDownError|SlotNotCoveredError|\b(CLUSTERDOWN|MASTERDOWN)\b": (
            "the cluster is not complete at the moment"
        ),
        r"MaxConnectionsError|Too many connections|No connection available": (
            "all connections of the client are in use; allow more (max_connections), in a BlockingConnectionPool"
        ),
        r"InvalidResponse|Protocol Error": "the server at this address is no Redis server",
        r"unknown command": "the server, or a proxy before it, does not run Lua scripts",
        r"Event loop is closed|different (event )?loop|RuntimeError.*\bloop\b": (
            "the client was made in another event loop; give RedisStorage a URL, and each loop gets its own"
        ),
        r"TimeoutError": "no answer in time",
    }.items()
)


def explained(verb: str, error: Exception, secrets: Iterable[str]) -> StorageError:
    """Returns what is raised instead of this exception, without the secrets."""
    name = type(error).__name__
    # A server that does not know a command repeats its arguments, such as a password or a record.
    text = str(error).partition(", with args beginning")[0]
    unknown = "the server cannot be reached" if isinstance(error, exceptions.ConnectionError | OSError) else name
    reason = next((reason for pattern, reason in _REASONS if pattern.search(f"{name}: {text}")), unknown)
    details = f" ({redact(text, secrets)[:200]})" if text else ""
    return StorageError(f"Redis cannot {verb}: {reason}{details}")
