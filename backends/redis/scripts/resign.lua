-- ARGV: nonce, channel, how to publish.
local nonce, channel, publish = ARGV[1], ARGV[2], ARGV[3]

local r, fault = read()
if fault and fault ~= 'foreign' then
  return fault
end
if not r or r.nonce ~= nonce or r.expiry <= now then
  return {'lost'}
end
redis.call('HSET', key, 'nonce', '', 'holder', '', 'expiry', '0', 'meta', '', 'resigned', nonce)
-- The term is over whether or not the wake-up may be published.
local sent = redis.pcall(publish, channel, '')
if type(sent) == 'table' and sent.err and publish == 'SPUBLISH' then
  redis.pcall('PUBLISH', channel, '')
end
return {'ok'}
