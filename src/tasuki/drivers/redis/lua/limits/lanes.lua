-- Lanes as turn.lua describes them: what enters and leaves them.

local function has_lanes()
  return limits and gate().fair > 0
end

local function members_of(lanes, places, held)
  local members = {}
  for index, place in ipairs(places) do
    members[index] = in_lane(lanes[index], place, held)
  end
  return members
end

-- With order per key the lane is the key.
local function lanes_of(places)
  local lanes = {}
  for first = 1, #places, CHUNK do
    local last = math.min(first + CHUNK - 1, #places)
    for index, lane in ipairs(redis.call('HMGET', is_keyed and KEYED or LANED, unpack(places, first, last))) do
      lanes[first + index - 1] = lane or ''
    end
  end
  return lanes
end

-- Each lane once, and how often it was there.
local function distinct(lanes)
  local names, counts = {}, {}
  for _, lane in ipairs(lanes) do
    if not counts[lane] then
      names[#names + 1] = lane
    end
    counts[lane] = (counts[lane] or 0) + 1
  end
  return names, counts
end

local function scores_in(key, names)
  local scores = {}
  for first = 1, #names, CHUNK do
    for index, score in ipairs(redis.call('ZMSCORE', key, unpack(names, first, math.min(first + CHUNK - 1, #names)))) do
      scores[first + index - 1] = tonumber(score or nil)
    end
  end
  return scores
end

local function add_all(key, members)
  local added = {}
  for index, member in ipairs(members) do
    added[2 * index - 1], added[2 * index] = 0, member
  end
  each('ZADD', key, added)
end

-- Put lanes behind the others in the same turn; 'turns' by the index of the lane.
local function take_turns(names, turns)
  local lasts, added = {}, {}
  for index, lane in ipairs(names) do
    local turn = turns[index]
    lasts[turn] = (lasts[turn] or last_in(turn)) + NEXT
    added[#added + 1], added[#added + 2] = exact(lasts[turn]), lane
  end
  each('ZADD', TURN, added)
end

-- These lanes come to life.
local function come_to_life(names)
  if #names == 0 then
    return
  end
  each('ZREM', PARK, names)
  local turn, turns = new_turn(gate().fair), {}
  for index in ipairs(names) do
    turns[index] = turn
  end
  take_turns(names, turns)
end

-- These ready messages are in their lanes.
local function enter(places)
  local lanes = lanes_of(places)
  add_all(LANES, members_of(lanes, places))
  local names, new = distinct(lanes), {}
  local turns, parked = scores_in(TURN, names), scores_in(PARK, names)
  for index, lane in ipairs(names) do
    if not parked[index] and not turns[index] then
      new[#new + 1] = lane
    end
  end
  come_to_life(new)
end

-- These messages are ready; 'ready' has each place twice, as score and member.
local function make_ready(ready)
  each('ZADD', READY, ready)
  if #ready > 0 and has_lanes() then
    local places = {}
    for index = 2, #ready, 2 do
      places[index / 2] = ready[index]
    end
    enter(places)
  end
end

-- These messages are ready no more, though no receiver took them. Returns how many were.
local function unready(places)
  local count = 0
  for first = 1, #places, CHUNK do
    count = count + redis.call('ZREM', READY, unpack(places, first, math.min(first + CHUNK - 1, #places)))
  end
  if count > 0 and has_lanes() then
    local lanes = lanes_of(places)
    each('ZREM', LANES, members_of(lanes, places))
    local empty = {}
    for _, lane in ipairs((distinct(lanes))) do
      if #first_of(lane, 1) == 0 then
        empty[#empty + 1] = lane
      end
    end
    each('ZREM', TURN, empty)
    each('ZREM', PARK, empty)
  end
  return count
end

-- These messages are held no more: that may free places of their lanes. Before their lanes are forgotten.
local function free(places)
  if #places == 0 or not has_lanes() or not gate().each.places then
    return
  end
  local lanes, freed = lanes_of(places), {}
  each('ZREM', LANES, members_of(lanes, places, true))
  local names = distinct(lanes)
  for index, time in pairs(scores_in(PARK, names)) do
    if time == math.huge then
      freed[#freed + 1] = names[index]
    end
  end
  come_to_life(freed)
end

-- The tokens of these messages, which were released, can be spent again.
local function give_back(places)
  if #places == 0 or not limits then
    return
  end
  spend(-#places)
  local bucket = gate().each
  if has_lanes() and bucket.rate then
    local names, counts = distinct(lanes_of(places))
    local marks, parked = scores_in(MARKS, names), scores_in(PARK, names)
    local changed, opened = {}, {}
    for index, lane in ipairs(names) do
      if marks[index] then
        changed[#changed + 1], changed[#changed + 2] = exact(math.max(marks[index] - counts[lane], bucket.clock)), lane
      end
      if parked[index] then
        opened[#opened + 1] = lane
      end
    end
    each('ZADD', MARKS, changed)
    come_to_life(opened)
  end
end
