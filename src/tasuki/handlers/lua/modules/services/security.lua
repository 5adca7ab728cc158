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
-- An actor or scope that a script makes is for asking, and for functions that it calls with them (module funcs): what the
-- script itself may do stays as it is.

local host = ...

local next, ipairs = next, ipairs
local text, ask, send = host.text, host.ask, host.send
local security, actor, policy, scope = {}, {}, {}, {}
local new_actor, actor_of, actors = host.class("security.Actor", actor)
local new_policy, policy_of, policies = host.class("security.Policy", policy)
local new_scope, scope_of, scopes = host.class("security.Scope", scope)

local function string_of(fn, n, value)
  return host.scrub(host.string(fn, n, value))
end

local function table_of(fn, n, value)
  return value ~= nil and host.expect(fn, n, value, "table") or nil
end

local function copy(value)
  local contents, fresh = host.contents(value), {}
  if not contents then
    return value
  end
  for key, item in next, contents do
    fresh[key] = copy(item)
  end
  return fresh
end

-- The answer of Python, or its error raised as a text at the caller's line.
local function must(ok, value)
  if not ok then
    host.fail(value:message())
  end
  return value
end

local function scope_with(ids)
  local known = {}
  for _, id in ipairs(ids) do
    known[id] = true
  end
  return new_scope({ ids = ids, known = known })
end

function security.actor()
  local _, value = ask("security.actor")
  return value and new_actor(value) or nil
end

function security.scope()
  local _, value = ask("security.scope")
  return value and scope_with(value) or nil
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
  return new_policy({ id = value }), nil
end

function security.named_scope(id)
  local ok, value = ask("security.group", string_of("named_scope", 1, id))
  if not ok then
    return nil, value
  end
  return scope_with(value), nil
end

function security.new_scope(list)
  table_of("new_scope", 1, list)
  must(ask("security.require", "security.scope.create", "custom", "not allowed to create custom scopes"))
  local ids, known = {}, {}
  for _, item in next, host.contents(list) or {} do
    local data = policies[item]
    if data and not known[data.id] then
      known[data.id] = true
      ids[#ids + 1] = data.id
    end
  end
  return scope_with(ids)
end

function security.new_actor(id, meta)
  local name = string_of("new_actor", 1, id)
  table_of("new_actor", 2, meta)
  must(ask("security.require", "security.actor.create", name, "not allowed to create actor with ID: " .. name))
  return new_actor({ id = name, meta = copy(meta) or {} })
end

function security.token_store(id)
  local name = string_of("token_store", 1, id)
  local problem = name == "" and "token store id is required" or "there are no token stores in this version"
  return nil, host.new_error(problem, name == "" and "Invalid" or "Internal", false)
end

function actor.id(self)
  return actor_of(self).id
end

function actor.meta(self)
  return copy(actor_of(self).meta)
end

function policy.id(self)
  return policy_of(self).id
end

local function evaluate(ids, who, action, resource, meta)
  if not actors[who] then
    host.expect("evaluate", 1, who, "security.Actor")
  end
  local verb, what = string_of("evaluate", 2, action), string_of("evaluate", 3, resource)
  return must(send("security.evaluate", "loose", ids, actors[who], verb, what, table_of("evaluate", 4, meta)))
end

function policy.evaluate(self, ...)
  return evaluate({ policy_of(self).id }, ...)
end

function scope.evaluate(self, who, ...)
  local ids = scope_of(self).ids
  if #ids == 0 and actors[who] then
    return "undefined"
  end
  return evaluate(ids, who, ...)
end

-- The id of a policy, given as itself, as text or as {ns=, name=}.
local function id_of(fn, value)
  local given = host.contents(value)
  if policies[value] then
    return policies[value].id
  elseif given then
    local space, name = text(given.ns), text(given.name)
    if space and name then
      return space .. ":" .. name
    end
  elseif text(value) then
    return text(value)
  end
  host.expect(fn, 1, value, "policy or policy id")
end

local function others(ids, id)
  local kept = {}
  for _, other in ipairs(ids) do
    kept[#kept + 1] = other ~= id and other or nil
  end
  return kept
end

function scope.with(self, added)
  local old = scope_of(self)
  if not policies[added] then
    host.expect("with", 1, added, "security.Policy")
  end
  must(ask("security.require", "security.scope.create", "with", "not allowed to add policy to scope"))
  local id = policies[added].id
  local ids = others(old.ids, id)
  ids[#ids + 1] = id
  return scope_with(ids)
end

function scope.without(self, removed)
  local old, id = scope_of(self), id_of("without", removed)
  must(ask("security.require", "security.scope.create", "without", "not allowed to remove policy from scope"))
  return scope_with(others(old.ids, id))
end

function scope.contains(self, value)
  return scope_of(self).known[id_of("contains", value)] == true
end

function scope.policies(self)
  local list = {}
  for position, id in ipairs(scope_of(self).ids) do
    list[position] = new_policy({ id = id })
  end
  return list
end

function host.actor_data(value) -- id and meta, for functions that take an Actor; nil for anything else
  return actors[value]
end

function host.scope_data(value) -- the ids of its policies
  return scopes[value] and scopes[value].ids
end

return security
