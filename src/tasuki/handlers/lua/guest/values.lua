-- Lua values on their way to Python: flattened to a shape text and scalars, because only scalars may cross.
--
-- (Handing a table over would register a reference outside any protected call, which aborts the process at the memory
-- limit; reading it from Python would run its metamethods outside the hook. Here everything is raw and counted.)
--
--   host.flatten(mode, ...)  shape, scalars...   one letter a value, parents before their children:
--     v scalar · b binary text (one char a byte) · x float that JSON must write in plain decimal
--     O object of scalars: n, key, value, ... · o object: n, then key and child n times
--     e error object: message, then kind, retryable and details as children
--     A array of scalars: n, value, ... · a array: n, then n children
--   modes: "json" as json.encode writes it · "body" the same, binary texts kept · "loose" as stores copy it: holes and
--     mixed keys allowed (a positive integer key makes an array), functions as their text, floats as they are
--     "call" as arguments and results are: loose, but tables keep all their keys and error objects are kept; functions
--     and other objects belong to one runtime, and are nil in another
--   host.EMPTY               metatable that marks an empty table as an object: `{}`, where a fresh {} is `[]`

local host = ...

local type, next, rawget, error, tostring, select, setmetatable = type, next, rawget, error, tostring, select, setmetatable
local mathtype, floor, huge, unpack, concat = math.type, math.floor, math.huge, table.unpack, table.concat
local is_utf8, utf8_char, gsub, byte, sub = utf8.len, utf8.char, string.gsub, string.byte, string.sub
local rawmeta = debug.getmetatable
local charge = host.charge

local MAX_DEPTH, MAX_VALUES = 129, 250000
local MAX_TEXT = 4000
local EMPTY = {}
host.EMPTY = EMPTY

local JSON = "json: error calling MarshalJSON for type *json.jsonValue: "

local function widen(text) -- every byte as one character, so that the text is UTF-8
  return (gsub(text, "[\128-\255]", function(c)
    return utf8_char(byte(c))
  end))
end

