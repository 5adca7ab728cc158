-- uuid: making and reading UUIDs.
--
--   uuid.v1() uuid.v4() uuid.v7()      text, nil
--   uuid.v3(ns, name) uuid.v5(ns, name) text, nil | nil, err (Invalid)
--   uuid.validate(s)                   boolean, nil; false for anything that is no text
--   uuid.version(s)                    number, nil | nil, err (Invalid: no text, no UUID)
--   uuid.variant(s)                    "RFC4122" "Reserved" "Microsoft" "Future" "Invalid" "NCS", nil | nil, err
--   uuid.parse(s)                      {version, variant, timestamp?, node?}, nil | nil, err
--   uuid.format(s, form?)              text, nil | nil, err   form: standard, simple, urn

local host = ...

local type, next = type, next
local ask, answer, invalid = host.ask, host.results, host.invalid
local uuid = {}

for _, name in next, { "v1", "v4", "v7" } do
  uuid[name] = function()
    return answer(ask("uuid.new", name))
  end
end

for _, name in next, { "v3", "v5" } do
  uuid[name] = function(namespace, text)
    if type(namespace) ~= "string" or type(text) ~= "string" then
      return invalid("namespace and name must be strings")
    end
    return answer(host.send("uuid.named", "body", name, namespace, text))
  end
end

function uuid.validate(s)
  if type(s) ~= "string" then
    return false, nil
  end
  return answer(ask("uuid.validate", host.scrub(s)))
end

for _, name in next, { "version", "variant", "parse" } do
  uuid[name] = function(s)
    if type(s) ~= "string" then
      return invalid("input must be a string")
    end
    return answer(ask("uuid." .. name, host.scrub(s)))
  end
end

function uuid.format(s, form)
  if type(s) ~= "string" then
    return invalid("input must be a string")
  end
  return answer(ask("uuid.format", host.scrub(s), type(form) == "string" and host.scrub(form) or "standard"))
end

return uuid
