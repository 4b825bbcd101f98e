"""aiohttp's failures in httpx's words. Pure. Needs the extra ``aiohttp``.

The new error never refers to the old one: aiohttp's hold the request's headers, tokens included, in their ``repr``.
"""

from __future__ import annotations

from types import ModuleType
from typing import Any, Final

import aiohttp

# The first that fits. https://docs.aiohttp.org/en/stable/client_reference.html#hierarchy-of-exceptions
_NAMES: Final[tuple[tuple[tuple[type[BaseException], ...], str], ...]] = (
    ((aiohttp.ConnectionTimeoutError,), "ConnectTimeout"),
    ((aiohttp.ServerTimeoutError, TimeoutError), "ReadTimeout"),
    ((aiohttp.ClientProxyConnectionError, aiohttp.ClientHttpProxyError), "ProxyError"),
    ((aiohttp.ClientConnectorError, aiohttp.ServerFingerprintMismatch), "ConnectError"),
    ((aiohttp.ServerDisconnectedError,), "RemoteProtocolError"),
    ((aiohttp.ClientConnectionResetError,), "WriteError"),
    ((aiohttp.NonHttpUrlClientError, aiohttp.InvalidURL), "UnsupportedProtocol"),
    ((aiohttp.ClientPayloadError, aiohttp.ClientResponseError), "RemoteProtocolError"),
    ((aiohttp.ClientError, OSError), "ReadError"),
    ((ValueError,), "LocalProtocolError"),  # a header or a method that HTTP has not
)
_HIDDEN: Final = (aiohttp.ClientResponseError, ValueError)  # their text may quote headers


def httpx_error(error: BaseException, family: ModuleType, request: Any) -> Exception | None:
    """Returns httpx's (or httpx2's) exception for what aiohttp raised, None if it has no word for it."""
    for kinds, name in _NAMES:
        if isinstance(error, kinds):
            kind = type(error).__name__
            if isinstance(error, _HIDDEN) and not isinstance(error, aiohttp.InvalidURL):
                text = f"{kind}: {getattr(error, 'message', '')}".rstrip(": ")
            else:
                text = str(error) or kind
            mapped: Exception = getattr(family, name)(text, request=request)
            return mapped
    return None
