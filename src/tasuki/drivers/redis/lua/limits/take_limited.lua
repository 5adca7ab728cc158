-- Hand out messages of a limited queue.

local VISITED = 200  -- lanes that one script looks at, beside those that it serves

-- The lanes whose turn it is, and of each the messages that it may be given now, for this many messages together.
local function lanes_in_turn(need)
  local it = gate()
  local found = redis.call('ZRANGE', TURN, 0, math.ceil(need / it.fair) - 1, 'WITHSCORES')
  local lanes, names = {}, {}
  for index = 1, #found, 2 do
    local turn = tonumber(found[index + 1])
    if turn < math.floor(found[2]) + it.fair + 1 then
      lanes[#lanes + 1], names[#names + 1] = {name = found[index], turn = math.floor(turn), given = 0}, found[index]
    end
  end
  local quota = it.fair * math.ceil(need / (math.max(#lanes, 1) * it.fair))
  local marks = it.each.rate and scores_in(MARKS, names) or {}
  for index, lane in ipairs(lanes) do
    lane.mark = math.max(marks[index] or 0, it.each.clock)
    lane.places = it.each.places and it.each.places - held_in(lane.name) or math.huge
    lane.tokens = tokens_in(it.each, lane.mark)
    lane.most = math.max(math.min(quota, lane.places, lane.tokens), 0)
    lane.members = lane.most > 0 and first_of(lane.name, lane.most + 1) or {}
  end
  return lanes
end

-- One message after the other, as the lanes take turns: pairs of lane and member.
local function in_turns(lanes, need)
  local chosen, before = {}, -1
  while #chosen < need and #chosen > before do
    before = #chosen
    for _, lane in ipairs(lanes) do
      local share = math.min(lane.given + gate().fair, lane.most, #lane.members)
      while lane.given < share and #chosen < need do
        lane.given = lane.given + 1
        chosen[#chosen + 1] = {lane, lane.members[lane.given]}
      end
    end
  end
  return chosen
end

-- These lanes were given this many messages: where each is from now on.
local function move_lanes(lanes)
  local it = gate()
  local names, turns, left, parked, marks = {}, {}, {}, {}, {}
  for _, lane in ipairs(lanes) do
    if lane.most > 0 and #lane.members <= lane.gone then
      left[#left + 1] = lane.name
    elseif lane.places <= lane.given then
      parked[#parked + 1], parked[#parked + 2] = '+inf', lane.name
      left[#left + 1] = lane.name
    elseif lane.tokens <= lane.given then
      parked[#parked + 1], parked[#parked + 2] = text(token_at(it.each, lane.mark + lane.given)), lane.name
      left[#left + 1] = lane.name
    elseif lane.given > 0 then
      names[#names + 1], turns[#turns + 1] = lane.name, lane.turn + lane.given
    end
    if it.each.rate and lane.given > 0 then
      marks[#marks + 1], marks[#marks + 2] = exact(lane.mark + lane.given), lane.name
    end
  end
  each('ZREM', TURN, left)
  take_turns(names, turns)
  each('ZADD', PARK, parked)
  each('ZADD', MARKS, marks)
end

-- One round: up to this many messages, and a few bytes more than 'most'. Adds to 'taken' and 'contents'.
-- Returns how many lanes it looked at, and the bytes.
local function take_round(need, most, taken, contents)
  local lanes = lanes_in_turn(need)
  local chosen = in_turns(lanes, need)
  for _, lane in ipairs(lanes) do
    lane.given, lane.gone = 0, 0
  end
  local places, members, held, seen, size = {}, {}, {}, 0, 0
  for index, pair in ipairs(chosen) do
    places[index] = place_in_lane(pair[2])
  end
  local ready = scores_in(READY, places)
  while seen < #places and size < most do
    local last = math.min(seen + 32, #places)
    for index, content in ipairs(redis.call('HMGET', MESSAGES, unpack(places, seen + 1, last))) do
      local lane, member = unpack(chosen[seen + index])
      members[#members + 1] = member
      lane.gone = lane.gone + 1
      if content and ready[seen + index] then  -- else another program, or version, has been there
        lane.given = lane.given + 1
        taken[#taken + 1], contents[#contents + 1] = places[seen + index], content
        held[#held + 1] = in_lane(lane.name, places[seen + index], true)
        size = size + #content
      end
    end
    seen = last
  end
  each('ZREM', LANES, members)
  if gate().each.places then
    add_all(LANES, held)
  end
  each('ZREM', READY, {unpack(places, 1, seen)})
  move_lanes(lanes)
  return #lanes, size
end

-- Nothing can be taken. Where that cannot be, as a version without lanes has been at the queue: make the lanes again.
local function mend_lanes()
  local first = redis.call('ZRANGE', PARK, 0, 0, 'WITHSCORES')[2]
  if redis.call('EXISTS', TURN) == 0 and redis.call('EXISTS', READY) == 1
    and (not first or tonumber(first) == math.huge and redis.call('EXISTS', LEASES) == 0) then
    redis.call('UNLINK', LANES, TURN, PARK)
    gate().laning = first_step(gate().each.places)
    redis.call('HSET', STATE, 'laning', gate().laning)
  end
end

local function take_from_lanes(limit, most, ends, token)
  local it = gate()
  if it.laning and string.sub(it.laning, 1, 5) == 'held:' then
    return nil
  end
  come_to_life(redis.call('ZRANGEBYSCORE', PARK, '-inf', text(it.time), 'LIMIT', 0, PORTION))
  local room = math.min(limit, room_in_queue())
  local taken, contents, leases, visited, count = {}, {}, {}, 0, 1
  while #taken < room and most > 0 and visited < VISITED and count > 0 do
    local size
    count, size = take_round(room - #taken, most, taken, contents)
    visited, most = visited + count, most - size
  end
  if #taken == 0 then
    if room > 0 and not it.laning then
      mend_lanes()
    end
    return nil
  end
  for index, place in ipairs(taken) do
    leases[2 * index - 1], leases[2 * index] = ends, place .. ':' .. token
  end
  each('ZADD', LEASES, leases)
  if it.each.rate then
    redis.call('ZREMRANGEBYSCORE', MARKS, '-inf', exact(it.each.clock))
    expire_marks()
  end
  return {taken, contents, histories_of(taken), 0, -1}
end

local function take_limited(limit, most, ends, token)
  local found
  if has_lanes() then
    found = take_from_lanes(limit, most, ends, token)
  else
    local room = math.min(limit, room_in_queue())
    found = room > 0 and take(room, most, ends, token) or nil
  end
  if found then
    spend(#found[1])
    found[4] = open_now() > 0 and 1 or 0
  end
  return found
end
