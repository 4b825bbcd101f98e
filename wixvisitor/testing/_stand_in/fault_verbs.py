"""Faults as JSON: the methods of ``FaultControls`` by their names, with the same arguments. Checks every value."""

import re
from collections.abc import Callable, Mapping
from typing import Any, Final, assert_never

from attrs import field, frozen

from wixvisitor.testing._answers import fault_answer
from wixvisitor.testing._faults import AddHeader, Delay, Drop, Fail, Fault, Hang, Hold, Truncate
from wixvisitor.testing._gate import Gate
from wixvisitor.testing._stand_in.fault_checks import (
    Check,
    WrongFault,
    body,
    boolean,
    header_name,
    header_value,
    headers,
    matching,
    number,
    one_of,
)

Json = Mapping[str, Any]

_LONGEST: Final = 3_600.0  # seconds of a delay
_MOST: Final = 1_000_000_000  # calls, or bytes


def fault_of(wanted: Json) -> Fault:
    """Returns the fault that the JSON names: ``{"verb": "fail", "status": 503, "times": 2, "path": "/ecom/*"}``.

    Raises:
        WrongFault: There is no such verb or argument, or an argument has a wrong value.

    """
    name = one_of(VERBS)("verb", wanted.get("verb"))
    verb = VERBS[name]
    checks = {**verb.arguments, **_WHICH, **({} if verb.changes_answer else {"committed": boolean})}
    given = {}
    for argument, value in wanted.items():
        if argument == "verb":
            continue
        if argument not in checks:
            raise WrongFault(f"{name} has no argument {argument[:40]!r}; it has {', '.join(checks)}")
        given[argument] = checks[argument](argument, value)
    missing = [argument for argument in verb.required if argument not in given]
    if missing:
        raise WrongFault(f"{name} needs {missing[0]}")
    which = {argument: given[argument] for argument in (*_WHICH, "committed") if argument in given}
    return Fault(action=verb.make(given), **{**verb.which, **which})


def describe(fault: Fault) -> dict[str, Any]:
    """Returns a fault as JSON, for the page and for programs."""
    verb, detail = _said(fault)
    return {
        "number": fault.number,
        "verb": verb,
        "detail": detail,
        "path": fault.path,
        "grantType": fault.grant_type,
        "times": fault.times,
        "after": fault.after,
        "committed": fault.committed,
        "used": fault.used,
    }


def _said(fault: Fault) -> tuple[str, str]:
    said = "", ""
    match fault.action:
        case Fail(answer):
            said = "fail", str(answer.status)
        case Delay(seconds):
            said = "delay", f"{seconds:g} s"
        case Hang():
            said = "hang", ""
        case Drop():
            said = "drop", ""
        case Hold(gate):
            said = "hold", f"{gate.waiting} waiting"
        case Truncate(after_bytes):
            said = "truncate", f"after {after_bytes} bytes"
        case AddHeader((name, _)):
            said = ("set_cookie", "") if name.lower() == "set-cookie" else ("add_header", name)
        case _:
            assert_never(fault.action)
    return said


GRANT_TYPES: Final = ("anonymous", "refresh_token", "authorization_code", "authorized_client")
"""The grants of the token endpoint."""

_WHICH: Final[dict[str, Check]] = {
    "path": matching(re.compile(r"/[^\r\n\ud800-\udfff]{0,500}"), "a path like /ecom/*", optional=True),
    "times": number(1, _MOST, whole=True, optional=True),
    "grant_type": one_of(GRANT_TYPES),
    "after": number(0, _MOST, whole=True),
}


@frozen(kw_only=True)
class Verb:
    """A method of ``FaultControls``.

    Attributes:
        make: Makes the action of checked arguments.
        arguments: The checks of its own arguments.
        required: The arguments that have no default.
        which: The calls to which it applies by default, where these are not one token call.
        changes_answer: Whether it only changes the answer, so that ``committed`` has no meaning.

    """

    make: Callable[[Json], Any]
    arguments: Mapping[str, Check] = field(factory=dict)
    required: tuple[str, ...] = ()
    which: Json = field(factory=dict)
    changes_answer: bool = False


_ALL_API_CALLS: Final[Json] = {"path": None, "times": None}

VERBS: Final = {
    "fail": Verb(
        make=lambda given: Fail(fault_answer(given.get("status", 503), given.get("headers"), given.get("body"))),
        arguments={"status": number(200, 599, whole=True), "headers": headers, "body": body},
    ),
    "delay": Verb(
        make=lambda given: Delay(given["seconds"]),
        arguments={"seconds": number(0, _LONGEST, whole=False)},
        required=("seconds",),
    ),
    "hang": Verb(make=lambda _: Hang()),
    "drop": Verb(make=lambda _: Drop()),
    "hold": Verb(make=lambda _: Hold(Gate()), which={"times": None}),
    "truncate": Verb(
        make=lambda given: Truncate(given["after_bytes"]),
        arguments={"after_bytes": number(0, _MOST, whole=True)},
        required=("after_bytes",),
        changes_answer=True,
    ),
    "add_header": Verb(
        make=lambda given: AddHeader((given["name"], given["value"])),
        arguments={"name": header_name, "value": header_value},
        required=("name", "value"),
        which=_ALL_API_CALLS,
        changes_answer=True,
    ),
    "set_cookie": Verb(
        make=lambda given: AddHeader(("set-cookie", given["cookie"])),
        arguments={"cookie": header_value},
        required=("cookie",),
        which=_ALL_API_CALLS,
        changes_answer=True,
    ),
}
"""The verbs by name."""
