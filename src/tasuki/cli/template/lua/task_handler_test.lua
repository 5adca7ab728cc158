local funcs = require("funcs")

local function test()
    local text, err = funcs.call("app:task_handler", { name = "Ada" })
    if err then
        return nil, err
    end
    if text ~= "Hello, Ada!" then
        return nil, "it said: " .. tostring(text)
    end

    local _, missing = funcs.call("app:task_handler", {})
    return missing ~= nil -- a task without a name is an error
end

return test
