-- The privileged half of a runtime: it runs once, before any script, and keeps the real functions for itself.
--
-- It owns the coroutines that handlers run in and the budget of the running invocation. A host function reaches Python
-- by a yield of ASYNC (host_calls.lua). A script sees none of these tables; `host` is shared by the other host files only.
--   host.run(arg, b, used)     one message       ┐ nil | true | false           done, with that result
--   host.call(args, n, used)   any arguments     │ 0, value                     done, with a number or a text
--   host.resume(id, ok, v, b)  go on after 2     │ 1, shape, values...          done, with a table (call only)
--                                                │ 2, id, op, shape, values...  waits for Python to do `op`
--                                                │ 3, message, kind, retryable, shape, values...   returned an error
--                                                │ 4, message, trace, kind, retryable, shape, ...  raised
--                                                │ 5, limit, message, trace     a limit ended it
--                                                ┘ 6, ... | 7, ...              has coroutines of its own: scheduler.lua
--   host.drop(id)              forget a waiting invocation (cancel)
--   host.charge(n)             a C function is about to do the work of n instructions
--   host.heed(n)               a C function may be about to do so

-- own_clock: processor time of this thread alone, where others run beside it. CROWDED: bytes from which on one instruction
-- may cost a collection of all of them. PATIENCE: seconds that a step may keep the event loop, where it runs on one: then
-- `tired` is called once, and a message that has asked for nothing yet is ended, to begin again elsewhere.
local TIME, INSTRUCTIONS, CROWDED, own_clock, PATIENCE, thread_clock, tired = ...

local create, resume, yield = coroutine.create, coroutine.resume, coroutine.yield
local running, sethook = coroutine.running, debug.sethook
local clock, error, type, setmetatable, unpack, min, max = os.clock, error, type, setmetatable, table.unpack, math.min, math.max
local collectgarbage = collectgarbage
local is_utf8 = utf8.len

local host, ASYNC, DONE, PACKED = {}, {}, {}, {}
local RESCHEDULE = "yield" -- coroutine.yield at the top level of a handler: the others may run
local SHORT = 0.05 -- seconds of a step for which the time of all threads counts as the time of this one
local STEP, FIRST, CLOSE, FINE = 10000, 500, 200, 10 -- instructions between two reads of the clock
local QUICK = PATIENCE or SHORT -- seconds of a step for which only the limits count
local USUAL = 1e8 -- instructions a second
local FILLED, LONGEST, MAX_POOL = 2048, 3e6, 64 -- KiB from which on texts may be long, and by instruction; idle coroutines
CROWDED = CROWDED / 1024

-- lupa looks these names up outside any protected call: interned here, the look-up never allocates.
host.interned = { "debug", "traceback", "python" }

-- The running invocation. `started` is false until the clock is first read: short scripts never read it.
local remaining, spent, started, last, killed, serial, body, record = INSTRUCTIONS, 0, false, 0, false, 0, nil, nil

local owned = setmetatable({}, { __mode = "k" }) -- coroutines that scripts may not resume
local paces = setmetatable({}, { __mode = "k" }) -- period of the hook by coroutine; none: FIRST
local kept_since = nil -- thread_clock when a step had been long by the process's clock, which other threads move on too
local own_since, own_before = nil, 0 -- of a step that is not short: own_clock at a moment, and the time spent until then
local pool, pooled, waiting, last_id, serials, hook = {}, 0, {}, 0, 0, nil

local function set_pace(co, count)
  paces[co] = count
  sethook(co, hook, "", count)
end

local function kill(limit)
  killed = limit
  set_pace(running(), 1) -- nothing in this coroutine, a __close handler included, runs on
  error(limit .. " limit", 0)
end

local function recheck() -- after a real pcall or resume too: a spent budget cannot be caught
  if killed then
    set_pace(running(), 1) -- __close handlers in this coroutine do not run on either
    error(killed .. " limit", 0)
  end
