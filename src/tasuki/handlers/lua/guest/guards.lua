-- What scripts get in place of pcall, coroutine.* and of the C functions that work long for one instruction.
--
-- A spent budget is raised again by every function here that catches errors (the hook's error must not be swallowed);
-- a host call inside a user coroutine is handed outward by resume and wrap, so that it suspends the whole handler.
-- C functions count as one instruction whatever they do: they are charged by size before they run.

local host, guards = ...

local create, resume, yield = coroutine.create, coroutine.resume, coroutine.yield
local running, isyieldable, status = coroutine.running, coroutine.isyieldable, coroutine.status
local pcall, xpcall, error, type, select, next = pcall, xpcall, error, type, select, next
local find, gsub = string.find, string.gsub
local setmetatable, getmetatable, rawget, rawlen, tonumber = setmetatable, getmetatable, rawget, rawlen, tonumber
local charge, heed, recheck, watch, owned, ASYNC = host.charge, host.heed, host.recheck, host.watch, host.owned, host.ASYNC
local hasten = host.hasten

local MAX_PCALL_DEPTH = 100
local depths = setmetatable({}, { __mode = "k" }) -- pcall depth by coroutine

-- A C function that a guard called says "host:12:"; the script shall see its own line. Runs no code of the script.
local function relocate(err)
  if type(err) == "string" and find(err, "^host:%d+: ") then
    local place = host.where()
    return gsub(err, "^host:%d+: ", place ~= "" and place .. ": " or "", 1)
  end
  return err
end

local function caught(co, ok, ...)
  depths[co] = (depths[co] or 1) - 1
  recheck()
  return ok, ...
end

function guards.pcall(f, ...)
  charge(10)
  local co = running()
  local depth = (depths[co] or 0) + 1
  if depth > MAX_PCALL_DEPTH then -- deeper, the hook itself could not run (C stack)
    charge(10000)
    error("pcall nested too deep (more than 100 levels)", 2)
  end
  depths[co] = depth
  return caught(co, xpcall(f, relocate, ...))
end

local function handled(handler, ok, ...)
  if ok then
    return true, ...
  end
  return false, handler(...)
end

function guards.xpcall(f, handler) -- the handler runs after unwinding: under the hook, and it may wait
  if type(handler) ~= "function" then
    error("bad argument #2 to 'xpcall' (function expected, got " .. type(handler) .. ")", 2)
  end
  return handled(handler, guards.pcall(f))
end

function guards.create(f)
  if type(f) ~= "function" then
    error("bad argument #1 to 'create' (function expected, got " .. type(f) .. ")", 2)
  end
  charge(2000)
  local co = create(f)
  watch(co)
  return co
end

local function passed(co, ok, tag, ...)
  if ok and tag == ASYNC then
    if not isyieldable() then
      host.need_yield((...))
    end
    return passed(co, resume(co, yield(ASYNC, ...)))
  end
  recheck()
  return ok, tag, ...
end

local function check_thread(co, name)
  if type(co) ~= "thread" then
    error("bad argument #1 to '" .. name .. "' (coroutine expected, got " .. type(co) .. ")", 3)
  end
end

function guards.resume(co, ...)
  charge(10)
  check_thread(co, "resume")
  if owned[co] then -- the host's own: idle ones wait for the next message
    return false, "can not resume a running thread"
  elseif status(co) == "dead" then
    return false, "can not resume a dead thread"
  end
  return passed(co, resume(hasten(co), ...))
end

local function raised(ok, ...)
  if not ok then
    error((...), 0)
  end
  return ...
end

function guards.wrap(f)
  local co = guards.create(f)
  return function(...)
    charge(10)
    return raised(passed(co, resume(hasten(co), ...)))
  end
end

function guards.status(co)
  check_thread(co, "status")
  return owned[co] == true and co ~= running() and "normal" or status(co)
end

-- Tables: sizes come from rawlen, and a __len of the script is refused, because C loops run as far as it says ------------

local function size_of(t, name)
  if type(t) ~= "table" then
    error("bad argument #1 to '" .. name .. "' (table expected, got " .. type(t) .. ")", 3)
  end
  local mt = getmetatable(t)
  if mt and not host.frozen[t] and rawget(mt, "__len") then
    error("table." .. name .. " cannot be used on a table with a __len metamethod", 3)
  end
  return rawlen(t)
end

local function writable(t, verb)
  if host.frozen[t] then
    error("attempt to " .. verb .. " Immutable table", 3)
  end
end

local concat, insert, remove, sort, unpack = table.concat, table.insert, table.remove, table.sort, table.unpack

local tointeger, mathtype = math.tointeger, math.type

local function whole(n) -- as C reads it; runs no code of the script
  if mathtype(n) == "integer" then
    return n
  elseif type(n) == "string" then
    charge(#n // 4)
  end
  return tointeger(tonumber(n)) or 0
end
host.whole = whole

local function span(i, j) -- how many places C goes through; as a float, which does not wrap around
  return whole(j) + 1.0 - whole(i)
end

function guards.concat(t, separator, i, j)
  local n = size_of(t, "concat")
  charge(i == nil and j == nil and n or span(i or 1, j or n))
  if separator ~= nil and type(separator) ~= "string" then
    separator = host.text(separator)
  end
  local ok, result = pcall(concat, t, separator, i or 1, j or #t)
  recheck()
  if ok then
    return result
  end
  local copy, last = {}, j or n -- error objects stand for their text
  for k = i or 1, last do
    charge(1)
    copy[k] = host.is_error(t[k]) and host.text(t[k]) or t[k]
  end
  ok, result = pcall(concat, copy, separator, i or 1, last)
  if not ok then
    error(result, 2)
  end
  return result
end

function guards.insert(t, ...)
  local n = size_of(t, "insert")
  writable(t, "insert into")
  local count, at, value = select("#", ...), ...
  if count == 1 then
    t[n + 1] = at
  elseif count == 2 then
    charge(span(at, n))
    insert(t, at, value)
  else
    error("wrong number of arguments to 'insert'", 2)
  end
end

function guards.remove(t, at)
  local n = size_of(t, "remove")
  writable(t, "remove from")
  if at == nil then
    return remove(t)
  end
  charge(span(at, n))
  return remove(t, at)
end

local LONG = 256 -- bytes of a text from which on a comparison takes more time than a call

local function has_long_texts(t, n)
  for i = 1, n do
    local v = rawget(t, i)
    if type(v) == "string" and #v > LONG then
      return true
    end
  end
  return false
end

local function is_less(a, b)
  heed(type(a) == "string" and #a // 64 or 0)
  return a < b
end

function guards.sort(t, less)
  local n = size_of(t, "sort")
  writable(t, "sort")
  charge(n * 16)
  return sort(t, less == nil and has_long_texts(t, n) and is_less or less)
end

function guards.unpack(t, i, j)
  local n = size_of(t, "unpack")
  if host.frozen[t] then
    n = #t
  end
  local first, last = i or 1, j or n
  charge(i == nil and j == nil and n or span(first, last))
  return unpack(t, first, last)
end
