-- End the delays of the messages of some ids, as far as one portion of the delayed messages goes.
-- ARGV: the size of a portion, where to go on ('0' at first), and the ids
-- Returns how many, and where to go on: '0' at the end.

local wanted = {}
for index = 3, #ARGV do
  wanted[ARGV[index]] = true
end
local found = redis.call('ZSCAN', DELAYED, ARGV[2], 'COUNT', ARGV[1])
local delayed, due = {}, {}
for index = 1, #found[2], 2 do
  delayed[#delayed + 1] = found[2][index]
end
-- A content is the array [time of publishing, [id, body, headers]]: its id begins behind the time and two bytes of arrays.
for index, content in ipairs(answers('HMGET', MESSAGES, delayed)) do
  local is_ours, _, id = pcall(cmsgpack.unpack_one, content or '', 11)
  if is_ours and wanted[id] then
    due[#due + 1] = delayed[index]
  end
end
each('ZREM', DELAYED, due)
put_back(due, keys_of(due, ordering), 0, {})
tell(before)
return {#due, found[1]}
