-- A queue of a layout before 6, whose options are in the key with the bare tag as its name. They move to STATE, and the old key
-- becomes a text: a process of an earlier layout reads it first in each of its scripts, as a hash, and is refused by the
-- server before it has changed anything (docs/adr/0048). The key is in the slot of the others.
local OLDER = string.sub(STATE, 1, -7)
local REFUSAL = 'this queue has a newer layout: upgrade this process'

-- span: milliseconds for which the queue is kept without use, or ''.
local function refuse_older(span)
  if span and span ~= '' then
    redis.call('SET', OLDER, REFUSAL, 'PX', span)
  else
    redis.call('SET', OLDER, REFUSAL)
  end
end

local function adopt()
  if redis.call('TYPE', OLDER).ok ~= 'hash' then
    return
  end
  if redis.call('EXISTS', STATE) == 0 then
    redis.call('RENAME', OLDER, STATE)
  end
  refuse_older(redis.call('HGET', STATE, 'span'))
end
