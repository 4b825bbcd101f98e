"""Checks tokens, keys and the client ID, which come from the application, before they are used. Pure."""

from __future__ import annotations

import re
from typing import Any, Final, NoReturn, SupportsIndex

from wixvisitor._tokens import RefreshToken, Tokens
from wixvisitor._wire.token_endpoint import is_header_safe
from wixvisitor.errors import ConfigurationError

# Wix answers any other text with "appId is not a valid GUID". The case of the letters is kept.
_GUID: Final = "[0-9A-Fa-f]{8}(-[0-9A-Fa-f]{4}){3}-[0-9A-Fa-f]{12}"


def checked_client_id(client_id: Any) -> str:
    """Returns the client ID, as it was written.

    Raises:
        ConfigurationError: it is no GUID. The text says where to find the client ID, and does not quote the value.
    """
    if not isinstance(client_id, str) or re.fullmatch(_GUID, client_id) is None:
        raise ConfigurationError(
            "client_id: expected a GUID, like 5e9c1d0a-7c1e-4a52-9d5e-1f2a3b4c5d6e. Wix shows it in the dashboard of "
            "the site: Settings, Headless Settings, the OAuth app of this program"
        )
    return client_id


def is_empty(tokens: Tokens | None) -> bool:
    """Whether there is neither an access token nor a refresh token."""
    return tokens is None or not (tokens.access_token.value or tokens.refresh_token.value)


def checked_tokens(tokens: Any) -> Tokens:
    """Returns the tokens.

    Raises:
        ConfigurationError: they are no ``Tokens``, or hold characters that a header cannot carry.
    """
    if not isinstance(tokens, Tokens):
        raise ConfigurationError("tokens: expected Tokens; Tokens.from_dict or from_json reads those of @wix/sdk")
    if not is_header_safe(tokens.access_token.value):
        raise ConfigurationError("tokens: the access token holds characters that no token has")
    checked_refresh(tokens.refresh_token)
    return tokens


def checked_refresh(refresh_token: Any) -> RefreshToken:
    """Returns the refresh token.

    Raises:
        ConfigurationError: it is no refresh token, or holds characters that no token has.
    """
    if not isinstance(refresh_token, RefreshToken):
        raise ConfigurationError("refresh_token: expected a RefreshToken")
    if not is_header_safe(refresh_token.value):
        raise ConfigurationError("refresh_token: it holds characters that no token has")
    return refresh_token


def checked_key(key: Any) -> str:
    """Returns the key of a record.

    Raises:
        ConfigurationError: it is no text, is empty, or is the key of the catalogue's visitor.
    """
    if not isinstance(key, str) or not key:
        raise ConfigurationError("key: expected a text that names the visitor")
    from wixvisitor._wire.catalog import is_reserved  # noqa: PLC0415 - nothing else needs the catalogue's rules this early

    if is_reserved(key):  # a login in such a session would be one for all browsers
        raise ConfigurationError("key: this one is reserved for the visitor that all browsers share (CatalogVisitor)")
    return key


def checked_retries(retries: Any) -> int:
    """Returns how often a reading call is sent again.

    Raises:
        ConfigurationError: it is no whole number from 0 on.
    """
    if isinstance(retries, bool) or not isinstance(retries, int) or retries < 0:
        raise ConfigurationError("max_retries: expected a whole number from 0 on")
    return retries


class NotCopied:
    """The base of objects that hold locks and connections, and so exist once: no pickle and no copy of them works.

    ``multiprocessing``, process pools and ``copy.deepcopy`` come here.
    """

    __slots__ = ()

    def __reduce_ex__(self, protocol: SupportsIndex) -> NoReturn:
        """Always raises, since a copy would be a second visitor at the same record, or would have no connections.

        Raises:
            TypeError: always.
        """
        name = "VisitorSession" if type(self).__name__ == "RequestVisitor" else type(self).__name__
        raise TypeError(
            f"a {name} cannot be pickled or copied, because it holds locks and connections. Make one in each process, "
            "over the same storage and with the same client ID: storages made from a path or a URL can be pickled"
        )
