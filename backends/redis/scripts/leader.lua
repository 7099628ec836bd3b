local r, fault = read()
if fault == 'foreign' then
  return {'foreign'}
elseif fault then
  return fault
end
if not r or r.nonce == '' or r.expiry <= now then
  return {'none'}
end
return describe('led', r)
