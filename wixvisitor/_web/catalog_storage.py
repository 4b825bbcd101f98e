"""The pool's storage as the catalogue's visitor sees it: a member in its record is left out."""

from __future__ import annotations

import json
from typing import Any

import attrs

from wixvisitor._tasks.log import logger
from wixvisitor._tokens import EMPTY_TOKENS, TokenRole
from wixvisitor._wire.claims import read_claims
from wixvisitor._wire.json_text import parsed_object
from wixvisitor.storage import Record, TokenStorage


class CatalogStorage:
    """The pool's storage, where a record that holds a member reads as one without tokens.

    A new visitor then replaces the member by compare-and-set. So a member that another program wrote into this record,
    at whatever time, is never used for all browsers.

    Concurrency: as the storage's.
    """

    __slots__ = ("_storage",)

    def __init__(self, storage: TokenStorage) -> None:
        self._storage = storage

    async def load(self, key: str) -> Any:
        """Returns the record, None if there is none."""
        record: Any = await self._storage.load(key)
        if isinstance(record, Record):
            return attrs.evolve(record, value=_without_member(record.value))
        return _without_member(record) if isinstance(record, str) else record

    async def save(self, key: str, value: str, **arguments: Any) -> Any:
        """Saves, as the storage does."""
        return await self._storage.save(key, value, **arguments)

    async def delete(self, key: str) -> None:
        """Forgets the record."""
        await self._storage.delete(key)


def _without_member(text: str) -> str:
    """Returns the record's text, with empty tokens in place of a member's. Other texts stay as they are."""
    content = parsed_object(text)
    if content is None or not _is_members(content):
        return text
    logger.warning("wixvisitor: the catalogue's record held a member; a new visitor takes its place")
    return json.dumps({**content, **EMPTY_TOKENS.to_dict()}, separators=(",", ":"))


def _is_members(content: dict[str, Any]) -> bool:
    access, refresh = content.get("accessToken"), content.get("refreshToken")
    if isinstance(refresh, dict) and refresh.get("role") == TokenRole.MEMBER:
        return True
    value = access.get("value") if isinstance(access, dict) else None
    claims = read_claims(value) if isinstance(value, str) else None
    return claims is not None and claims.member_id is not None