end
host.recheck = recheck

-- The process's clock is cheap and never behind; so this thread's own is asked only when it matters.
local function used_until(now, is_exact)
  local used = now - started
  if own_clock and used > SHORT then
    if not own_since then
      own_since, own_before = own_clock(), used
    elseif is_exact or spent + used > TIME then
      used = own_before + own_clock() - own_since
      started = now - used
    end
  end
  return used
end

local pace = FIRST -- between two reads of the clock, from now on

-- One instruction may work on a text that fills the memory: the more there is of it, and the longer instructions have
-- taken, the sooner the clock is read again.
local function wanted_pace(now)
  local kib = collectgarbage("count")
  return started and now - last > 0.02 and FINE
    or kib > CROWDED and CLOSE
    or kib > FILLED and max(FIRST, LONGEST // kib)
    or STEP
end

local function hasten(co) -- it is about to be resumed, and may have been given its pace when there was less
  if (paces[co] or FIRST) > pace then
    set_pace(co, pace)
  end
  return co
end
host.hasten = hasten

-- A long text brings about a collection, which ends with this object: so no long text is there without being noticed. In a
-- finalizer Lua does not say how much memory is in use (collectgarbage returns nil there): the next hook asks.
local sentinel = {}
function sentinel.__gc(self)
  setmetatable(self, sentinel)
  local co, is_main = running()
  local count = paces[co] or FIRST
  if started and not is_main and count > FINE then
    remaining = remaining - min(count, (clock() - last) * USUAL // 1) -- executed since `last`, and not counted now
    pace = FINE
    set_pace(co, FINE)
  end
end
setmetatable({}, sentinel)

local function tire()
  local now = thread_clock()
  kept_since = kept_since or now
  if now - kept_since > PATIENCE then
    PATIENCE = nil
    tired()
    if not record then
      kill("patience")
    end
  end
end

local function judge(now) -- a limit is spent, or the step is not quick
  if remaining < 0 then
    kill("instructions")
  end
  local used = used_until(now)
  if spent + used > TIME then
    kill("time")
  elseif PATIENCE and used > PATIENCE and host.entry then
    tire()
  end
end

-- A script with much memory comes here every few hundred instructions, so that rare cases stand elsewhere.
local function look(cost)
  if killed then
    recheck()
  end
  remaining = remaining - cost
  local now, is_first = clock(), not started
  started = started or now
  local used = now - started
  if remaining < 0 or used > QUICK or spent + used > TIME then
    judge(now)
  end
  pace = is_first and FIRST or wanted_pace(now)
  last = now
end

function hook()
  local co = running()
  local count = paces[co] or FIRST
  look(count)
  if pace ~= count then
    set_pace(co, pace)
  end
end

local function look_ahead(cost) -- a long text may be about to be made
  look(cost)
  pace = pace > FIRST and FIRST or pace
  local co = running()
  if (paces[co] or FIRST) ~= pace then
    set_pace(co, pace)
  end
end

local charged = 0
function host.charge(n)
  charged = charged + (n > 0 and n or 0) -- C reports negative numbers and other types itself
  if charged >= STEP then
    local cost = charged
    charged = 0
    look_ahead(cost)
  end
end

local heeded = 0
function host.heed(n) -- the same for work that perhaps takes so long: it costs no instructions, but the clock is looked at
  heeded = heeded + (n > 0 and n or 0)
  if heeded >= STEP then
    heeded = 0
    look_ahead(0)
  end
end

function host.answered(...) -- back from Python, whose part counts too
  if spent > TIME then
    look(0)
  end
  return ...
end

local function worker(fn, arg)
  while true do
    fn, arg = yield(DONE, fn(arg))
  end
end

local function acquire()
  if pooled > 0 then
    local co = pool[pooled]
    pool[pooled] = nil
    pooled = pooled - 1
    return co
  end
  local co = create(worker)
  owned[co] = true
  sethook(co, hook, "", FIRST)
  return co
end

local function release(co)
  if paces[co] then
    paces[co] = nil
    sethook(co, hook, "", FIRST)
  end
  if pooled < MAX_POOL then
    pooled = pooled + 1
    pool[pooled] = co
  end
end

local function forget()
  if record then
    waiting[record.id] = nil
    record = nil
  end
  body = nil
end

local function leave(...) -- to Python, and come back by host.resume
  if started then
    spent = spent + used_until(clock(), true)
    started, own_since = false, nil
  end
  record.remaining, record.spent = remaining, spent
  return ...
end

local function suspend(co, op, ...)
  if not record then
    last_id = last_id + 1
    record = { id = last_id, co = co, serial = serial, body = body }
    waiting[last_id] = record
  end
  if record.ready or host.switches[op] then
    return host.switch(record, op, ...)
  end
  record.plain = op == RESCHEDULE
  return leave(2, record.id, op, ...)
end

local function ended(...)
  forget()
  return ...
end

local function finish(co, ok, tag, a, b, ...)
  if not ok or killed then
    return ended(host.failed(co, tag))
  end
  if tag == ASYNC then
    return suspend(co, a, b, ...)
  elseif tag ~= DONE then
    return suspend(co, RESCHEDULE, false)
  elseif record and co ~= record.co then -- a spawned one has come to its end
    return host.next_task(record)
  elseif record then
    forget()
  end
  release(co)
  if b ~= nil then
    if a == PACKED then
      return 1, b, ...
    elseif type(b) == "string" or host.is_error(b) then
      return 3, host.describe_failure(b)
    end
  end
  local kind = type(a)
  if kind == "boolean" then
    return a
  elseif kind == "number" or kind == "string" and is_utf8(a) then
    return 0, a
  end
  return nil
end

local function begin(fn, arg, payload, used)
  serials = serials + 1
  remaining, spent, started, killed, serial = INSTRUCTIONS, used, false, false, serials
  record, charged, body, own_since, kept_since = nil, 0, payload, nil, nil
  local co = acquire()
  return finish(co, resume(co, fn, arg))
end

function host.run(arg, boxed, used)
  if boxed then
    arg = arg[1]
  end
  return begin(host.entry, arg, arg, used or 0)
end

function host.call(args, n, used)
  return begin(function()
    return host.pack_result(host.entry(unpack(args, 1, n)))
  end, nil, args[1], used)
end

function host.start(fn) -- runs a top level
  return begin(fn, nil, nil, 0)
end

function host.resume(id, ok, value, boxed, ticket)
  record = waiting[id]
  remaining, spent, serial, body = record.remaining, record.spent, record.serial, record.body
  started, killed, charged, own_since, kept_since = false, false, 0, nil, nil
  if boxed then
    value = value[1]
  end
  if not ok then
    value = host.new_error(value.message, value.kind, value.retryable, value.details)
  end
  if ticket then
    return host.answer(record, ticket, ok, value)
  elseif record.plain then -- the script's own coroutine.yield returns nothing
    return finish(record.co, resume(hasten(record.co)))
  end
  return finish(record.co, resume(hasten(record.co), ok, value))
end

function host.spend(id, seconds) -- between two steps: so long has the invocation kept the loop, Python's part included
  local waits = waiting[id]
  waits.spent = seconds > waits.spent and seconds or waits.spent
end

function host.spent(id)
  return waiting[id].spent
end

function host.drop(id)
  record = waiting[id]
  forget()
end

-- What the other host files use ---------------------------------------------------------------------------------------

host.ASYNC, host.DONE, host.PACKED, host.RESCHEDULE = ASYNC, DONE, PACKED, RESCHEDULE
host.finish, host.ended, host.leave, host.owned = finish, ended, leave, owned

function host.killed()
  return killed
end

function host.watch(co)
  set_pace(co, STEP)
end

function host.invocation()
  return serial, body
end

return host
