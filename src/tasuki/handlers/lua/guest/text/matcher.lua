-- Lua patterns matched in Lua, where the hook counts: for patterns that could run too long in C.
--
--   host.matcher(pattern)          compiled pattern; raises "malformed pattern" as the C matcher does
--   host.match_at(m, s, i)         last index + 1 and captures of a match that starts at i, or nil
--   host.captures(s, i, e, list)   the captures as values; the whole match when there are none
--
-- A pattern becomes a list of nodes. The characters that an item stands for are a table by byte, filled once by asking
-- the C matcher about each byte: so every class means exactly the same here.

local host = ...

local byte, char, sub, find, error, unpack = string.byte, string.char, string.sub, string.find, error, table.unpack
local sets, count = {}, 0

local function set_of(item)
  local set = sets[item]
  if not set then
    set = {}
    for b = 0, 255 do
      if find(char(b), "^" .. item) then
        set[b] = true
      end
    end
    if count < 1000 then
      sets[item], count = set, count + 1
    end
  end
  return set
end

local function bracket_end(p, i) -- of the set that begins at i
  local at = i + 1
  if sub(p, at, at) == "^" then
    at = at + 1
  end
  repeat
    if at > #p then
      error("malformed pattern (missing ']')", 0)
    end
    at = at + (sub(p, at, at) == "%" and 2 or 1)
  until sub(p, at, at) == "]"
  return at
end

local function item_end(p, i)
  local c = sub(p, i, i)
  if c == "%" then
    if i == #p then
      error("malformed pattern (ends with '%')", 0)
    end
    return i + 1
  elseif c == "[" then
    return bracket_end(p, i)
  end
  return i
end

local function item(p, i)
  local last = item_end(p, i)
  local text, suffix = sub(p, i, last), sub(p, last + 1, last + 1)
  if find(text, "^[%^%$%(%)%*%+%-%?]$") then
    text = "%" .. text
  end
  local node = { op = "set", set = set_of(text) }
  if suffix ~= "" and find("*+-?", suffix, 1, true) then
    node.repeats, last = suffix, last + 1
  end
  return node, last + 1
end

local function special(p, i) -- %b %f %1, or an escaped character
  local kind = sub(p, i + 1, i + 1)
  if kind == "b" then
    if #p < i + 3 then
      error("malformed pattern (missing arguments to '%b')", 0)
    end
    return { op = "balance", open = byte(p, i + 2), close = byte(p, i + 3) }, i + 4
  elseif kind == "f" then
    if sub(p, i + 2, i + 2) ~= "[" then
      error("missing '[' after '%f' in pattern", 0)
    end
    local last = bracket_end(p, i + 2)
    return { op = "frontier", set = set_of(sub(p, i + 2, last)) }, last + 1
  elseif find(kind, "^[1-9]$") then
    return { op = "back", index = byte(kind) - 48 }, i + 2
  end
  return item(p, i)
end

local function next_node(p, i)
  local c = sub(p, i, i)
  if c == "(" then
    if sub(p, i + 1, i + 1) == ")" then
      return { op = "capture", stop = "position" }, i + 2
    end
    return { op = "capture", stop = false }, i + 1
  elseif c == ")" then
    return { op = "close" }, i + 1
  elseif c == "$" and i == #p then
    return { op = "end" }, i + 1
  elseif c == "%" then
    return special(p, i)
  end
  return item(p, i)
end

function host.matcher(pattern)
  local anchored = sub(pattern, 1, 1) == "^"
  local nodes, i = { anchored = anchored }, anchored and 2 or 1
  while i <= #pattern do
    local node
    node, i = next_node(pattern, i)
    nodes[#nodes + 1] = node
  end
  return nodes
end

local run

local function repeated(nodes, k, s, i, caps)
  local node = nodes[k]
  local set, how = node.set, node.repeats
  if how == "-" then
    while true do
      local stop = run(nodes, k + 1, s, i, caps)
      if stop then
        return stop
      elseif not set[byte(s, i)] then
        return nil
      end
      i = i + 1
    end
  end
  local last = i
  while set[byte(s, last)] and (how ~= "?" or last == i) do
    last = last + 1
  end
  for at = last, how == "+" and i + 1 or i, -1 do
    local stop = run(nodes, k + 1, s, at, caps)
    if stop then
      return stop
    end
  end
  return nil
end

local function balanced(node, s, i)
  if byte(s, i) ~= node.open then
    return nil
  end
  local depth = 1
  for at = i + 1, #s do
    local b = byte(s, at)
    if b == node.close then
      depth = depth - 1
      if depth == 0 then
        return at + 1
      end
    elseif b == node.open then
      depth = depth + 1
    end
  end
  return nil
end

local function capture(nodes, k, s, i, caps, stop) -- stop: false opens, "position" is one by itself
  caps[#caps + 1] = { start = i, stop = stop }
  local result = run(nodes, k + 1, s, i, caps)
  if not result then
    caps[#caps] = nil
  end
  return result
end

local function close(nodes, k, s, i, caps)
  for n = #caps, 1, -1 do
    if caps[n].stop == false then
      caps[n].stop = i
      local result = run(nodes, k + 1, s, i, caps)
      if not result then
        caps[n].stop = false
      end
      return result
    end
  end
  error("invalid pattern capture", 0)
end

local function back(node, s, i, caps)
  local cap = caps[node.index]
  if not cap or not cap.stop or cap.stop == "position" then
    error("invalid capture index %" .. node.index, 0)
  end
  host.charge((cap.stop - cap.start) // 64)
  local text = sub(s, cap.start, cap.stop - 1)
  return sub(s, i, i + #text - 1) == text and i + #text
end

local function simple(node, s, i, caps) -- nodes that match in one way at most: where they end
  local op = node.op
  if op == "set" then
    return node.set[byte(s, i)] and i + 1
  elseif op == "end" then
    return i == #s + 1 and i
  elseif op == "balance" then
    return balanced(node, s, i)
  elseif op == "frontier" then
    local before, here = i > 1 and byte(s, i - 1) or 0, i <= #s and byte(s, i) or 0
    return not node.set[before] and node.set[here] and i
  end
  return back(node, s, i, caps)
end

function run(nodes, k, s, i, caps)
  while i do
    local node = nodes[k]
    if not node then
      return i
    elseif node.repeats then
      return repeated(nodes, k, s, i, caps)
    elseif node.op == "capture" then
      return capture(nodes, k, s, i, caps, node.stop)
    elseif node.op == "close" then
      return close(nodes, k, s, i, caps)
    end
    i, k = simple(node, s, i, caps), k + 1
  end
  return nil
end

function host.match_at(nodes, s, i)
  local caps = {}
  return run(nodes, 1, s, i, caps), caps
end

function host.captures(s, i, stop, caps)
  if #caps == 0 then
    return sub(s, i, stop - 1)
  end
  local values = {}
  for n = 1, #caps do
    local cap = caps[n]
    if cap.stop == false then
      error("unfinished capture", 0)
    end
    values[n] = cap.stop == "position" and cap.start or sub(s, cap.start, cap.stop - 1)
  end
  return unpack(values, 1, #caps)
end
