"""What has to happen at a fork. Windows has none, so nothing happens there."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable


def at_fork(
    *,
    before: Callable[[], object] | None = None,
    in_parent: Callable[[], object] | None = None,
    in_child: Callable[[], object] | None = None,
) -> None:
    """Has these functions called at each ``os.fork`` of this process, until its end.

    Args:
        before: in the parent, before the fork.
        in_parent: in the parent, after it.
        in_child: in the child.
    """
    hooks = {"before": before, "after_in_parent": in_parent, "after_in_child": in_child}
    if sys.platform != "win32" and hasattr(os, "register_at_fork"):
        os.register_at_fork(**{name: hook for name, hook in hooks.items() if hook is not None})