local function scrub(text) -- bytes that are not UTF-8 as U+FFFD
  if is_utf8(text) then
    return text
  end
  charge(#text // 16)
  local parts, at = {}, 1
  while at <= #text do
    local _, bad = is_utf8(text, at)
    if not bad then
      break
    end
    parts[#parts + 1] = sub(text, at, bad - 1) .. "\u{FFFD}"
    at = bad + 1
  end
  parts[#parts + 1] = sub(text, at)
  return concat(parts)
end
host.scrub = scrub

-- A message for people: cut to a few KB, valid UTF-8.
function host.clean(text)
  if #text > MAX_TEXT then
    text = sub(text, 1, MAX_TEXT) .. "... (cut)"
  end
  return scrub(text)
end

local mode, loose, out, n, parts, m, stack, bytes -- of the flattening under way; it never yields

-- A text that is one in Lua is as many in Python as it is referred to.
local function weigh(text)
  bytes = bytes + #text
  if bytes > host.most_bytes then
    error("value has more than " .. host.most_bytes .. " bytes of text; limits.memory of the entry allows more", 0)
  end
  return text
end

local put

local function put_number(v)
  local letter = "v"
  if not loose and mathtype(v) == "float" then
    if v ~= v or v == huge or v == -huge then
      v = nil
    elseif v == floor(v) and v >= -0x1p63 and v < 0x1p63 then
      v = floor(v)
    elseif mode == "json" and (v > -1e-4 and v < 1e-4 or v >= 1e15 or v <= -1e15) then
      letter = "x"
    end
  end
  m, n = m + 1, n + 1
  parts[m], out[n] = letter, v
end

local function put_binary(v)
  local letter = "v"
  if mode == "json" then
    v = scrub(v)
  else
    charge(#v // 16)
    v, letter = widen(v), "b"
  end
  weigh(v)
  m, n = m + 1, n + 1
  parts[m], out[n] = letter, v
end

local function key_text(key)
  if type(key) == "string" then
    return scrub(key)
  elseif host.is_error(key) then
    return host.text(key)
  end
  return tostring(key)
end

local function open(letter)
  m, n = m + 1, n + 1
  parts[m] = letter
  if n > MAX_VALUES then
    error("value has more than " .. MAX_VALUES .. " parts", 0)
  end
  return m, n
end

-- The children of a container follow in `parts`; all scalars: they need no letters.
local function close(part, at, count)
  out[at] = count
  for i = part + 1, m do
    if parts[i] ~= "v" then
      return
    end
  end
  parts[part] = parts[part] == "o" and "O" or "A"
  m = part
end

local function put_array(t, last, depth)
  local part, at = open("a")
  charge(last)
  for i = 1, last do
    put(rawget(t, i), depth + 1)
  end
  close(part, at, last)
end

local function put_object(t, depth)
  local part, at = open("o")
  local count = 0
  for key, value in next, t do
    local name
    if type(key) == "string" and is_utf8(key) then
      name = weigh(key)
    elseif loose or mathtype(key) ~= "integer" then
      name = mode == "call" and mathtype(key) == "integer" and key or weigh(key_text(key))
    end
    if name then
      n, count = n + 1, count + 1
      out[n] = name
      put(value, depth + 1)
    end
  end
  close(part, at, count)
end

-- How many positive integer keys, the highest of them (0: none), whether there are keys of another kind, and integers
-- below one.
local function survey(t)
  local count, highest, others, outside = 0, 0, false, false
  for key in next, t do
    if mathtype(key) ~= "integer" then
      others = true
    elseif key > 0 then
      count, highest = count + 1, key > highest and key or highest
    else
      outside = true
    end
  end
  return count, highest, others, outside
end

local function put_table(t, depth)
  if stack[t] then
    error(loose and "value refers to itself" or JSON .. "cannot encode recursively nested tables to JSON", 0)
  elseif depth > MAX_DEPTH then
    error(loose and "value is nested too deep" or JSON .. "exceeded maximum nesting depth for JSON encoding", 0)
  end
  stack[t] = true
  local source = host.frozen[t] or t
  local count, highest, others, outside = survey(source)
  if mode == "call" and highest > 0 and (others or outside or highest > 2 * count + 8) then
    put_object(source, depth)
    stack[t] = nil
    return
  elseif not loose and highest > 0 then
    if others then
      error(JSON .. "cannot encode mixed-key table: table has both numeric and non-numeric keys", 0)
    elseif count < highest then
      error(JSON .. "cannot encode sparse array: non-contiguous numeric keys found", 0)
    end
  end
  if highest > MAX_VALUES then
    error("value has more than " .. MAX_VALUES .. " parts", 0)
  elseif highest > 0 or next(source) == nil and rawmeta(t) ~= EMPTY then
    put_array(source, highest, depth)
  else
    put_object(source, depth)
  end
  stack[t] = nil
end

local function put_error(data, depth)
  m, n = m + 1, n + 1
  parts[m], out[n] = "e", weigh(scrub(data.message))
  put(data.kind, depth)
  put(data.retryable, depth)
  put(data.details, depth)
  return true
end

function put(v, depth)
  local kind = type(v)
  if kind == "string" then
    if not is_utf8(v) then
      return put_binary(v)
    end
    weigh(v)
  elseif kind == "number" then
    return put_number(v)
  elseif kind == "table" and not host.is_object(v) then
    return put_table(v, depth)
  elseif kind ~= "boolean" and kind ~= "nil" then -- error objects, functions, coroutines
    if host.is_error(v) then
      return mode == "call" and put_error(host.error_data[v], depth) or put(host.full_text(v), depth)
    end
    v = mode == "loose" and host.tostring(v) or nil
  end
  if n > MAX_VALUES then
    error("value has more than " .. MAX_VALUES .. " parts", 0)
  end
  m, n = m + 1, n + 1
  parts[m], out[n] = "v", v
end

function host.flatten(how, ...)
  mode, loose, out, n, parts, m, stack, bytes = how, how == "loose" or how == "call", {}, 0, {}, 0, {}, 0
  for i = 1, select("#", ...) do
    put((select(i, ...)), 1)
  end
  local values = out
  out, stack = nil, nil
  return concat(parts, "", 1, m), unpack(values, 1, n)
end

function host.pack_result(a, b)
  if b ~= nil and (type(b) == "string" or host.is_error(b)) or type(a) ~= "table" and type(a) ~= "string" then
    return a, b
  end
  return host.PACKED, host.flatten("call", a)
end

-- From Python -----------------------------------------------------------------------------------------------------------

function host.new_object()
  return setmetatable({}, EMPTY)
end

function host.new_list(...) -- a list with holes: # counts them
  return { ... }
end

function host.extend(t, more, start, count) -- a large value comes in pieces: a list has `count` more, an object 0
  if count == 0 then
    for key, value in next, more do
      t[key] = value
    end
  end
  for i = 1, count do
    t[start + i] = more[i]
  end
end
