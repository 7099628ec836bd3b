local fault, r, expiry, ttl = read()
if fault then
  return fault
end
if not r or r[1] == '' or expiry <= now then
  return {'none'}
end
return describe('led', r, expiry, ttl)
