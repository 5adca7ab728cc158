local funcs = require("funcs")

local function test()
    local result, err = funcs.call("app.queue:task_handler", {id = "task-1", action = "resize"})
    assert(not err and result.done == "resize", err)

    result, err = funcs.call("app.queue:task_handler", {id = "task-2"})
    assert(result == nil and tostring(err):find("has no action"), "a task without an action must fail")
end

return test
