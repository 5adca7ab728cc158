-- What channels are made of; channel.lua gives it to scripts.
--
--   host.new_channel(capacity)    a channel of this call
--   host.offer(channel, value)    puts a value in, outside of all coroutines; false: no room, it is dropped
--   host.shut(channel)            closes it; whether a coroutine waited
--   host.channels                 methods and data of channels, and the steps of channel.lua

local host = ...

local invocation, ready = host.invocation, host.ready
local methods = {}
local new, data_of, state = host.class("channel", methods)

-- Queues of those who wait: rings of nodes, so that a select leaves all its queues at once. A node knows its waiter
-- (one per waiting coroutine), its channel, the value that it sends, and its neighbours.

local function new_ring()
  local ring = {}
  ring.before, ring.after = ring, ring
  return ring
end

local function append(ring, node)
  node.before, node.after = ring.before, ring
  ring.before.after, ring.before = node, node
end

local function leave(waiter)
  for i = 1, #waiter do
    local node = waiter[i]
    node.before.after, node.after.before = node.after, node.before
  end
end

local function take(ring) -- the first one; it waits nowhere any more
  local node = ring.after
  if node == ring then
    return nil
  end
  leave(node.waiter)
  return node
end

local function enter(waiter, object, c, sends, value)
  local node = { waiter = waiter, channel = object, value = value }
  waiter[#waiter + 1] = node
  append(sends and c.senders or c.receivers, node)
end

local function chosen(object, value, ok)
  return { channel = object, value = value, ok = ok }
end

-- What a waiting coroutine goes on with: its task and two values.
local function received(node, value, ok)
  local waiter = node.waiter
  if waiter.selects then
    return waiter.task, chosen(node.channel, value, ok), nil
  end
  return waiter.task, value, ok
end

local function sent(node)
  local waiter = node.waiter
  if waiter.selects then
    return waiter.task, chosen(node.channel, node.value, true), nil
  end
  return waiter.task, true, nil
end

local function store(c, value)
  c.last, c.count = c.last + 1, c.count + 1
  c.buffer[c.last] = value
end

-- done, value, ok, and the sender who was waiting, if one met us
local function try_receive(c)
  if c.count > 0 then
    local value = c.buffer[c.first]
    c.buffer[c.first] = nil
    c.first, c.count = c.first + 1, c.count - 1
    local sender = take(c.senders)
    if sender then
      store(c, sender.value)
      ready(sent(sender))
    end
    return true, value, true
  end
  local sender = take(c.senders)
  if sender then
    return true, sender.value, true, sender
  end
  return c.closed, nil, false
end

-- done, and the receiver who was waiting, if one met us
local function try_send(c, value)
  local receiver = not c.closed and take(c.receivers) or nil
  if receiver then
    return true, receiver
  elseif not c.closed and c.count < c.capacity then
    store(c, value)
    return true
  end
  return false
end

local function shut(c)
  local some = false
  c.closed = true
  for node in take, c.receivers do
    ready(received(node, nil, false))
    some = true
  end
  for node in take, c.senders do
    ready(node.waiter.task, nil, host.new_error("send on closed channel", "Invalid", false))
    some = true
  end
  return some
end

function host.new_channel(capacity)
  return new({
    capacity = capacity, closed = false, serial = invocation(), senders = new_ring(), receivers = new_ring(),
    buffer = {}, first = 1, last = 0, count = 0,
  })
end

function host.offer(object, value)
  local done, receiver = try_send(state[object], value)
  if receiver then
    ready(received(receiver, value, true))
  end
  return done
end

function host.shut(object)
  return shut(state[object])
end

host.channels = {
  methods = methods, data_of = data_of, state = state, enter = enter, chosen = chosen, received = received, sent = sent,
  try_receive = try_receive, try_send = try_send, shut = shut,
}
