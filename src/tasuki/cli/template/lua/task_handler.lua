local json = require("json")
local logger = require("logger")

-- Greets the name in the task.
local function handler(body)
    local data = json.decode(body)

    if not data.name then
        return nil, "a task needs a name" -- nack: the message is tried again, then dead-lettered
    end

    local text = "Hello, " .. data.name .. "!"
    logger.info(text, { name = data.name })
    return text -- ack: the message is removed from the queue
end

return handler
