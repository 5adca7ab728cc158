-- env: declared environment variables.
--
--   env.get(key)         text, nil | nil, err (Invalid: empty key; NotFound: not declared, or without a value;
--                        PermissionDenied; a file that is not UTF-8: Invalid, that cannot be read: Unavailable)
--   env.set(key, value)  true, nil | nil, err (the same; PermissionDenied also for a read-only variable)
--   env.get_all()        table of names and texts, nil   those that may be read: declared ones, and others that are kept
--                        in memory and in files; of the environment of the process only declared ones

local host = ...

local answer = host.results
local env = {}

local function text_of(fn, n, value)
  local text = host.text(value)
  if text == nil then
    host.raise(fn, n, "string expected, got " .. host.base.type(value), 4)
  end
  return host.scrub(text)
end

function env.get(key)
  local name = text_of("get", 1, key)
  if name == "" then
    return host.invalid("empty key")
  end
  return answer(host.ask("env.get", name))
end

function env.set(key, value)
  local name, text = text_of("set", 1, key), text_of("set", 2, value)
  if name == "" then
    return host.invalid("empty key")
  end
  return answer(host.ask("env.set", name, text))
end

function env.get_all()
  return answer(host.ask("env.get_all"))
end

return env
