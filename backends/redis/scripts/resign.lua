-- ARGV: nonce, channel, how to publish.
local nonce, channel, publish = ARGV[1], ARGV[2], ARGV[3]

local fault, r, expiry = read()
if fault and fault.err then
  return fault
end
if not r or r[1] ~= nonce or expiry <= now then
  return {'lost'}
end
redis.call('HSET', key, 'nonce', '', 'holder', '', 'expiry', '0', 'meta', '', 'resigned', nonce)
-- The term is over whether or not the wake-up may be published.
local sent = redis.pcall(publish, channel, '')
if publish == 'SPUBLISH' and type(sent) == 'table' and sent.err then
  redis.pcall('PUBLISH', channel, '')
end
return {'ok'}
