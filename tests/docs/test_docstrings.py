"""What the docstrings of public names say: arguments, errors, concurrency and cancellation. Nothing is built.

The rules, and why there are exceptions:

- An argument is explained in ``Args``, in a sentence, or by the callable to which the docstring refers. A single
  argument is explained by the name and the first sentence. The arguments of a Wix API are Wix's, and in its reference.
- What is awaited, and what raises by itself, says what it raises, or its class says it for all its methods. A property
  raises nothing. A test of ``StorageContract`` raises ``AssertionError``, as tests do.
- A class with methods says what happens to callers at the same time and to a caller that is cancelled, or its module
  says it for all. Values (frozen, enums, exceptions) have one sentence in docs/reference/index.md.
"""

from __future__ import annotations

import functools
import logging
import re
from collections.abc import Iterable, Iterator

import griffe

from tests.docs.public import Public, documented, labels_of, package, parameters_of, public, written
from tools.site.public import SERVICES

FOR_ALL = re.compile(r"^Raises: \S|[Bb]y every\s+method", re.MULTILINE)  # what a class says for all its methods
# What pytest gives to the methods of StorageContract, and what it calls.
OF_PYTEST = re.compile(r"\.StorageContract\.(test_\w+|storage|conditional|leasing|listing|again|expiring)$")


@functools.cache  # read in the tests, since each worker of pytest-xdist collects them
def everything() -> tuple[Public, ...]:
    return tuple(public())


def callables() -> Iterator[Public]:
    """Yields what can be called, but not what the site makes of it, as a blocking method."""
    return (one for one in everything() if (one.found.is_function or one.found.is_class) and one.docstring)


def explained() -> dict[str, set[str]]:
    """Returns the arguments that the callables of each name explain."""
    found: dict[str, set[str]] = {}
    for one in callables():
        found.setdefault(one.path.rpartition(".")[2], set()).update(documented(one.docstring))
    found["VisitorPool"] |= found["VisitorSession"]  # whose arguments it has
    return found


def check(faults: Iterable[str]) -> None:
    found = list(faults)
    assert not found, "\n".join(found)


def of_apis(one: Public) -> bool:
    return one.path.rpartition(".")[0] in SERVICES


def is_value(one: Public) -> bool:
    """Whether it only holds something: nothing in it waits."""
    bases = " ".join(str(base) for base in one.found.bases)
    return (
        "frozen" in decorators(one)
        or bases.endswith(("Error", "Enum", "Exception", "_EndpointError", "TokenRequestError"))
        or one.path == "wixvisitor.Event"
    )


def above(one: Public) -> str:
    """Returns the docstrings of the classes and the module that it stands in."""
    texts, parent = [], one.found.parent
    while parent is not None:
        texts.append(written(parent))
        parent = None if parent.is_module else parent.parent
    path = one.path.rpartition(".")[0]
    holder = next((other for other in everything() if other.path == path), None)
    return "\n".join([*texts, holder.docstring if holder else ""])


def test_every_public_name_has_a_docstring() -> None:
    """Every public class, function, method and attribute says what it is."""
    check(str(one) for one in everything() if not one.shown)
    assert len(everything()) > 500


def test_every_argument_is_explained() -> None:
    """Each argument of a public callable is explained, there or where its docstring refers to."""
    unexplained, elsewhere = [], explained()
    for one in callables():
        arguments = parameters_of(one)
        if of_apis(one) or len(arguments) < 2 or OF_PYTEST.search(one.path) or (one.found.is_class and is_value(one)):
            continue
        if one.found.is_class and "Args:" not in one.docstring and "arguments" not in one.docstring:
            continue  # only the package makes it; the site shows no arguments
        known = documented(one.docstring) | documented(protocol_of(one))
        for name in re.findall(r"``(?:\w+\.)*(\w+)", one.docstring):
            known |= elsewhere.get(name, set())
        unexplained += [f"{one}: {name}" for name in arguments if name not in known]
    check(unexplained)


def protocol_of(one: Public) -> str:
    """Returns what the protocol of a store says of the method that a store has."""
    if ".storage." not in one.path or not one.found.parent.is_class:
        return ""
    names = ("TokenStorage", "ConditionalStorage", "LeasingStorage")
    found = (package()[f"storage._protocol.{name}"].all_members.get(one.found.name) for name in names)
    return "\n".join(written(method) for method in found if method is not None)


def test_what_is_explained_exists() -> None:
    """Griffe finds nothing to complain about: each argument in ``Args`` is one of the callable's."""
    complaints: list[str] = []
    handler = logging.Handler()
    handler.emit = lambda record: complaints.append(record.getMessage())  # type: ignore[method-assign]
    logger = logging.getLogger("griffe")
    logger.addHandler(handler)
    try:
        for one in everything():
            if one.found.docstring is not None:
                one.found.docstring.parse("google", warn_unknown_params=True)
    finally:
        logger.removeHandler(handler)
    check(complaints)


def test_errors_are_named() -> None:
    """Each public callable that is awaited, or that raises by itself, says what it raises."""
    silent = []
    for one in callables():
        if not one.found.is_function or OF_PYTEST.search(one.path):
            continue
        raises = re.search(r"^\s+raise \w", "\n".join(one.found.lines or []), re.MULTILINE)
        awaited = "async" in one.found.labels or "await " in "\n".join(one.found.lines or [])
        said = "aises" in one.docstring or FOR_ALL.search(above(one)) or refers(one)
        if (raises or awaited) and not said:
            silent.append(str(one))
    check(silent)


def test_errors_of_arguments_are_named() -> None:
    """Each class that a program makes, with arguments, says what wrong ones raise."""
    made = (one for one in callables() if one.found.is_class and not is_value(one) and "define" not in decorators(one))
    check(str(one) for one in made if parameters_of(one) and "Raises:" not in one.docstring)


def decorators(one: Public) -> str:
    return " ".join(str(found.value) for found in one.found.decorators)


def refers(one: Public) -> bool:
    """Whether the docstring says "As ``other``.", which says the rest."""
    return re.search(r"^As ``", one.docstring, re.MULTILINE) is not None


def missing_labels() -> Iterator[str]:
    for one in everything():
        is_class = one.found.is_class and not is_value(one)
        is_function = one.found.is_function and one.found.parent.is_module and "async" in one.found.labels
        if of_apis(one) or not (is_class or is_function):
            continue
        said = labels_of(one.docstring) | labels_of(written(one.found.module))
        yield from (f"{one}: {label}" for label in ("Concurrency", "Cancellation") if label not in said)


def test_concurrency_and_cancellation_are_said() -> None:
    """Each public class, and each public function that is awaited, says what concurrency and cancellation do."""
    check(missing_labels())


def test_blocking_methods_are_those_of_the_async_class() -> None:
    """The site shows a blocking method with the arguments of the async one, and without ``async``."""
    session = package()["blocking.BlockingVisitorSession"]
    assert isinstance(session.all_members["request"], griffe.Function)
    names = [parameter.name for parameter in session.all_members["request"].parameters]
    assert names == ["self", "method", "url", "arguments"]
    assert "async" not in session.all_members["request"].labels
