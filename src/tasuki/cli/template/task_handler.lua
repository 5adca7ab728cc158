local json = require("json")
local logger = require("logger")
local queue = require("queue")

-- Greets whom the task names. A task with `dry = true` is only looked at.
local function handler(body)
    local data = json.decode(body)

    if not data.name then
        return nil, "a task needs a name" -- nack: the message is tried again, then dead-lettered
    end

    local text = "Hello, " .. data.name .. "!"
    if not data.dry then
        local ok, err = queue.publish("app:greetings", { text = text })
        if err then
            return nil, err
        end
        logger.info("Greeted", { name = data.name })
    end

    return text -- ack: the message is removed from the queue
end

return handler
