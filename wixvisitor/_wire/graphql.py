"""Wix's GraphQL endpoint: its request and its answer. Pure.

``POST /graphql/alpha`` with ``{"query", "variables"}``, as ``@wix/sdk`` 1.21.16 sends it (``build/graphql.js``); errors
come with status 200.
"""

from __future__ import annotations

import json
from typing import Any, Final

import attrs

from wixvisitor.errors import WixAPIError

GRAPHQL_PATH: Final = "/graphql/alpha"  # @wix/sdk's default apiVersion


@attrs.frozen
class GraphQLResult:
    """A GraphQL answer.

    Attributes:
        data: the data, ``{}`` if there is none, as in @wix/sdk.
        errors: the errors, each a dict; GraphQL reports them with status 200.
    """

    data: dict[str, Any]
    errors: list[dict[str, Any]] = attrs.field(factory=list)


def graphql_body(query: str, variables: dict[str, Any] | None, operation_name: str | None = None) -> dict[str, Any]:
    """Returns the JSON body of a GraphQL call; like ``JSON.stringify``, without what is not there."""
    body = {"query": query, "variables": variables, "operationName": operation_name}
    return {name: value for name, value in body.items() if value is not None}


def read_graphql(status_code: int, body: bytes) -> GraphQLResult:
    """Returns the data and the errors of a GraphQL answer.

    Raises:
        WixAPIError: it is none.
    """
    try:
        answer = json.loads(body)
    except (ValueError, RecursionError):
        answer = None
    if not isinstance(answer, dict):
        raise WixAPIError("a body that is no GraphQL answer", status_code=status_code)
    data, errors = answer.get("data"), answer.get("errors")
    found = errors if isinstance(errors, list) else []
    return GraphQLResult(data if isinstance(data, dict) else {}, [error for error in found if isinstance(error, dict)])
