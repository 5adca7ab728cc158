local check = require("check")
local tests = {}

function tests.new()
  check.same({ type(channel.new()), channel.new() == channel.new() }, { "userdata", false })
  channel.new(-3)
  check.raises("number expected", channel.new, "x")
  check.raises("attempt to", function() return #channel.new() end)
  check.raises("attempt to modify", function() channel.new().x = 1 end)
end

function tests.buffered()
  local ch = channel.new(2)
  check.same({ ch:send(1), ch:send(nil) }, { true, true })
  check.same({ ch:receive() }, { 1, true })
  local value, ok = ch:receive()
  check.same({ value == nil, ok }, { true, true })
end

function tests.hand_over()
  local ch, order = channel.new(), {}
  coroutine.spawn(function()
    for i = 1, 3 do
      order[#order + 1] = "send " .. i
      ch:send(i)
    end
    ch:close()
  end)
  for i = 1, 3 do
    local value = ch:receive()
    order[#order + 1] = "got " .. value
  end
  check.same({ ch:receive() }, { nil, false })
  -- The one that meets a waiting one goes on first.
  check.same(order, { "send 1", "send 2", "got 1", "got 2", "send 3", "got 3" })
end

function tests.close()
  local ch = channel.new(1)
  ch:send("last")
  ch:close()
  check.same(select("#", ch:close()), 0)
  check.same({ ch:receive() }, { "last", true })
  check.same({ ch:receive() }, { nil, false })
  check.raises("send on closed channel", ch.send, ch, 1)
end

function tests.close_wakes_who_waits()
  local ch, seen = channel.new(), {}
  coroutine.spawn(function()
    local value, ok = ch:receive()
    seen[1] = value == nil and ok == false
  end)
  time.sleep("1ms")
  ch:close()
  check.same(seen, { true })
  local other, failed = channel.new(), nil
  coroutine.spawn(function()
    failed = select(2, other:send(1))
  end)
  time.sleep("1ms")
  other:close()
  check.same(failed:message(), "send on closed channel")
end

function tests.select_takes_the_first_that_is_ready()
  local a, b = channel.new(1), channel.new(1)
  a:send("a")
  b:send("b")
  local found = channel.select({ b:case_receive(), a:case_receive() })
  check.same({ found.channel == b, found.value, found.ok }, { true, "b", true })
  found = channel.select({ "no case", a:case_send("x"), b:case_send("y") })
  check.same({ found.channel == b, found.value, found.ok }, { true, "y", true })
end

function tests.select_waits()
  local ch = channel.new()
  coroutine.spawn(function()
    time.sleep("1ms")
    ch:send(5)
  end)
  local found = channel.select({ ch:case_receive(), time.after("10s"):case_receive() })
  check.same({ found.channel == ch, found.value, found.ok }, { true, 5, true })
  local timeout = time.after("2ms")
  check.same(channel.select({ ch:case_receive(), timeout:case_receive() }).channel == timeout, true)
end

function tests.select_default()
  local ch = channel.new()
  check.same(channel.select({ ch:case_receive(), default = true }), { default = true, ok = true })
  check.same(channel.select({ ch:case_receive() }, true), { default = true, ok = true })
  check.raises("boolean expected", channel.select, {}, 1)
  check.raises("table expected", channel.select, "x")
end

function tests.select_and_closed_channels()
  local ch = channel.new()
  coroutine.spawn(function()
    time.sleep("1ms")
    ch:close()
  end)
  local value, err = channel.select({ ch:case_send(1) })
  check.same({ value == nil, err:message() }, { true, "send on closed channel" })
  local found = channel.select({ ch:case_receive() })
  check.same({ found.value == nil, found.ok }, { true, false })
  check.same(channel.select({ ch:case_send(1), default = true }).default, true)
end

function tests.wrong_selves_raise()
  local ch = channel.new()
  for _, name in ipairs({ "send", "receive", "close", "case_receive", "case_send" }) do
    check.raises("channel expected", ch[name], {})
  end
end

return { main = check.suite(tests), deadlock = function() channel.new():receive() end }
