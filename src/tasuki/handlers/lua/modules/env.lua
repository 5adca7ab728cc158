-- env: declared environment variables.
--
--   env.get(key)   text, nil | nil, err (Invalid: empty key; NotFound: not declared, or without a value; PermissionDenied)

local host = ...

local env = {}

function env.get(key)
  local name = host.text(key)
  if name == nil then
    host.raise("get", 1, "string expected, got " .. host.base.type(key), 3)
  elseif name == "" then
    return nil, host.new_error("empty key", "Invalid", false)
  end
  local ok, value = host.ask("env.get", host.scrub(name))
  if ok then
    return value, nil
  end
  return nil, value
end

return env
