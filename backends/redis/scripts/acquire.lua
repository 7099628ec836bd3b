-- ARGV: nonce, holder, ttl, meta, grace.
local nonce, ttl, grace = ARGV[1], tonumber(ARGV[3]), tonumber(ARGV[5])

local fault, r, expiry, theirs = read('holder', 'since', 'meta', 'resigned')
if fault then
  return fault
end

if r and r[8] == nonce then
  return {'resigned'}
end

if r and expiry > now then
  if r[1] == nonce then
    -- The reply to an earlier send was lost: extend, so that what this reply
    -- promises is true.
    redis.call('HSET', key, 'expiry', whole(math.max(expiry, now + ttl)), 'ttl', whole(math.max(theirs, ttl)))
    return {'ok', r[2], r[6] or '0', ARGV[3]}
  end
  if expiry < tonumber(r[3]) then
    redis.call('HSET', key, 'expiry', whole(expiry))
  end
  return describe('held', r, expiry, theirs)
end

-- A server that started a moment ago may have lost the newest writes, or all:
-- a leader of whom it knows nothing may still believe. LASTSAVE is the start, or
-- something later, and much cheaper than INFO: if it is long past, so is the start.
-- Both are told in whole seconds, and may tell of almost one too much.
local saved = redis.pcall('LASTSAVE')
if type(saved) ~= 'number' or saved <= 0 or now - (saved + 1) * 1000000 < grace then
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
end

-- One write, unless the token is ahead of the clock: only HINCRBY adds to 63 bits.
local since = whole(now)
local token = since
if r and tonumber(r[2]) >= now then
  redis.call('HINCRBY', key, 'token', 1)
  token = redis.call('HGET', key, 'token')
end
redis.call('HSET', key, 'nonce', nonce, 'holder', ARGV[2], 'token', token, 'expiry', whole(now + ttl),
  'ttl', ARGV[3], 'since', since, 'meta', ARGV[4])
return {'ok', token, since, ARGV[3]}
