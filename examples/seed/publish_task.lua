local queue = require("queue")

local function publish_task(payload)
    return queue.publish("app.queue:tasks", {
        id = "task-123",
        action = "process",
        data = payload
    })
end

return publish_task
