-- ARGV: nonce, ttl, meta (empty to leave it).
local ttl, meta = tonumber(ARGV[2]), ARGV[3]

local fault, r, expiry, theirs = read()
if fault and fault.err then
  return fault
end
if not r or r[1] ~= ARGV[1] or expiry <= now then
  return {'lost'}
end
expiry = whole(math.max(expiry, now + ttl))
ttl = whole(math.max(theirs, ttl))
if meta == '' then
  redis.call('HSET', key, 'expiry', expiry, 'ttl', ttl)
else
  redis.call('HSET', key, 'expiry', expiry, 'ttl', ttl, 'meta', meta)
end
return {'ok', ARGV[2]}
