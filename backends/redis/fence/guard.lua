do
  local mark, token = table.remove(KEYS, 1), table.remove(ARGV, 1)
  local highest = redis.call('GET', mark) or '0'
  if #token < #highest or (#token == #highest and token < highest) then
    return redis.error_reply('MULTILOCKSTALE a newer term has written')
  end
  if token ~= highest then redis.call('SET', mark, token) end
end
