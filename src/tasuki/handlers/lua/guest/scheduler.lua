-- The coroutines of one invocation: which of them runs next, and what each waits for.
--
-- An invocation has one coroutine until it spawns, makes a timer, starts a function or waits on a channel; from then on
-- its record holds the tasks below, and it speaks to Python with tickets (scheduler.py):
--
--   6, id, ticket, op, shape, values...   begin `op`; answer the ticket at once, or proceed and answer it when it is done
--   7, id, breathe                        nothing can run before a ticket is answered (breathe: let the loop run once)
--   host.resume(id, ok, value, boxed, ticket)   answers one; ticket 0: proceed
--
-- For the host's own files:
--
--   host.pause(waiter)              waits until host.ready(waiter.task, a, b); returns a, b
--   host.give_way(a, b, task, ...)  the others first, then a, b is returned; behind this one `task` becomes ready with ...
--   host.ready(task, a, b)          that task goes on, behind all that are ready now
--   host.begin(callback, mode, op, ...)   Python does `op` beside the script; returns the ticket, or nil and the
--                                   error. callback(ok, value) runs outside of all coroutines, must not yield, and may
--                                   return op, values...: to go on with under the same ticket
--   host.cancel(ticket)             no coroutine waits for it any more, and Python stops it
--
-- All of it yields ASYNC, so it reaches `host.switch` from within the script's own coroutines too.

local host = ...

local create, yield, resume, traceback = coroutine.create, coroutine.yield, coroutine.resume, debug.traceback
local type, pcall = type, pcall
local ASYNC, DONE, RESCHEDULE, finish, leave, ended = host.ASYNC, host.DONE, host.RESCHEDULE, host.finish, host.leave, host.ended
local MAX_SWITCHES = 100 -- then the event loop has its turn, whatever the coroutines tell each other
local PROCEED = 0

local switches = {}
host.switches = switches

-- Tasks of a record: `task` runs now, `first` goes before all others, `ready` are next, `later` have yielded on their own.
local function new_tasks(record)
  record.task = { co = record.co, record = record }
  record.ready, record.head, record.tail = {}, 1, 0
  record.later, record.tickets, record.pending, record.last = {}, {}, 0, PROCEED
  record.switched, record.alive = 0, 1
end

local function ready(task, a, b)
  local record = task.record
  task.a, task.b = a, b
  record.tail = record.tail + 1
  record.ready[record.tail] = task
end
host.ready = ready

local function run(record, task)
  record.task = task
  local a, b = task.a, task.b
  task.a, task.b = nil, nil
  if task.yielded then -- the script's own coroutine.yield returns nothing
    task.yielded = false
    return finish(task.co, resume(host.hasten(task.co)))
  end
  return finish(task.co, resume(host.hasten(task.co), a, b))
end

local function breathe(record)
  for i = 1, #record.later do
    ready(record.later[i])
  end
  record.later, record.switched = {}, 0
  return leave(7, record.id, true)
end

local function next_task(record)
  local first = record.first
  if first then
    record.first = nil
    return run(record, first)
  elseif record.head <= record.tail then
    if record.switched >= MAX_SWITCHES then
      return breathe(record)
    end
    local task = record.ready[record.head]
    record.ready[record.head] = nil
    record.head, record.switched = record.head + 1, record.switched + 1
    return run(record, task)
  end
  record.head, record.tail, record.switched = 1, 0, 0
  if #record.later > 0 then
    return breathe(record)
  elseif record.pending > 0 then
    return leave(7, record.id, false)
  end
  local text = "deadlock: all coroutines blocked with no pending operations (threads=" .. record.alive .. ")"
  return ended(4, text, host.clean(traceback(record.co)), nil, nil, false)
end

function host.next_task(record) -- one has come to its end
  record.alive = record.alive - 1
  return next_task(record)
end

local function ask(record, waiting, ...)
  local ticket = record.last + 1
  record.last, record.pending = ticket, record.pending + 1
  record.tickets[ticket] = waiting
  return leave(6, record.id, ticket, ...)
end

function switches.spawn(record, fn)
  local co = create(function()
    fn()
    return DONE
  end)
  host.owned[co] = "spawned"
  host.watch(co)
  record.alive = record.alive + 1
  ready({ co = co, record = record })
  record.task.a = co
  return run(record, record.task)
end

function switches.pause(record, waiter)
  waiter.task = record.task
  return next_task(record)
end

function switches.give_way(record, a, b, task, ...)
  ready(record.task, a, b)
  if task then
    ready(task, ...)
  end
  return next_task(record)
end

function switches.begin(record, callback, ...)
  record.first, record.task.a = record.task, record.last + 1
  return ask(record, callback, ...)
end

function switches.cancel(record, shape, ticket)
  if record.tickets[ticket] then
    record.tickets[ticket], record.pending = nil, record.pending - 1
  end
  return ask(record, record.task, "cancel", shape, ticket)
end

switches[RESCHEDULE] = function(record)
  record.task.yielded = true
  record.later[#record.later + 1] = record.task
  return next_task(record)
end

function host.switch(record, op, ...)
  if not record.ready then
    new_tasks(record)
  end
  local own = switches[op]
  if own then
    return own(record, ...)
  end
  return ask(record, record.task, op, ...)
end

local function called_back(record, ticket, op, ...)
  if op then
    record.tickets[ticket], record.pending = record.again, record.pending + 1
    return leave(6, record.id, ticket, op, false, ...)
  end
  return next_task(record)
end

function host.answer(record, ticket, ok, value)
  local waits = record.tickets[ticket]
  if waits == nil then -- proceed, or an answer without a waiting coroutine
    if ticket == PROCEED then
      record.task = nil
    end
    return next_task(record)
  end
  record.tickets[ticket], record.pending = nil, record.pending - 1
  if type(waits) == "function" then
    record.again = waits
    return called_back(record, ticket, waits(ok, value))
  elseif waits == record.task then -- at once: no other coroutine has run
    waits.a, waits.b = ok, value
    return run(record, waits)
  end
  ready(waits, ok, value)
  return next_task(record)
end

-- Called within coroutines of the script --------------------------------------------------------------------------------

function host.pause(waiter)
  return yield(ASYNC, "pause", waiter)
end

function host.give_way(...)
  return yield(ASYNC, "give_way", ...)
end

local function begun(callback, op, ok, shape, ...)
  if ok then
    return yield(ASYNC, "begin", callback, op, shape, ...)
  end
  return nil, host.refused(shape)
end

function host.begin(callback, mode, op, ...)
  host.need_yield(op)
  return begun(callback, op, pcall(host.flatten, mode, ...))
end

function host.cancel(ticket)
  host.ask("cancel", ticket)
end
