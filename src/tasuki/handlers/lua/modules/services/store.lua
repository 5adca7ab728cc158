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

local type, next, setmetatable, error, select, tonumber = type, next, setmetatable, error, select, tonumber
local text, raise, send, freeze = host.text, host.raise, host.send, host.freeze
local type_of = host.base.type
local state = setmetatable({}, { __mode = "k" })
local methods = {}
local meta = host.class("store.Store", methods)

local store = {
  backend = freeze({ KV_RAFT = "kv.raft", KV_CRDT = "kv.crdt", MEMORY = "memory", SQL = "sql", UNKNOWN = "unknown" }),
  consistency = freeze({ LINEARIZABLE = "linearizable", EVENTUAL = "eventual", LOCAL = "local", UNKNOWN = "unknown" }),
}

local function invalid(message)
  return host.new_error(message, "Invalid", false)
end

local function raise_denied(err)
  if err:kind() == "PermissionDenied" then
    error(err:message(), 3)
  end
end

function store.get(id)
  local name = text(id)
  if name == nil then
    raise("get", 1, "string expected, got " .. type_of(id), 3)
  elseif name == "" then
    return nil, invalid("resource id is required")
  end
  local ok, value = host.ask("store.open", host.scrub(name))
  if not ok then
    raise_denied(value)
    return nil, value
  end
  local object = setmetatable({}, meta)
  state[object] = { id = host.scrub(name) }
  return object
end

function meta.__tostring(self)
  return state[self].released and "store.Store{released}" or "store.Store{}"
end

local function id_of(self)
  local own = state[self]
  if not own then
    error("store.Store expected", 4)
  end
  return not own.released and own.id, invalid("store is released")
end

local function key_of(key, fn)
  local name = text(key)
  if name == nil then
    raise(fn, 1, "string expected, got " .. type_of(key), 5)
  end
  return name ~= "" and name, invalid("key is required")
end

-- A method with a key: fails with `nothing, err`.
local function keyed(verb, nothing, denied)
  return function(self, key)
    local id, err = id_of(self)
    if not id then
      return nothing, err
    end
    local name, problem = key_of(key, verb)
    if not name then
      return nothing, problem
    end
    local ok, value = send("store." .. verb, "loose", id, name)
    if ok then
      return value, nil
    end
    denied(value)
    return nothing, value
  end
end

local function stay() end

methods.get, methods.entry = keyed("get", nil, raise_denied), keyed("entry", nil, stay)
methods.has, methods.delete = keyed("has", false, raise_denied), keyed("delete", false, raise_denied)

local function write(verb, self, key, value, extra, denied)
  local id, err = id_of(self)
  if not id then
    return nil, err
  end
  local name, problem = key_of(key, verb)
  if not name then
    return nil, problem
  elseif value == nil then
    return nil, invalid("value is required")
  end
  local ok, result = send("store." .. verb, "loose", id, name, value, extra)
  if ok then
    return result, nil
  elseif host.text(result) == "value refers to itself" then
    return nil, invalid("value refers to itself")
  end
  denied(result)
  return nil, result
end

function methods.set(self, key, value, ...)
  local ttl = tonumber((...)) or nil
  if select("#", ...) > 0 and ttl == nil then
    raise("set", 3, "number expected, got " .. type_of((...)), 3)
  end
  return write("set", self, key, value, ttl, raise_denied)
end

local function options_of(options)
  if options ~= nil and (type(options) ~= "table" or host.is_object(options)) then
    return nil, invalid("options must be a table")
  end
  local plain
  for key, value in next, options and (host.frozen[options] or options) or {} do
    if type(key) == "string" then
      plain = plain or {}
      plain[key] = value
    end
  end
  return plain
end

function methods.put(self, key, value, options)
  local plain, err = options_of(options)
  if err then
    return nil, err
  end
  return write("put", self, key, value, plain, stay)
end

function methods.list(self, options)
  local id, err = id_of(self)
  if not id then
    return nil, err
  end
  local plain, problem = options_of(options)
  if problem then
    return nil, problem
  end
  return host.results(send("store.list", "loose", id, plain))
end

function methods.info(self)
  local id, err = id_of(self)
  if not id then
    return nil, err
  end
  return host.results(host.ask("store.info", id))
end

function methods.release(self)
  local own = state[self]
  if not own then
    error("store.Store expected", 2)
  end
  own.released = true
  return true
end

return store
