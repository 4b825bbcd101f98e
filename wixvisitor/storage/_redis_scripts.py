"""Five short Lua scripts that run inside the server. Each uses one key and may be sent twice.

A record is a hash: ``data`` is the text, ``version`` the id of the write that put it there, ``before`` the id of the
write that it replaced. The id is made before the write is sent. So a write that is sent a second time, because its
reply was lost, finds that it was done, even if another process has written in between.
"""

from __future__ import annotations

import hashlib
from typing import Final

import attrs

from wixvisitor.storage._arguments import BRIEF

NOT_OURS: Final = "NOTOURS"  # prefix of a script's error, if it finds something else under its key


@attrs.frozen
class Script:
    """A script, and the digest by which the server knows it."""

    text: str
    sha: str


def _script(text: str) -> Script:
    text = (
        text.strip()
        .replace("BRIEF", BRIEF)
        .replace("NOT_OURS", f"redis.error_reply('{NOT_OURS} no record of wixvisitor')")
    )
    return Script(text, hashlib.sha1(text.encode(), usedforsecurity=False).hexdigest())


LOAD: Final = _script("""
local record = redis.call('HMGET', KEYS[1], 'data', 'version')
if not (record[1] and record[2]) then
  if redis.call('EXISTS', KEYS[1]) == 0 then return false end
  return NOT_OURS
end
if string.sub(record[2], 1, #'BRIEF') == 'BRIEF' then return record end
local life, left = tonumber(ARGV[1]), redis.call('PTTL', KEYS[1])
-- pcall: a server that refuses writes for now can still be read
if life == 0 then
  if left >= 0 then redis.pcall('PERSIST', KEYS[1]) end
elseif left < life * 0.9 or left > life then
  redis.pcall('PEXPIRE', KEYS[1], ARGV[1])
end
return record
""")
"""The record of ``KEYS[1]`` as data and version, nil without one. ``ARGV``: life in milliseconds, 0 for ever."""

SAVE: Final = _script("""
local held = redis.call('HMGET', KEYS[1], 'version', 'before')
local exists = held[1] and redis.call('HEXISTS', KEYS[1], 'data') == 1
if not exists and redis.call('EXISTS', KEYS[1]) == 1 then return NOT_OURS end
if held[1] == ARGV[2] or held[2] == ARGV[2] then return 1 end
if ARGV[3] == 'none' and exists then return 0 end
if ARGV[3] == 'same' and held[1] ~= ARGV[4] then return 0 end
redis.call('HSET', KEYS[1], 'data', ARGV[1], 'version', ARGV[2], 'before', held[1] or '')
if ARGV[5] == '0' then
  redis.call('PERSIST', KEYS[1])
else
  redis.call('PEXPIRE', KEYS[1], ARGV[5])
end
return 1
""")
"""1 if saved, 0 for a conflict. ``ARGV``: data, the write's id, ``any``/``none``/``same``, expected version, life."""

DELETE: Final = _script("""
if redis.call('EXISTS', KEYS[1]) == 0 then return 0 end
local record = redis.call('HMGET', KEYS[1], 'data', 'version')
if not (record[1] and record[2]) then return NOT_OURS end
return redis.call('DEL', KEYS[1])
""")

ACQUIRE: Final = _script("""
local holder = redis.call('GET', KEYS[1])
if not holder or holder == ARGV[1] then
  redis.call('SET', KEYS[1], ARGV[1], 'PX', ARGV[2])
  return 0
end
local left = redis.call('PTTL', KEYS[1])
if left < 0 then return NOT_OURS end
return math.max(left, 1)
""")
"""0 if the holder has the lease now, else the milliseconds until it ends. ``ARGV``: holder, milliseconds."""

RELEASE: Final = _script("""
if redis.call('GET', KEYS[1]) == ARGV[1] then return redis.call('DEL', KEYS[1]) end
return 0
""")
