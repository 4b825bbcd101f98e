"""Wix's GraphQL endpoint: its request and its answer. Pure.

The request is ``POST /graphql/alpha`` with ``{"query", "variables"}``, as in ``@wix/sdk`` 1.21.16
(``build/graphql.js``). An answer with GraphQL errors has status 200.
"""

from __future__ import annotations

from typing import Any, Final

import attrs

from wixvisitor._wire.json_text import parsed_object
from wixvisitor.errors import WixAPIError

GRAPHQL_PATH: Final = "/graphql/alpha"  # @wix/sdk's default apiVersion


@attrs.frozen
class GraphQLResult:
    """A GraphQL answer.

    Attributes:
        data: the data; ``{}`` if the answer has none, as in @wix/sdk.
        errors: the errors, each a dict. An answer with errors has status 200.
    """

    data: dict[str, Any]
    errors: list[dict[str, Any]] = attrs.field(factory=list)


def graphql_body(query: str, variables: dict[str, Any] | None, operation_name: str | None = None) -> dict[str, Any]:
    """Returns the JSON body of a GraphQL call. Arguments that are None are left out, as ``JSON.stringify`` does."""
    body = {"query": query, "variables": variables, "operationName": operation_name}
    return {name: value for name, value in body.items() if value is not None}


def read_graphql(status_code: int, body: bytes) -> GraphQLResult:
    """Returns the data and the errors of a GraphQL answer.

    Raises:
        WixAPIError: the body is not a GraphQL answer.
    """
    answer = parsed_object(body)
    if answer is None:
        raise WixAPIError("the body is not a GraphQL answer", status_code=status_code)
    data, errors = answer.get("data"), answer.get("errors")
    found = errors if isinstance(errors, list) else []
    return GraphQLResult(data if isinstance(data, dict) else {}, [error for error in found if isinstance(error, dict)])
