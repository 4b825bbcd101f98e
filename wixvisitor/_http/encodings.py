"""Decompresses an answer's body. Gateways compress answers even if the request does not allow it. Pure.

A browser reads such an answer, so this library does, too (RFC 9110 section 8.4). A body is never decompressed beyond
a limit. Some gateways decompress a body and leave the ``Content-Encoding`` header, so a body that does not match its
header is used as it is.
"""

from __future__ import annotations

import functools
import importlib
import zlib
from collections.abc import Callable
from typing import Any, Final

_MAX_ENCODINGS: Final = 5  # encodings of one body, as in curl; each may need as much memory as the limit
_PLAIN: Final = ("", "identity")

Decoder = Callable[[bytes, int], bytes]


def names_of(content_encoding: str) -> list[str]:
    """Returns the encodings in a ``Content-Encoding`` header in the order of decoding: the last one first."""
    names = (name.strip().lower() for name in content_encoding.split(","))
    return [name for name in names if name not in _PLAIN][::-1]


def decoded(body: bytes, content_encoding: str, limit: int) -> tuple[bytes, bool] | None:
    """Returns the decompressed body, and whether it was cut at the limit.

    Args:
        body: the body as it was received.
        content_encoding: the header's value; ``""`` if there is none.
        limit: the largest number of bytes to return.

    Returns:
        None if the body cannot be decompressed: an encoding is not supported, or the body does not match the header.
    """
    names = names_of(content_encoding)
    decoders = [_decoder_of(name) for name in names]
    if len(decoders) > _MAX_ENCODINGS:
        return None
    for decode in decoders:
        if decode is None:
            return None
        try:
            body = decode(body, limit + 1)
        except Exception:  # each library has errors of its own
            return None
        if len(body) > limit:
            return body[:limit], True
    return body, False


def is_text(body: bytes) -> bool:
    """Whether this is UTF-8. A compressed body is practically never valid UTF-8."""
    try:
        body.decode()
    except UnicodeDecodeError:
        return False
    return True


@functools.cache
def _decoder_of(name: str) -> Decoder | None:
    """Returns the function that undoes this encoding; None if it is unknown or its library is not installed."""
    match name:
        case "gzip" | "x-gzip":
            return functools.partial(_inflated, window=zlib.MAX_WBITS | 16)
        case "deflate":
            return _deflated
        case "br":
            return _brotli_decoder()
        case "zstd":
            return _zstd_decoder()
    return None


def _inflated(body: bytes, most: int, *, window: int) -> bytes:
    return zlib.decompressobj(window).decompress(body, most)


def _deflated(body: bytes, most: int) -> bytes:
    """Decodes ``deflate``: zlib's format (RFC 9110 section 8.4.1.2), or raw deflate, which some servers send."""
    try:
        return _inflated(body, most, window=zlib.MAX_WBITS)
    except zlib.error:
        return _inflated(body, most, window=-zlib.MAX_WBITS)


def _brotli_decoder() -> Decoder | None:
    brotli = _installed("brotli", "brotlicffi")
    if brotli is None:
        return None
    name = "process" if hasattr(brotli.Decompressor, "process") else "decompress"
    try:
        getattr(brotli.Decompressor(), name)(b"", output_buffer_limit=1)
    except TypeError:  # up to version 1.1 it has no limit, and a few bytes may decompress to gigabytes
        return None

    def decode(body: bytes, most: int) -> bytes:
        decompressor: Any = brotli.Decompressor()
        take, rest, out = getattr(decompressor, name), body, b""
        while len(out) < most:
            piece: bytes = take(rest, output_buffer_limit=most - len(out))
            rest = b""
            if not piece:
                break
            out += piece
        return out[:most]

    return decode


def _zstd_decoder() -> Decoder | None:
    if (zstd := _installed("compression.zstd", "backports.zstd")) is not None:
        return lambda body, most: zstd.ZstdDecompressor().decompress(body, most)
    if (zstandard := _installed("zstandard")) is None:
        return None

    def decode(body: bytes, most: int) -> bytes:
        decompressor = zstandard.ZstdDecompressor(max_window_size=8 << 20)  # RFC 9659
        read: bytes = decompressor.stream_reader(body).read(most)
        return read

    return decode


def _installed(*names: str) -> Any:
    for name in names:
        try:
            return importlib.import_module(name)
        except ImportError:
            continue
    return None
