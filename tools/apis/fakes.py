"""What ``FakeWix.answer`` needs: the methods' paths, and its types."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from tools.apis.description import Method, Module
from tools.apis.spelling import GENERATED, call, quoted

TYPES = "wixvisitor.testing._api_types"


def full_name(one: Module, method: Method) -> str:
    """Returns ``events.events.query_events``."""
    return f"{one.dotted}.{method.name}"


def method_table(modules: Iterable[Module]) -> Iterator[str]:
    """Yields the module with each method's HTTP method and path."""
    yield f'"""The HTTP methods and paths of the functions of ``wixvisitor.apis``.\n\n{GENERATED}\n"""\n\n'
    yield "METHODS: dict[str, tuple[str, str]] = {\n"
    for one in modules:
        for method in one.methods:
            place = [quoted(method.method), quoted(method.path)]
            yield call(f"{quoted(full_name(one, method))}: ", place, ",", indent="    ", own_line=False)
    yield "}\n"


def typed_answers(modules: tuple[Module, ...]) -> Iterator[str]:
    """Yields the module with the overloads of ``FakeWix.answer``."""
    yield f'"""``FakeWix.answer`` with its types.\n\n{GENERATED}\n"""\n\nfrom __future__ import annotations\n\n'
    yield "from typing import TYPE_CHECKING, Any, Literal, overload\n\n"
    yield "from wixvisitor.testing._answer_controls import AnswerControls, Given\n\nif TYPE_CHECKING:\n"
    names = {one.name.replace("/", "_"): one for one in sorted(modules, key=lambda one: one.name.replace("/", "_"))}
    used = [name for name, one in names.items() if any(method.answer.base in one.own for method in one.methods)]
    shared = [one for one in modules if any(_is_shared(one, method) for method in one.methods)]
    imported = sorted([*used, *(["shared"] if shared else [])])
    yield f"    from {TYPES} import (\n" + "".join(f"        {name},\n" for name in imported) + "    )\n"
    yield "\n\nclass TypedAnswers(AnswerControls):\n"
    yield '    """Adds answers to the fake."""\n\n    if TYPE_CHECKING:\n'
    for name, one in names.items():
        for method in one.methods:
            yield "\n        @overload\n        def answer(\n            self,\n"
            yield f"            name: Literal[{quoted(full_name(one, method))}],\n"
            yield f"            body: Given[{_body(one, name, method)}],\n        ) -> None: ...\n"
    yield "\n    def answer(self, name: str, body: Any) -> None:\n"
    yield '        """Answers every further call of a method with this body, until another one replaces it.\n\n'
    yield "        Args:\n            name: The function below ``wixvisitor.apis``: ``events.events.query_events``.\n"
    yield "            body: The answer, in REST's shape. Any key may be left out. Or a function that\n"
    yield "                returns the answer to a call: for pages, or for answers that depend on the caller.\n\n"
    yield "        Raises:\n            ValueError: There is no such function.\n\n"
    yield '        """\n        self._answer_with(name, body)\n'


def _is_shared(one: Module, method: Method) -> bool:
    return method.answers and method.answer.base not in one.own


def _body(one: Module, name: str, method: Method) -> str:
    if not method.answers:
        return "dict[str, Any]"
    return f"{'shared' if _is_shared(one, method) else name}.{method.answer.base}"
