"""Whether a GraphQL document holds queries only. Needs the extra ``graphql``, since only a parser can tell."""

from __future__ import annotations

import functools
import re
from typing import Any, Final

from wixvisitor._web.catalog_rules import refusal

_MAX: Final = 100_000  # characters
# A comment ends at the end of its line. These characters end a line for some parsers, but not for ours.
_OTHER_LINE_ENDS: Final = re.compile("[\x0b\x0c\x1c-\x1e\x85\u2028\u2029\ufeff]")


@functools.lru_cache(256)
def _kinds(document: str) -> frozenset[str]:
    """Returns the kinds of the document's definitions: "query", "mutation", "subscription", "fragment" or others.

    Raises:
        ValueError: it is no GraphQL document.
    """
    from graphql import (  # noqa: PLC0415 - an extra, imported only where it is used
        FragmentDefinitionNode,
        GraphQLError,
        OperationDefinitionNode,
        parse,
    )

    def kind(definition: Any) -> str:
        if isinstance(definition, OperationDefinitionNode):
            return str(definition.operation.value)
        return "fragment" if isinstance(definition, FragmentDefinitionNode) else str(definition.kind)

    try:
        return frozenset(kind(definition) for definition in parse(document, no_location=True).definitions)
    except (GraphQLError, RecursionError):  # graphql-core before 3.3 does not limit the nesting
        raise ValueError("no GraphQL document") from None


def check_only_queries(document: Any) -> None:
    """Raises unless every operation in the document is a query, and there is one.

    Raises:
        ConfigurationError: it is no such document.
        ImportError: graphql-core is not installed.
    """
    if not isinstance(document, str) or len(document) > _MAX or _OTHER_LINE_ENDS.search(document):
        raise refusal(f"query: expected a GraphQL document, a text of at most {_MAX} plain characters")
    try:
        kinds = _kinds(document)
    except ModuleNotFoundError as error:
        if (error.name or "").partition(".")[0] != "graphql":
            raise
        raise ImportError(
            "graphql of CatalogVisitor needs graphql-core: pip install 'wixvisitor[graphql]'", name=error.name
        ) from error
    except ValueError:
        raise refusal("query: this is no GraphQL document, so its operations cannot be checked") from None
    if "query" not in kinds or kinds - {"query", "fragment"}:
        raise refusal(f"query: the document has to hold queries only, and holds {', '.join(sorted(kinds))}")
