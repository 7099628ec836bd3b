-- ARGV: nonce, holder, ttl, meta, grace.
local nonce, holder, ttl, meta, grace = ARGV[1], ARGV[2], tonumber(ARGV[3]), ARGV[4], tonumber(ARGV[5])

local r, fault = read()
if fault == 'foreign' then
  return {'foreign'}
elseif fault then
  return fault
end

if r and r.resigned == nonce then
  return {'resigned'}
end

if r and r.expiry > now then
  if r.nonce == nonce then
    -- The reply to an earlier send was lost: extend, so that what this reply
    -- promises is true.
    local expiry = math.max(r.expiry, now + ttl)
    redis.call('HSET', key, 'expiry', whole(expiry), 'ttl', whole(math.max(r.ttl, ttl)))
    return {'ok', r.token, r.since, whole(ttl)}
  end
  if r.clamped then
    redis.call('HSET', key, 'expiry', whole(r.expiry))
  end
  return describe('held', r)
end

-- A server that started a moment ago may have lost the newest writes, or all:
-- a leader of whom it knows nothing may still believe. The uptime is told in
-- whole seconds, and may be almost one too long.
local left = 0
local info = redis.pcall('INFO', 'server')
local uptime = type(info) == 'string' and string.match(info, 'uptime_in_seconds:(%d+)')
if uptime then
  left = grace - math.max(tonumber(uptime) - 1, 0) * 1000000
elseif not r then
  -- It will not say when it started: what is not there counts as lost.
  left = grace
  redis.call('HSET', key, 'nonce', '', 'holder', '', 'token', '0', 'expiry', whole(now + grace),
    'ttl', whole(grace), 'since', '0', 'meta', '', 'resigned', '')
end
if left > 0 then
  return {'held', '', '', '0', whole(left), whole(grace), '0', ''}
end
r = r or {token = '0', resigned = ''}

-- One write, unless the token is ahead of the clock: only HINCRBY adds to 63 bits.
local token = whole(now)
if tonumber(r.token) >= now then
  redis.call('HINCRBY', key, 'token', 1)
  token = redis.call('HGET', key, 'token')
end
redis.call('HSET', key, 'nonce', nonce, 'holder', holder, 'token', token, 'expiry', whole(now + ttl),
  'ttl', whole(ttl), 'since', whole(now), 'meta', meta, 'resigned', r.resigned)
return {'ok', token, whole(now), whole(ttl)}
