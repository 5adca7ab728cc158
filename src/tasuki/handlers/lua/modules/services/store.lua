-- store: key-value stores. Values are converted on the way in and rebuilt on every read.
--
--   store.get(id)                 Store | nil, err (Invalid: empty id, no store; else what the registry says)
--   s:get(key)                    value, nil | nil, err (NotFound)
--   s:set(key, value, ttl?)       true, nil | nil, err (Unavailable, retryable: full)   ttl: seconds; <= 0: never ends
--   s:has(key) s:delete(key)      boolean, nil | false, err     delete of a missing key: false, nil
--   s:entry(key)                  {key, value, version}, nil | nil, err (NotFound)
--   s:list(opts?)                 {items, cursor, has_more}, nil | nil, err   opts: prefix, after, limit
--   s:put(key, value, opts?)      entry, nil | nil, err   opts: ttl, only_if_absent, if_version
--   s:info()                      table, nil
--   s:release()                   true
--   store.backend store.consistency   constants
--
-- What the actor may not do raises in store.get, get, set, has and delete, and is PermissionDenied in the others.

local host = ...

local select, tonumber = select, tonumber
local string, send, freeze = host.string, host.send, host.freeze
local methods = {}
local new, data_of, _, meta = host.class("store.Store", methods)

local store = {
  backend = freeze({ KV_RAFT = "kv.raft", KV_CRDT = "kv.crdt", MEMORY = "memory", SQL = "sql", REDIS = "redis", NATS = "nats", UNKNOWN = "unknown" }),
  consistency = freeze({ LINEARIZABLE = "linearizable", EVENTUAL = "eventual", LOCAL = "local", UNKNOWN = "unknown" }),
}

local function invalid(message)
  return host.new_error(message, "Invalid", false)
end

local function raise_denied(err)
  if err:kind() == "PermissionDenied" then
    host.fail(err:message())
  end
end

function store.get(id)
  local name = host.scrub(string("get", 1, id))
  if name == "" then
    return nil, invalid("resource id is required")
  end
  local ok, problem = host.ask("store.open", name)
  if ok then
    return new({ id = name })
  end
  raise_denied(problem)
  return nil, problem
end

function meta.__tostring(self)
  return data_of(self).released and "store.Store{released}" or "store.Store{}"
end

-- A method of open stores, which gets their id; of others it returns `nothing, err`.
local function open(nothing, method)
  return function(self, ...)
    local own = data_of(self)
    if own.released then
      return nothing, invalid("store is released")
    end
    return method(own.id, ...)
  end
end

-- A method with a key: fails with `nothing, err`.
local function keyed(verb, nothing, denied)
  return open(nothing, function(id, key)
    local name = string(verb, 1, key)
    if name == "" then
      return nothing, invalid("key is required")
    end
    local ok, value = send("store." .. verb, "loose", id, name)
    if ok then
      return value, nil
    end
    denied(value)
    return nothing, value
  end)
end

local function stay() end

methods.get, methods.entry = keyed("get", nil, raise_denied), keyed("entry", nil, stay)
methods.has, methods.delete = keyed("has", false, raise_denied), keyed("delete", false, raise_denied)

local function writer(verb, denied)
  return open(nil, function(id, key, value, extra)
    local name = string(verb, 1, key)
    if name == "" or value == nil then
      return nil, invalid(name == "" and "key is required" or "value is required")
    end
    local ok, result = send("store." .. verb, "loose", id, name, value, extra)
    if ok then
      return result, nil
    elseif host.text(result) == "value refers to itself" then
      return nil, invalid("value refers to itself")
    end
    denied(result)
    return nil, result
  end)
end

local set, put = writer("set", raise_denied), writer("put", stay)

function methods.set(self, key, value, ...)
  local ttl = tonumber((...)) or nil
  if select("#", ...) > 0 and ttl == nil then
    host.expect("set", 3, (...), "number")
  end
  return set(self, key, value, ttl)
end

local function options_of(options)
  if options ~= nil and not host.contents(options) then
    return nil, invalid("options must be a table")
  end
  return options and host.merged(nil, options)
end

function methods.put(self, key, value, options)
  local plain, err = options_of(options)
  if err then
    return nil, err
  end
  return put(self, key, value, plain)
end

methods.list = open(nil, function(id, options)
  local plain, err = options_of(options)
  if err then
    return nil, err
  end
  return host.results(send("store.list", "loose", id, plain))
end)

methods.info = open(nil, function(id)
  return host.results(host.ask("store.info", id))
end)

function methods.release(self)
  data_of(self).released = true
  return true
end

return store
