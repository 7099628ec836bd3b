-- ARGV: nonce, channel, how to publish.
local nonce, channel, publish = ARGV[1], ARGV[2], ARGV[3]

local r = redis.pcall('HMGET', key, 'nonce', 'token', 'expiry', 'ttl', 'heard')
local expiry = tonumber(r[3])
if r[1] ~= nonce or not (r[2] and r[4] and expiry and expiry > now) then
  if r.err and not string.find(r.err, 'WRONGTYPE', 1, true) then
    return r
  end
  return {'lost'}
end
redis.call('HSET', key, 'expiry', '0', 'resigned', nonce)
-- The term is over whether or not the wake-up may be published. It tells how many
-- heard the last one, since of itself that is known only afterwards.
local last = r[5] or ''
local heard = redis.pcall(publish, channel, last)
if publish == 'SPUBLISH' and type(heard) == 'table' and heard.err then
  heard = redis.pcall('PUBLISH', channel, last)
end
if type(heard) == 'number' and heard ~= tonumber(last) then
  redis.pcall('HSET', key, 'heard', tostring(heard))
end
return {'ok'}
