-- Shared by all scripts; each is this text followed by its own. The server runs
-- one script at a time, so all of them avoid what a common path can do without:
-- formats, tables, commands.
--
-- A group is one hash: nonce, holder, token, expiry, ttl, since, meta, resigned,
-- heard (by how many, the last wake-up; records of older builds lack it).
-- Times are microseconds of the server's clock. They stay below 2^53, so Lua's
-- numbers hold them exactly; only tostring would round them, hence whole().
-- A token may lie anywhere in 63 bits and is kept as text.

local key = KEYS[1]

local clock = redis.call('TIME')
local now = clock[1] * 1000000 + clock[2]

local function whole(x)
  return string.format('%.0f', x)
end

local function number(s)
  if s and #s <= 16 and string.find(s, '^%d+$') then
    return tonumber(s)
  end
  return nil
end

-- read returns why the record cannot be used, as a reply: foreign if somebody else
-- wrote what is there, or an error. Else it returns nil, nil if there is none, or
-- nil, the texts of nonce, token, expiry, ttl and the fields asked for, and the
-- numbers of expiry and ttl.
local function read(...)
  local r = redis.pcall('HMGET', key, 'nonce', 'token', 'expiry', 'ttl', ...)
  local expiry, ttl = number(r[3]), number(r[4])
  if not (expiry and ttl and r[1] and r[2] and string.find(r[2], '^%d+$')) then
    if r.err and not string.find(r.err, 'WRONGTYPE', 1, true) then
      return r
    end
    if not r.err and not r[1] and not r[3] and redis.call('EXISTS', key) == 0 then
      return nil, nil
    end
    return {'foreign'}
  end
  -- More than the holder's own TTL left means that the clock was stepped back.
  -- Nobody believes in the term for longer than that TTL from now.
  if expiry - now > ttl * 1.05 then
    expiry = now + ttl
  end
  return nil, r, expiry, ttl
end

-- describe is the record in a reply, read with holder, since and meta.
local function describe(what, r, expiry, ttl)
  return {what, r[1], r[5] or '', r[2], whole(math.min(expiry - now, ttl)), r[4], r[6] or '0', r[7] or ''}
end
