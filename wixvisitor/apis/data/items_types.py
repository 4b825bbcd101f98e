"""Arguments and answers: data.items. Written by hand, see ``items``."""

from __future__ import annotations

from typing import Any, Literal, TypedDict


class Sorting(TypedDict, total=False):
    """An order of the items."""

    fieldName: str
    order: Literal["ASC", "DESC"]


class Paging(TypedDict, total=False):
    """A page by its place."""

    limit: int
    offset: int


class CursorPaging(TypedDict, total=False):
    """A page by the cursor of the one before."""

    limit: int
    cursor: str


class DataQuery(TypedDict, total=False):
    """Which items, in which order and pages."""

    filter: dict[str, Any]
    sort: list[Sorting]
    fields: list[str]
    paging: Paging
    cursorPaging: CursorPaging


class DataItem(TypedDict):
    """An item. Its fields, ``_id`` and ``_createdDate`` among them, are below ``data``."""

    id: str
    dataCollectionId: str
    data: dict[str, Any]


class Cursors(TypedDict):
    """The cursors of the pages beside."""

    next: str
    prev: str


class PagingMetadata(TypedDict):
    """Where a page stands."""

    count: int
    offset: int
    total: int
    tooManyToCount: bool
    cursors: Cursors
    hasNext: bool


class QueryDataItemsResponse(TypedDict):
    """One page."""

    dataItems: list[DataItem]
    pagingMetadata: PagingMetadata


class GetDataItemResponse(TypedDict):
    """One item."""

    dataItem: DataItem
