-- ARGV: nonce, ttl, meta (empty to leave it).
local nonce, ttl, meta = ARGV[1], tonumber(ARGV[2]), ARGV[3]

local r, fault = read()
if fault and fault ~= 'foreign' then
  return fault
end
if not r or r.nonce ~= nonce or r.expiry <= now then
  return {'lost'}
end
local expiry = whole(math.max(r.expiry, now + ttl))
ttl = math.max(r.ttl, ttl)
if meta == '' then
  redis.call('HSET', key, 'expiry', expiry, 'ttl', whole(ttl))
else
  redis.call('HSET', key, 'expiry', expiry, 'ttl', whole(ttl), 'meta', meta)
end
return {'ok', ARGV[2]}
