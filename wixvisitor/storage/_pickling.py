"""How a store goes to another process by ``pickle``: as the arguments that it was made from, and only if these suffice.

The other process opens the same place again. A pickle of a store with a URL holds its password.
"""

from __future__ import annotations

from typing import Any


class Pickling:
    """For stores. A subclass that is made from other arguments overrides ``_pickled``.

    Raises:
        TypeError: by ``pickle``, if the store is not made from a path or URL. Its text says what to do.
    """

    def _pickled(self) -> tuple[tuple[Any, ...], dict[str, Any]] | str:
        """Returns the arguments to make such a store; or a text that says why this is impossible."""
        raise NotImplementedError

    def __reduce__(self) -> tuple[Any, ...]:
        found = self._pickled()
        if isinstance(found, str):
            raise TypeError(f"cannot pickle a {type(self).__name__}: {found}")
        return _made, (type(self), *found)


def _made(kind: type[Any], arguments: tuple[Any, ...], options: dict[str, Any]) -> Any:
    return kind(*arguments, **options)
