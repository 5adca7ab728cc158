-- funcs: other function entries.
--
--   funcs.call(id, ...)   value, nil | nil, err   arguments and result are copied; only the first result returns
--                         (Invalid: bad id or not allowed; NotFound: no such function; else what the function failed with)

local host = ...

local find = string.find
local funcs = {}

local function problem(id)
  if id == nil or id == "" then
    return "function ID required"
  elseif not find(id, ":", 1, true) or find(id, "^:") then
    return "namespace required in function ID"
  elseif find(id, ":$") then
    return "name required in function ID"
  end
end

function funcs.call(id, ...)
  local name = host.text(id)
  if id ~= nil and name == nil then
    host.raise("call", 1, "string expected, got " .. host.base.type(id), 3)
  end
  local wrong = problem(name)
  if wrong then
    return nil, host.new_error(wrong, "Invalid", false)
  end
  local ok, value = host.send("funcs.call", "loose", name, ...)
  if ok then
    return value, nil
  end
  return nil, value
end

return funcs
