-- ARGV: nonce, ttl, meta (empty to leave it).
local ttl, meta = tonumber(ARGV[2]), ARGV[3]

local r = redis.pcall('HMGET', key, 'nonce', 'token', 'expiry', 'ttl')
local expiry, theirs = tonumber(r[3]), tonumber(r[4])
if r[1] ~= ARGV[1] or not (r[2] and expiry and theirs and expiry > now) then
  if r.err and not string.find(r.err, 'WRONGTYPE', 1, true) then
    return r
  end
  return {'lost'}
end
if expiry - now > theirs * 1.05 then -- as in record.lua
  expiry = now + theirs
end
expiry = string.format('%.0f', math.max(expiry, now + ttl))
ttl = string.format('%.0f', math.max(theirs, ttl))
if meta == '' then
  redis.call('HSET', key, 'expiry', expiry, 'ttl', ttl)
else
  redis.call('HSET', key, 'expiry', expiry, 'ttl', ttl, 'meta', meta)
end
return {'ok', ARGV[2]}
