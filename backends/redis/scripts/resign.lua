-- ARGV: nonce, channel, how to publish.
local nonce, channel, publish = ARGV[1], ARGV[2], ARGV[3]

local fault, r, expiry = read('heard')
if fault and fault.err then
  return fault
end
if not r or r[1] ~= nonce or expiry <= now then
  return {'lost'}
end
redis.call('HSET', key, 'nonce', '', 'holder', '', 'expiry', '0', 'meta', '', 'resigned', nonce)
-- The term is over whether or not the wake-up may be published. It tells how many
-- heard the last one, since of itself that is known only afterwards.
local last = r[5] or ''
local heard = redis.pcall(publish, channel, last)
if publish == 'SPUBLISH' and type(heard) == 'table' and heard.err then
  heard = redis.pcall('PUBLISH', channel, last)
end
if type(heard) == 'number' and tostring(heard) ~= last then
  redis.pcall('HSET', key, 'heard', tostring(heard))
end
return {'ok'}
