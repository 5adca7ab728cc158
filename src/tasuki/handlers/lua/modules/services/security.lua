-- security: who acts, what that actor may do, and policies as objects that can be asked.
--
--   security.actor()                            Actor | nil
--   security.scope()                            Scope | nil
--   security.can(action, resource, meta?)       boolean; false without actor or scope
--   security.policy(id)                         Policy, nil | nil, err (Invalid: denied; Internal: unknown)
--   security.named_scope(id)                    Scope, nil | nil, err   the policies of a group
--   security.new_scope(policies?)               Scope   raises when denied
--   security.new_actor(id, meta?)               Actor   raises when denied
--   security.token_store(id)                    nil, err: there are none in this version
--
--   actor:id() actor:meta() · policy:id() policy:evaluate(actor, action, resource, meta?)
--   scope:with(policy) scope:without(policy | id | {ns=, name=}) scope:contains(…) scope:policies()
--   scope:evaluate(actor, action, resource, meta?)     "allow", "deny" or "undefined"
--
-- An actor or scope that a script makes is for asking, and for functions that it calls with them (funcs.lua): what the
-- script itself may do stays as it is.

local host = ...

local type, next, setmetatable, error, ipairs = type, next, setmetatable, error, ipairs
local text, raise, ask, send = host.text, host.raise, host.ask, host.send
local type_of = host.base.type
local security = {}
local state = setmetatable({}, { __mode = "k" })

local function class(name)
  local methods = {}
  return methods, host.class(name, methods)
end

local actors, actor_meta = class("security.Actor")
local policies, policy_meta = class("security.Policy")
local scopes, scope_meta = class("security.Scope")

local function object(meta, data)
  local made = setmetatable({}, meta)
  data.class = meta
  state[made] = data
  return made
end

local function data_of(self, meta, level)
  local data = state[self]
  if not data or data.class ~= meta then
    error(meta.__name .. " expected", level or 3)
  end
  return data
end

local function is_a(value, meta)
  return state[value] ~= nil and state[value].class == meta
end

local function string_of(fn, n, value)
  local words = text(value)
  if words == nil then
    raise(fn, n, "string expected, got " .. type_of(value), 4)
  end
  return host.scrub(words)
end

local function table_of(fn, n, value)
  if value ~= nil and (type(value) ~= "table" or host.is_object(value)) then
    raise(fn, n, "table expected, got " .. type_of(value), 4)
  end
  return value
end

local function copy(value)
  if type(value) ~= "table" or host.is_object(value) then
    return value
  end
  local fresh = {}
  for key, item in next, host.frozen[value] or value do
    fresh[key] = copy(item)
  end
  return fresh
end

-- The answer of Python, or its error raised as a text at the caller's line.
local function must(ok, value)
  if not ok then
    error(value:message(), 3)
  end
  return value
end

local function scope_of(ids)
  local known = {}
  for _, id in ipairs(ids) do
    known[id] = true
  end
  return object(scope_meta, { ids = ids, known = known })
end

function security.actor()
  local _, value = ask("security.actor")
  return value and object(actor_meta, value) or nil
end

function security.scope()
  local _, value = ask("security.scope")
  return value and scope_of(value) or nil
end

function security.can(action, resource, meta)
  local verb, what = string_of("can", 1, action), string_of("can", 2, resource)
  return must(send("security.can", "loose", verb, what, table_of("can", 3, meta)))
end

function security.policy(id)
  local ok, value = ask("security.policy", string_of("policy", 1, id))
  if not ok then
    return nil, value
  end
  return object(policy_meta, { id = value }), nil
end

function security.named_scope(id)
  local ok, value = ask("security.group", string_of("named_scope", 1, id))
  if not ok then
    return nil, value
  end
  return scope_of(value), nil
end

