"""Tasks, locks and time limits that know nothing of Wix, HTTP or tokens.

What belongs here: what anyio and threading do not offer, such as a task with many waiters or a lock that a fork does
not break.
May import: ``errors`` and ``_wire.redaction``.
Every wing except ``_wire`` may import from here. Open ``shared_task`` first.
"""
