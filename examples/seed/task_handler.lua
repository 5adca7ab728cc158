-- The page does not say what processing a task is. Here: it needs an action.
local function process_task(data)
    if not data.action then
        return nil, "task " .. data.id .. " has no action"
    end
    return {id = data.id, done = data.action}
end

local json = require("json")
local logger = require("logger")

local function handler(body)
    local data = json.decode(body)

    logger.info("Processing", {task_id = data.id})

    local result, err = process_task(data)
    if err then
        return nil, err  -- Nack: メッセージを再キュー
    end

    return result  -- Ack: キューから削除
end

return handler
