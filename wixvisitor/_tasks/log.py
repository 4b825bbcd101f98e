"""The library's log: each line carries fields, and is written in the context of the request that caused it."""

from __future__ import annotations

import logging
from collections.abc import Mapping, MutableMapping
from typing import Any, Final

from wixvisitor._tasks import shared_task

# The fields of each record, for formatters such as "%(wixvisitor_key)s". What a line does not know is None.
_FIELDS: Final = dict.fromkeys(f"wixvisitor_{name}" for name in ("key", "reason", "role", "status", "request_id"))


def fields(
    key: str | None = None, *, reason: object = None, role: object = None, error: BaseException | None = None
) -> dict[str, Any]:
    """Returns the fields of a line, for ``extra=``.

    Args:
        key: the visitor's.
        reason: why the tokens changed.
        role: the visitor's or member's role.
        error: what failed; its status and request id are Wix's.
    """
    return {
        "wixvisitor_key": key,
        "wixvisitor_reason": None if reason is None else str(reason),
        "wixvisitor_role": None if role is None else str(role),
        "wixvisitor_status": getattr(error, "status_code", None),
        "wixvisitor_request_id": getattr(error, "request_id", None),
    }


class _Log(logging.LoggerAdapter[logging.Logger]):
    """The logger "wixvisitor"."""

    def process(self, msg: Any, kwargs: MutableMapping[str, Any]) -> tuple[Any, MutableMapping[str, Any]]:
        """Adds the fields."""
        given: Mapping[str, object] = kwargs.get("extra") or {}
        return msg, {**kwargs, "extra": {**_FIELDS, **given}}

    def log(self, level: int, msg: object, *args: object, **kwargs: Any) -> None:
        """Writes a line, in the context of the request that caused it also if this is background work."""
        if self.isEnabledFor(level):
            kwargs["stacklevel"] = kwargs.get("stacklevel", 1) + 2  # this frame and the next
            msg, options = self.process(msg, kwargs)
            shared_task.run_in_cause(self.logger.log, level, msg, *args, **options)


logger: Final = _Log(logging.getLogger("wixvisitor"), {})
