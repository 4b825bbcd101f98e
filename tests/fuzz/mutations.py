"""Bends good inputs: wrong types, huge numbers, depth, encodings, doubled keys, cuts. All choices are a ``Random``'s.

The property tests let Hypothesis choose, the fuzzer libFuzzer's seed, and the exhaustive test bends every field.
"""

from __future__ import annotations

import copy
import json
from collections.abc import Iterator
from contextlib import suppress
from random import Random
from typing import Any, Final

from .ends import CANARY, REFRESH_CANARY

_DEEP: Any = json.loads("[" * 60 + "]" * 60)
ATOMS: Final[tuple[Any, ...]] = (
    *(None, True, False, [], {}, [[]], {"value": None}, _DEEP),
    *(0, -1, 1, 1.5, -0.0, 1e11, 1e12, 99_999_999_999, 10**15, 2**63, 10**400, -(10**400)),
    *(1e308, float("inf"), float("-inf"), float("nan")),
    *("", " ", "0", "1e999", "nan", "1" * 400, "٣", "visitor", "member", "none", "null", "{}", "[" * 500),
    *(
        CANARY,
        REFRESH_CANARY,
        f"{CANARY}\r\nX: y",
        "a\nb",
        "\x00",
        "\x7f",
        "é",
        "\ud800",
        "\udfff\ud800",
        "\N{PILE OF POO}",
    ),
    *("x" * 5_000, "..", "a.b", "__proto__", "invalid_client"),
)
TEXTS: Final = tuple(atom for atom in ATOMS if isinstance(atom, str))
_SPLICES: Final = (
    b"",
    b"\n",
    b"\r\n",
    b"\x00",
    b"\xff",
    b"\xef\xbb\xbf",
    b"%",
    b"%00",
    b"\\u0000",
    b":",
    b"@",
    b"]",
    b'"',
    b";",
)
Way = tuple[str | int, ...]


def mutated(random: Random, data: bytes) -> bytes:
    """Returns the input with something else in it."""
    head, value = _split(data)
    if value is None or random.random() < 0.2:
        return _spliced(random, data)
    for _ in range(random.randint(1, 3)):
        value = bent(value, random.choice(list(paths(value))), random.choice(ATOMS))
    return head + written(random, value)


def each_field(data: bytes) -> Iterator[bytes]:
    """Returns the input with each of its fields replaced by each atom, and once without that field."""
    head, value = _split(data)
    for path in paths(value):
        for atom in ATOMS:
            yield head + _dumped(bent(value, path, atom))
        if path:
            yield head + _dumped(_without(value, path))


def paths(value: Any, path: Way = ()) -> Iterator[Way]:
    """Returns the way to every value in a value, itself included. What is JSON in a text counts as in it."""
    yield path
    inner = _inner(value)
    if isinstance(inner, dict | list) and len(path) < 12:
        for key in list(inner) if isinstance(inner, dict) else range(len(inner)):
            yield from paths(inner[key], (*path, key))


def bent(value: Any, path: Way, atom: Any) -> Any:
    """Returns a copy with this value instead of what was at the path."""
    if not path:
        return copy.copy(atom)
    inner, (key, *rest) = _inner(value), path
    twin = copy.copy(inner)
    twin[key] = bent(inner[key], tuple(rest), atom)
    return _dumped(twin).decode() if isinstance(value, str) else twin


def written(random: Random, value: Any) -> bytes:
    """Returns the value as JSON, in one of the ways in which that can be written, or cut off."""
    data = _dumped(value, ensure_ascii=random.random() < 0.5)
    return random.choice((_plain, _plain, _plain, *_WAYS))(random, data)


def _plain(random: Random, data: bytes) -> bytes:
    return data


def _in_another_encoding(random: Random, data: bytes) -> bytes:
    text = data.decode("utf-8", "surrogatepass")
    return text.encode(random.choice(("utf-8-sig", "utf-16", "utf-16-be", "utf-32", "utf-7")), "replace")


def _cut_off(random: Random, data: bytes) -> bytes:
    return data[: random.randrange(len(data) + 1)]


def _with_keys_twice(random: Random, data: bytes) -> bytes:
    return data.replace(b"{", b'{"value": 1, "format": 2, "key": "k", ', 1)  # the last one of a key counts


def _escaped(random: Random, data: bytes) -> bytes:
    return data.replace(b"JWS.", b"\\u004aWS\\u002e").replace(b"eyJ", b"\\u0065yJ")


def _between(random: Random, data: bytes) -> bytes:
    before = random.choice((b" \n", b"\xef\xbb\xbf", b"//\n", b")]}'\n"))
    return before + data + random.choice((b"", b" ", b"}", b"\x00"))


def _deep(random: Random, data: bytes) -> bytes:
    depth = random.choice((10, 900, 995, 5_000))
    return b"[" * depth + data + b"]" * depth


_WAYS: Final = (_in_another_encoding, _cut_off, _with_keys_twice, _escaped, _between, _deep)


def _split(data: bytes) -> tuple[bytes, Any]:
    """Returns what stands before the JSON of an input, and the JSON; None if there is none."""
    start = min((at for at in (data.find(b"{"), data.find(b"[")) if at >= 0), default=-1)
    if start >= 0:
        with suppress(ValueError, RecursionError):
            return data[:start], json.loads(data[start:].decode("utf-8", "surrogatepass"))
    return data, None


def _spliced(random: Random, data: bytes) -> bytes:
    """Returns the bytes with a piece cut out, and something else put in."""
    start = random.randrange(len(data) + 1)
    end = random.choice((start, min(len(data), start + 1), random.randint(start, len(data))))
    text = random.choice(TEXTS).encode("utf-8", "surrogatepass")
    return data[:start] + random.choice((text, random.choice(_SPLICES), data[start:end] * 2)) + data[end:]


def _without(value: Any, path: Way) -> Any:
    inner, (key, *rest) = _inner(value), path
    twin = copy.copy(inner)
    if rest:
        twin[key] = _without(inner[key], tuple(rest))
    else:
        del twin[key]
    return _dumped(twin).decode() if isinstance(value, str) else twin


def _inner(value: Any) -> Any:
    if isinstance(value, str) and value[:1] in ("{", "["):
        with suppress(ValueError, RecursionError):
            return json.loads(value)
    return value


def _dumped(value: Any, *, ensure_ascii: bool = True) -> bytes:
    return json.dumps(value, ensure_ascii=ensure_ascii, separators=(",", ":")).encode("utf-8", "surrogatepass")
