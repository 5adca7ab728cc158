-- ctx: what the callers of this function have said about the call (funcs.lua: with_context). Read-only.
--
--   ctx.get(key)   value, nil | nil, err (Invalid: empty key; NotFound: key not found)
--   ctx.all()      table, nil   a fresh one each time

local host = ...

local ctx = {}

function ctx.get(key)
  local name = host.text(key)
  if name == nil then
    host.raise("get", 1, "string expected, got " .. host.base.type(key), 3)
  elseif name == "" then
    return nil, host.new_error("empty key", "Invalid", false)
  end
  local ok, value = host.ask("ctx.get", host.scrub(name))
  if ok then
    return value, nil
  end
  return nil, value
end

function ctx.all()
  local ok, value = host.ask("ctx.all")
  if ok then
    return value, nil
  end
  return nil, value
end

return ctx
