local check = require("check")
local tests, limits = {}, {}

function tests.publish()
  check.same({ queue.publish("app:tasks", { n = 1 }) }, { true })
  check.same({ queue.publish("tasks", "by its name") }, { true })
  for _, body in ipairs({ "", 0, false, { 1, 2 }, errors.new("text"), 1.5 }) do
    check.same(queue.publish("app:tasks", body), true)
  end
  check.same(queue.publish("app:tasks", nil), true)
  check.same(queue.publish("app:tasks", 1, { text = "t", n = 1, yes = true, odd = {}, [1] = "lost" }), true)
  check.same(queue.publish("app:tasks", 1, "no table"), true)
  check.same(queue.publish("app:tasks", 1, nil, { delay = "1h", id = "of mine" }), true)
  check.same({ queue.publish("app:tasks", 1, nil, { ttl = 60 }) }, { true })
  check.same({ queue.publish("app:tasks", 1, nil, { key = "k" }) }, { true })
end

function tests.publish_in_the_order_of_checking()
  check.fails("Invalid", "queue ID required", queue.publish())
  check.fails("Invalid", "queue ID required", queue.publish(""))
  check.raises("bad argument #1 to publish (string expected, got table)", queue.publish, {}, 1)
  check.raises("bad argument #1 to publish (string expected, got nil)", queue.publish, nil, 1)
  check.fails("Invalid", "message data required", queue.publish("app:tasks"))
  check.fails("Invalid", "message data cannot be empty", queue.publish("app:tasks", {}))
  check.same(check.fails("Internal", "queue not found", queue.publish("app:missing", 1)):retryable(), false)
  check.fails("Invalid", "options must be a table", queue.publish("app:tasks", 1, nil, "x"))
  check.same(select(2, queue.publish("app:tasks", 1, nil, { unknown = 1 })):message():find("unknown option 'unknown'") ~= nil, true)
  check.same(select(2, queue.publish("app:tasks", 1, nil, { delay = "soon" })):kind(), "Invalid")
  check.same(select(2, queue.publish("app:tasks", 1, { x_original_queue = "x" })):kind(), "Invalid")
  local loop = {}
  loop.loop = loop
  check.same(select(2, queue.publish("app:tasks", loop)):kind(), "Internal")
end

function tests.no_message_outside_a_delivery()
  check.fails("Invalid", "no delivery found in context", queue.message())
end

function tests.info()
  local info, err = queue.info("app:tasks")
  check.same(err, nil)
  for _, key in ipairs({ "message_count", "ready", "in_flight", "consumer_count", "delayed" }) do
    check.same(type(info[key]), "number")
  end
  check.fails("Invalid", "queue ID required", queue.info())
  check.fails("Invalid", "queue ID required", queue.info(""))
  check.fails("Internal", "queue not found", queue.info("app:missing"))
  check.raises("string expected", queue.info, {})
end

function tests.pause_and_resume()
  check.same({ queue.pause("app:closed", { duration = "1h", reason = "429" }) }, { true })
  local paused = queue.info("app:closed").paused
  check.same({ paused.reason, paused.actor }, { "429", "tester" })
  check.same({ queue.pause("closed", { ["until"] = 4102444800 }) }, { true })
  check.same(queue.info("app:closed").paused["until"], 4102444800)
  check.same({ queue.resume("app:closed") }, { true })
  check.same({ queue.resume("closed") }, { false })
  check.same(queue.info("app:closed").paused, nil)
  check.fails("Invalid", "queue ID required", queue.pause())
  check.fails("Invalid", "queue ID required", queue.resume(""))
  check.fails("Internal", "queue not found", queue.pause("app:missing"))
  check.fails("Invalid", "options must be a table", queue.pause("app:closed", "1h"))
  check.fails("Invalid", "option 'until' must be a number, Unix time", queue.pause("app:closed", { ["until"] = "now" }))
  check.same(select(2, queue.pause("app:closed", { unknown = 1 })):message():find("unknown option 'unknown'") ~= nil, true)
  check.same(select(2, queue.pause("app:closed", { duration = "soon" })):kind(), "Invalid")
  check.same(select(2, queue.pause("app:closed", { ["until"] = 1 })):kind(), "Invalid")
  check.raises("string expected", queue.pause, {})
end

function tests.cancel()
  check.same({ queue.cancel("app:closed", "no such message") }, { "not found" })
  check.same({ queue.signal("lua modules", 1, { by = "kana" }) }, { true })
  check.same({ queue.signal("lua modules", "1") }, { false })
  check.fails("Invalid", "event required", queue.signal())
  check.fails("Invalid", "key required", queue.signal("a"))
  check.fails("Invalid", "queue ID required", queue.cancel())
  check.fails("Internal", "queue not found", queue.cancel("app:missing", "x"))
  check.raises("string expected", queue.cancel, {}, "x")
end

function tests.cancelled_and_progress_outside_a_delivery()
  check.same(queue.cancelled(), false)
  check.same({ queue.progress(1, 10, "begun") }, { true })
  check.same(select(2, queue.progress("half")):kind(), "Invalid")
end

function tests.stopping()
  check.same(queue.stopping(), false)
end

function tests.denials()
  check.same({ funcs.new():with_scope(security.named_scope("app:limits")):call("app:queue_limits") }, { 1 })
end

function limits.publish()
  local err = check.fails("Invalid", "not allowed to publish to queue: app:closed", queue.publish("app:closed", 1))
  check.same({ err:retryable(), err:details().reason }, { false, "permission_denied" })
  check.fails("Invalid", "not allowed to publish to queue: app:closed", queue.publish("app:closed"))
  check.fails("Invalid", "queue ID required", queue.publish(""))
  check.same(queue.publish("app:tasks", 1), true)
end

return { main = check.suite(tests), limits = check.suite(limits) }
