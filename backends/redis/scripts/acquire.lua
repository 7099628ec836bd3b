-- ARGV: nonce, holder, ttl, meta, grace, whether to look at the eviction policy.
local nonce, ttl, grace = ARGV[1], tonumber(ARGV[3]), tonumber(ARGV[5])

-- A server that may evict any key may evict the record of a live leader. One that
-- will not tell is trusted.
if ARGV[6] == '1' then
  local info = redis.pcall('INFO', 'memory')
  local policy = type(info) == 'string' and string.match(info, 'maxmemory_policy:(allkeys%-[%w-]+)')
  if policy then
    return {'policy', policy}
  end
end

local fault, r, expiry, theirs = read()
if fault then
  return fault
end

if r and r[5] == nonce then
  return {'resigned'}
end

if r and expiry > now then
  if r[1] == nonce then
    -- The reply to an earlier send was lost: extend, so that what this reply
    -- promises is true.
    redis.call('HSET', key, 'expiry', string.format('%.0f', math.max(expiry, now + ttl)),
      'ttl', string.format('%.0f', math.max(theirs, ttl)))
    return {'ok', r[2], redis.call('HGET', key, 'since') or '0', ARGV[3]}
  end
  if expiry < tonumber(r[3]) then
    redis.call('HSET', key, 'expiry', string.format('%.0f', expiry))
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
    redis.call('HSET', key, 'nonce', '', 'holder', '', 'token', '0', 'expiry', string.format('%.0f', now + grace),
      'ttl', ARGV[5], 'since', '0', 'meta', '', 'resigned', '')
  end
  if left > 0 then
    return {'held', '', '', '0', string.format('%.0f', left), ARGV[5], '0', ''}
  end
end

-- One write, unless the token is ahead of the clock: only HINCRBY adds to 63 bits.
local since = string.format('%d%06d', clock[1], clock[2])
local token = since
if r and tonumber(r[2]) >= now then
  redis.call('HINCRBY', key, 'token', 1)
  token = redis.call('HGET', key, 'token')
end
redis.call('HSET', key, 'nonce', nonce, 'holder', ARGV[2], 'token', token, 'expiry', string.format('%.0f', now + ttl),
  'ttl', ARGV[3], 'since', since, 'meta', ARGV[4])
return {'ok', token, since, ARGV[3]}
