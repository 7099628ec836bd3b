-- At the head of all scripts. The server runs one script at a time, so all of them
-- avoid what a common path can do without: commands, fields, formats, functions.
--
-- A group is one hash: nonce, holder, token, expiry, ttl, since, meta, resigned,
-- heard (by how many, the last wake-up; records of older builds lack it).
-- A term that was resigned has expiry 0; the rest of it stays, as it does when a
-- term expires.
-- Times are microseconds of the server's clock. They stay below 2^53, so Lua's
-- numbers hold them exactly; only tostring would round them, hence '%.0f'.
-- A token may lie anywhere in 63 bits and is kept as text.

local key = KEYS[1]

local clock = redis.call('TIME')
local now = clock[1] * 1000000 + clock[2]
