-- For scripts that meet the record of anybody.

-- read returns why the record cannot be used, as a reply: foreign if somebody else
-- wrote what is there, or an error. Else it returns nil, nil if there is none, or
-- nil, the texts of nonce, token, expiry, ttl and resigned, and the numbers of
-- expiry and ttl.
local function read()
  local r = redis.pcall('HMGET', key, 'nonce', 'token', 'expiry', 'ttl', 'resigned')
  local token, expiry, ttl = r[2], r[3], r[4]
  if not (r[1] and token and expiry and ttl and string.find(token, '^%d+$') and
      #expiry <= 16 and string.find(expiry, '^%d+$') and #ttl <= 16 and string.find(ttl, '^%d+$')) then
    if r.err and not string.find(r.err, 'WRONGTYPE', 1, true) then
      return r
    end
    if not r.err and not r[1] and not expiry and redis.call('EXISTS', key) == 0 then
      return nil, nil
    end
    return {'foreign'}
  end
  expiry, ttl = tonumber(expiry), tonumber(ttl)
  -- More than the holder's own TTL left means that the clock was stepped back.
  -- Nobody believes in the term for longer than that TTL from now.
  if expiry - now > ttl * 1.05 then
    expiry = now + ttl
  end
  return nil, r, expiry, ttl
end

-- describe is the record in a reply.
local function describe(what, r, expiry, ttl)
  local who = redis.call('HMGET', key, 'holder', 'since', 'meta')
  return {what, r[1], who[1] or '', r[2], string.format('%.0f', math.min(expiry - now, ttl)), r[4], who[2] or '0', who[3] or ''}
end
