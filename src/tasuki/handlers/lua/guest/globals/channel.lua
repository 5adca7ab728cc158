-- channel: values between the coroutines of one call. A global; no declaration needed.
--
--   channel.new(capacity?)              Channel; 0, the default: sender and receiver meet
--   ch:send(v)                          true | nil, err (closed while it waited); raises when it is closed already
--   ch:receive()                        v, true | nil, false (closed and drained)
--   ch:close()                          nothing; who waits goes on before the closer does
--   ch:case_receive() ch:case_send(v)   cases for select, reusable
--   channel.select({case..., default = true?}) channel.select(cases, default)
--       {channel, value, ok} of the first case that is ready, in their order | {default = true, ok = true}
--       | nil, err (the channel of a send case was closed while it waited)
--
-- Who waits is served in the order of coming. A channel belongs to the call that made it. When every coroutine waits and
-- nothing else is under way the call fails: "deadlock: all coroutines blocked with no pending operations (threads=N)".

local host = ...

local error, select, rawget, rawlen = error, select, rawget, rawlen
local charge, invocation, pause, give_way = host.charge, host.invocation, host.pause, host.give_way
local core = host.channels
local methods, data_of, state, enter, chosen = core.methods, core.data_of, core.state, core.enter, core.chosen
local received, sent, try_receive, try_send, shut = core.received, core.sent, core.try_receive, core.try_send, core.shut
local new_case, _, cases = host.class("channel.case", {})
local channel = {}

local function own(self, what)
  local c = data_of(self)
  if c.serial ~= invocation() then
    host.fail("the channel belongs to another call; make it in the handler")
  end
  charge(20)
  host.need_handler(what)
  return c
end

function channel.new(capacity)
  capacity = capacity == nil and 0 or host.expect("new", 1, capacity, "number")
  charge(100)
  return host.new_channel(capacity > 0 and capacity // 1 or 0)
end

function methods.send(self, value)
  local c = own(self, "channel.send")
  if c.closed then
    error("send on closed channel", 2)
  end
  local done, receiver = try_send(c, value)
  if receiver then
    return give_way(true, nil, received(receiver, value, true))
  elseif done then
    return true
  end
  local waiter = {}
  enter(waiter, self, c, true, value)
  return pause(waiter)
end

function methods.receive(self)
  local c = own(self, "channel.receive")
  local done, value, ok, sender = try_receive(c)
  if sender then
    return give_way(value, ok, sent(sender))
  elseif done then
    return value, ok
  end
  local waiter = {}
  enter(waiter, self, c, false)
  return pause(waiter)
end

function methods.close(self)
  if shut(own(self, "channel.close")) then
    give_way()
  end
end

local function case(self, sends, value)
  own(self, "channel.select")
  return new_case({ channel = self, sends = sends, value = value })
end

function methods.case_receive(self)
  return case(self, false)
end

function methods.case_send(self, value)
  return case(self, true, value)
end

-- done, value, ok, then who met us and what that one goes on with
local function try(found)
  local c = state[found.channel]
  if found.sends then
    local done, receiver = try_send(c, found.value)
    if receiver then
      return done, found.value, true, received(receiver, found.value, true)
    end
    return done, found.value, true
  end
  local done, value, ok, sender = try_receive(c)
  if sender then
    return done, value, ok, sent(sender)
  end
  return done, value, ok
end

local function settle(found, done, value, ok, task, ...)
  if task then
    return true, (give_way(chosen(found.channel, value, ok), nil, task, ...))
  end
  return done, done and chosen(found.channel, value, ok)
end

local function wait(list)
  local waiter = { selects = true }
  for i = 1, #list do
    local found = list[i]
    local c = state[found.channel]
    if not found.sends or not c.closed then -- a send on a closed channel is never ready
      enter(waiter, found.channel, c, found.sends, found.value)
    end
  end
  return pause(waiter)
end

function channel.select(...)
  local from, default = ...
  from = host.contents(host.expect("select", 1, from, "table"))
  if select("#", ...) > 1 then
    host.expect("select", 2, default, "boolean")
  end
  host.need_handler("channel.select")
  local list = {}
  charge(rawlen(from) * 20 + 20)
  for i = 1, rawlen(from) do
    local found = cases[rawget(from, i) or false]
    if found then
      own(found.channel, "channel.select")
      list[#list + 1] = found
    end
  end
  for i = 1, #list do
    local done, result = settle(list[i], try(list[i]))
    if done then
      return result
    end
  end
  if default or rawget(from, "default") == true then
    return { default = true, ok = true }
  end
  return wait(list)
end

host.channel = channel
