-- env: declared environment variables.
--
--   env.get(key)         text, nil | nil, err (Invalid: empty key; NotFound: not declared, or without a value;
--                        PermissionDenied; a file that is not UTF-8: Invalid, that cannot be read: Unavailable)
--   env.set(key, value)  true, nil | nil, err (the same; PermissionDenied also for a read-only variable)
--   env.get_all()        table of names and texts, nil   those that may be read: declared ones, and others that are kept
--                        in memory and in files; of the environment of the process only declared ones

local host = ...

local answer, string, scrub = host.results, host.string, host.scrub
local env = {}

function env.get(key)
  local name = string("get", 1, key)
  if name == "" then
    return host.invalid("empty key")
  end
  return answer(host.ask("env.get", scrub(name)))
end

function env.set(key, value)
  local name, text = string("set", 1, key), string("set", 2, value)
  if name == "" then
    return host.invalid("empty key")
  end
  return answer(host.ask("env.set", scrub(name), scrub(text)))
end

function env.get_all()
  return answer(host.ask("env.get_all"))
end

return env
