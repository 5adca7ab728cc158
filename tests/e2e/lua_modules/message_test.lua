-- What a message can be asked, while it is treated. The body says what to do with it in the end.
local check = require("check")
local tests = {}
local kept -- of the message before

function tests.asked()
  local message, err = queue.message()
  check.same(err, nil)
  check.same({ type(message), tostring(message) }, { "userdata", "queue.Message{id=" .. message:id() .. "}" })
  local all = queue.messages()
  check.same({ #all, all[1]:id() }, { 1, message:id() })
  check.same(message:queue(), "app:deliveries")
  check.same(message:attempt() > 0, true)
  check.same(type(message:body().verdict), "string")
  check.same({ message:header("trace") }, { "t-1" })
  check.same({ message:header("missing") }, {})
  check.same({ message:headers().trace, message:headers().n, message:headers().yes }, { "t-1", 2, true })
  message:headers().trace = "changed"
  check.same(message:header("trace"), "t-1")
  check.raises("bad argument #1 to header (string expected, got nil)", message.header, message)
  for _, name in ipairs({ "id", "header", "headers", "body", "attempt", "queue", "ack", "nack", "reject", "snooze" }) do
    check.raises("queue.Message expected", message[name], {})
  end
  check.raises("attempt to modify", function() message.id = 1 end)
  check.same(queue.stopping(), false)
end

function tests.headers_that_name_an_actor_are_only_headers()
  local message = queue.message()
  if message:header("actor") then
    check.same({ message:header("actor"), message:header("x-actor"), message:header("security.scope") }, { "root", "root", "all" })
  end
end

function tests.released()
  if kept then
    check.same(tostring(kept), "queue.Message{released}")
    for _, name in ipairs({ "id", "header", "headers", "body", "attempt", "queue", "ack", "nack", "reject", "snooze" }) do
      local value, err = kept[name](kept, "trace")
      check.fails("Invalid", "queue.Message released", value, err)
    end
  end
end

function tests.nested_calls_have_the_same_delivery()
  check.same(funcs.call("app:message_of_caller"), queue.message():id())
end

local run = check.suite(tests)

local was_snoozed = false

local function settle(verdict, message)
  if verdict == "ack" then
    check.same({ message:ack() }, { true })
    check.fails("Invalid", "queue.Message already settled", message:ack())
    check.fails("Invalid", "queue.Message already settled", queue.message():nack())
  elseif verdict == "nack" and message:attempt() == 1 then
    check.raises("bad argument #1 to nack (number or string expected, got table)", message.nack, message, {})
    check.fails("Invalid", select(2, message:nack("soon")):message(), message:nack("soon"))
    check.same(message:nack("1ms"), true)
    return "again"
  elseif verdict == "reject" then
    check.raises("bad argument #1 to reject (string expected, got table)", message.reject, message, {})
    check.same(message:reject("not wanted"), true)
  elseif verdict == "snooze" and not was_snoozed then
    was_snoozed = true
    check.raises("bad argument #1 to snooze (number or string expected, got nil)", message.snooze, message)
    check.fails("Invalid", select(2, message:snooze("soon")):message(), message:snooze("soon"))
    check.same({ message:snooze("1ms") }, { true })
    return "later"
  elseif verdict == "snooze" then
    check.same(message:attempt(), 1)
  end
  return verdict
end

local function main(body)
  local count, problem = run()
  if problem then
    return nil, problem
  end
  local message = queue.message()
  kept = message
  local how = settle(body.verdict, message)
  queue.publish("app:done", { verdict = how, tests = count })
end

local function of_caller()
  return queue.message():id()
end

return { main = main, of_caller = of_caller }
