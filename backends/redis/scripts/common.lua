-- Shared by all scripts; each is this text followed by its own.
--
-- A group is one hash: nonce, holder, token, expiry, ttl, since, meta, resigned.
-- Times are microseconds of the server's clock. They stay below 2^53, so Lua's
-- numbers hold them exactly; only tostring would round them, hence whole().
-- A token may lie anywhere in 63 bits and is kept as text.

local key = KEYS[1]

local function whole(x)
  return string.format('%.0f', x)
end

local function number(s)
  if s and #s <= 16 and string.match(s, '^%d+$') then
    return tonumber(s)
  end
  return nil
end

local clock = redis.call('TIME')
local now = tonumber(clock[1]) * 1000000 + tonumber(clock[2])

-- read returns the record; nil if there is none; nil and 'foreign' if somebody
-- else wrote what is there; nil and the error if it cannot be read.
local function read()
  local v = redis.pcall('HMGET', key, 'nonce', 'holder', 'token', 'expiry', 'ttl', 'since', 'meta', 'resigned')
  if v.err then
    if string.find(v.err, 'WRONGTYPE', 1, true) then
      return nil, 'foreign'
    end
    return nil, v
  end
  if not v[1] and not v[4] and redis.call('EXISTS', key) == 0 then
    return nil
  end
  local expiry, ttl = number(v[4]), number(v[5])
  if not (v[1] and expiry and ttl and v[3] and string.match(v[3], '^%d+$')) then
    return nil, 'foreign'
  end
  local r = {
    nonce = v[1], holder = v[2] or '', token = v[3], expiry = expiry, ttl = ttl,
    since = v[6] or '0', meta = v[7] or '', resigned = v[8] or '',
  }
  -- More than the holder's own TTL left means that the clock was stepped back.
  -- Nobody believes in the term for longer than that TTL from now.
  if r.expiry - now > r.ttl * 1.05 then
    r.expiry = now + r.ttl
    r.clamped = true
  end
  return r
end

local function describe(what, r)
  return {what, r.nonce, r.holder, r.token, whole(math.min(r.expiry - now, r.ttl)), whole(r.ttl), r.since, r.meta}
end
