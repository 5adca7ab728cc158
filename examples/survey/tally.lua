local json = require("json")
local logger = require("logger")
local store = require("store")

-- One record a file: a message that arrives twice is still one file.
local function handler(body)
    local found = json.decode(body)

    logger.debug("Found", {path = found.path, lines = found.lines})

    local findings, err = store.get("survey:findings")
    if err then
        return nil, err
    end
    return findings:set(found.path, found)
end

return handler
