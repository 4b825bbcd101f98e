"""Tasks, locks and time limits that know nothing of Wix, HTTP or tokens.

What belongs here: what anyio and threading leave open, such as a task with many waiters or a lock that a fork survives.
May import: ``errors`` and ``_wire.redaction``.
Everything but ``_wire`` may import from here. Open ``shared_task`` first.
"""