function security.new_scope(list)
  table_of("new_scope", 1, list)
  must(ask("security.require", "security.scope.create", "custom", "not allowed to create custom scopes"))
  local ids, known = {}, {}
  for _, item in next, list and (host.frozen[list] or list) or {} do
    if is_a(item, policy_meta) and not known[state[item].id] then
      known[state[item].id] = true
      ids[#ids + 1] = state[item].id
    end
  end
  return scope_of(ids)
end

function security.new_actor(id, meta)
  local name = string_of("new_actor", 1, id)
  table_of("new_actor", 2, meta)
  must(ask("security.require", "security.actor.create", name, "not allowed to create actor with ID: " .. name))
  return object(actor_meta, { id = name, meta = copy(meta) or {} })
end

function security.token_store(id)
  local name = string_of("token_store", 1, id)
  local problem = name == "" and "token store id is required" or "there are no token stores in this version"
  return nil, host.new_error(problem, name == "" and "Invalid" or "Internal", false)
end

function actors.id(self)
  return data_of(self, actor_meta).id
end

function actors.meta(self)
  return copy(data_of(self, actor_meta).meta)
end

function policies.id(self)
  return data_of(self, policy_meta).id
end

local function evaluate(ids, actor, action, resource, meta)
  if not is_a(actor, actor_meta) then
    raise("evaluate", 1, "security.Actor expected, got " .. type_of(actor), 4)
  end
  local who = { id = state[actor].id, meta = state[actor].meta }
  local verb, what = string_of("evaluate", 2, action), string_of("evaluate", 3, resource)
  return must(send("security.evaluate", "loose", ids, who, verb, what, table_of("evaluate", 4, meta)))
end

function policies.evaluate(self, actor, action, resource, meta)
  return evaluate({ data_of(self, policy_meta).id }, actor, action, resource, meta)
end

function scopes.evaluate(self, actor, action, resource, meta)
  local ids = data_of(self, scope_meta).ids
  if #ids == 0 and is_a(actor, actor_meta) then
    return "undefined"
  end
  return evaluate(ids, actor, action, resource, meta)
end

-- The id of a policy, given as itself, as text or as {ns=, name=}.
local function id_of(fn, value)
  if is_a(value, policy_meta) then
    return state[value].id
  elseif type(value) == "table" and not host.is_object(value) then
    local given = host.frozen[value] or value
    local space, name = text(given.ns), text(given.name)
    if space and name then
      return space .. ":" .. name
    end
  elseif text(value) then
    return text(value)
  end
  raise(fn, 1, "policy or policy id expected, got " .. type_of(value), 4)
end

function scopes.with(self, policy)
  local old = data_of(self, scope_meta)
  if not is_a(policy, policy_meta) then
    raise("with", 1, "security.Policy expected, got " .. type_of(policy), 3)
  end
  must(ask("security.require", "security.scope.create", "with", "not allowed to add policy to scope"))
  local ids, id = {}, state[policy].id
  for _, other in ipairs(old.ids) do
    ids[#ids + 1] = other ~= id and other or nil
  end
  ids[#ids + 1] = id
  return scope_of(ids)
end

function scopes.without(self, policy)
  local old, id = data_of(self, scope_meta), id_of("without", policy)
  must(ask("security.require", "security.scope.create", "without", "not allowed to remove policy from scope"))
  local ids = {}
  for _, other in ipairs(old.ids) do
    ids[#ids + 1] = other ~= id and other or nil
  end
  return scope_of(ids)
end

function scopes.contains(self, policy)
  return data_of(self, scope_meta).known[id_of("contains", policy)] == true
end

function scopes.policies(self)
  local list = {}
  for position, id in ipairs(data_of(self, scope_meta).ids) do
    list[position] = object(policy_meta, { id = id })
  end
  return list
end

function host.actor_data(value) -- id and meta, for those that take an Actor; nil for anything else
  return is_a(value, actor_meta) and { id = state[value].id, meta = state[value].meta } or nil
end

function host.scope_data(value) -- the ids of its policies
  return is_a(value, scope_meta) and state[value].ids or nil
end

return security
