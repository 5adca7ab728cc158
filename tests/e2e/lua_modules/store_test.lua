local check = require("check")
local tests, limits = {}, {}

local function fresh()
  local cache = store.get("app:cache")
  for _, item in ipairs(cache:list({ limit = 1000 }).items) do
    cache:delete(item.key)
  end
  return cache
end

function tests.open()
  local cache = store.get("cache")
  check.same({ type(cache), tostring(cache) }, { "userdata", "store.Store{}" })
  check.fails("Invalid", "resource id is required", store.get(""))
  check.same(select(2, store.get("app:missing")):kind(), "NotFound")
  check.raises("string expected", store.get)
  check.raises("string expected", store.get, {})
end

function tests.constants()
  check.same(store.backend.MEMORY, "memory")
  check.same({ store.backend.KV_RAFT, store.backend.KV_CRDT, store.backend.SQL, store.backend.UNKNOWN }, { "kv.raft", "kv.crdt", "sql", "unknown" })
  check.same(store.consistency, { LINEARIZABLE = "linearizable", EVENTUAL = "eventual", LOCAL = "local", UNKNOWN = "unknown" })
  check.raises("Immutable", function() store.backend.X = 1 end)
end

function tests.get_set_has_delete()
  local cache = fresh()
  check.fails("NotFound", "key not found", cache:get("a"))
  check.same({ cache:set("a", 1) }, { true })
  check.same({ cache:get("a") }, { 1 })
  check.same({ cache:has("a"), cache:has("b") }, { true, false })
  check.same({ cache:delete("a") }, { true })
  check.same({ cache:delete("a") }, { false })
  check.same(cache:has("a"), false)
  cache:set(7, "number as key")
  check.same(cache:get("7"), "number as key")
end

function tests.values()
  local cache = fresh()
  local kept = { true, false, "text", 1.5, { a = { b = {} } } }
  for i, value in ipairs(kept) do
    cache:set("v" .. i, value)
    check.same(cache:get("v" .. i), value)
  end
  local given = { n = 1 }
  cache:set("copy", given)
  given.n = 2
  cache:get("copy").n = 3
  check.same(cache:get("copy"), { n = 1 })
  cache:set("mixed", { "a", x = 1, [3] = "c" })
  check.same(cache:get("mixed"), { "a", nil, "c" })
  cache:set("keys", { [0] = 1, [true] = 2 })
  check.same(cache:get("keys"), { ["0"] = 1, ["true"] = 2 })
  cache:set("error", errors.new("as text"))
  check.same(cache:get("error"), "as text")
  cache:set("function", print)
  check.same(cache:get("function"):find("^function") ~= nil, true)
  check.fails("Invalid", "value is required", cache:set("nothing", nil))
  local loop = {}
  loop.loop = loop
  check.fails("Invalid", "value refers to itself", cache:set("loop", loop))
end

function tests.time_to_live()
  local cache = fresh()
  cache:set("soon", 1, 0.5)
  check.same(cache:has("soon"), true)
  cache:set("text", 1, "3600")
  cache:set("never", 1, 0)
  while cache:has("soon") do
    time.sleep("5ms")
  end
  check.same({ cache:has("text"), cache:has("never") }, { true, true })
  check.raises("bad argument #3 to set (number expected, got nil)", cache.set, cache, "k", 1, nil)
  check.raises("bad argument #3 to set (number expected, got table)", cache.set, cache, "k", 1, {})
end

function tests.keys()
  local cache = fresh()
  for _, name in ipairs({ "get", "has", "delete", "entry", "set", "put" }) do
    local value, err = cache[name](cache, "", 1)
    check.fails("Invalid", "key is required", value, err)
    check.raises("bad argument #1 to " .. name .. " (string expected, got nil)", cache[name], cache, nil, 1)
  end
end

function tests.entry()
  local cache = fresh()
  cache:set("a", "x")
  local entry = cache:entry("a")
  check.same({ entry.key, entry.value, type(entry.version) }, { "a", "x", "string" })
  check.same(entry.version:find("^%d+$") ~= nil, true)
  check.fails("NotFound", "key not found", cache:entry("b"))
end

function tests.list()
  local cache = fresh()
  for _, key in ipairs({ "b", "a2", "a1", "c" }) do
    cache:set(key, key .. "!")
  end
  local all = cache:list()
  check.same({ #all.items, all.items[1].key, all.items[1].value, all.cursor, all.has_more }, { 4, "a1", "a1!", "c", false })
  local page = cache:list({ prefix = "a", limit = 1 })
  check.same({ page.items[1].key, page.cursor, page.has_more }, { "a1", "a1", true })
  check.same(cache:list({ prefix = "a", after = page.cursor }).items[1].key, "a2")
  check.same(#cache:list({ limit = 0 }).items, 4)
  check.same(cache:list({ prefix = "z" }), { items = {}, cursor = "", has_more = false })
  check.fails("Invalid", "options must be a table", cache:list("x"))
  check.fails("Invalid", "prefix must be a string", cache:list({ prefix = 1 }))
  check.fails("Invalid", "after must be a string", cache:list({ after = {} }))
  check.fails("Invalid", "limit must be a non-negative integer", cache:list({ limit = -1 }))
  check.fails("Invalid", "limit must be a non-negative integer", cache:list({ limit = "many" }))
end

function tests.put()
  local cache = fresh()
  local first = cache:put("a", 1)
  check.same({ first.key, first.value }, { "a", 1 })
  local second = cache:put("a", 2, { if_version = first.version })
  check.same(second.version == first.version, false)
  check.same(check.fails("Conflict", "version mismatch", cache:put("a", 3, { if_version = first.version })):retryable(), true)
  check.fails("AlreadyExists", "key already exists", cache:put("a", 3, { only_if_absent = true }))
  check.same(cache:put("b", 1, { only_if_absent = true, ttl = 60 }).value, 1)
  check.fails("NotFound", "key not found", cache:put("c", 1, { if_version = 1 }))
  check.fails("Invalid", "ttl must be a non-negative number", cache:put("a", 1, { ttl = -1 }))
  check.fails("Invalid", "only_if_absent must be a boolean", cache:put("a", 1, { only_if_absent = 1 }))
  check.fails("Invalid", "if_version must be a positive version", cache:put("a", 1, { if_version = "x" }))
  check.fails("Invalid", "only_if_absent and if_version are mutually exclusive", cache:put("a", 1, { if_version = 1, only_if_absent = true }))
  check.fails("Invalid", "value is required", cache:put("a", nil))
  check.fails("Invalid", "options must be a table", cache:put("a", 1, "x"))
end

function tests.a_full_store()
  local small = store.get("app:small")
  small:set("a", 1)
  check.same(check.fails("Unavailable", "store is full", small:set("b", 1)):retryable(), true)
  check.same(check.fails("Unavailable", "store is full", small:put("b", 1)):retryable(), true)
  check.same(small:set("a", 2), true)
end

function tests.info()
  local info = store.get("app:cache"):info()
  check.same(info, {
    id = "app:cache", backend = store.backend.MEMORY, consistency = store.consistency.LOCAL, durable = false, list = true,
    versioned = true, conditional_put = true, ttl = true,
  })
end

function tests.release()
  local cache = store.get("app:cache")
  check.same({ cache:release(), cache:release() }, { true, true })
  check.same(tostring(cache), "store.Store{released}")
  for _, name in ipairs({ "get", "has", "delete", "entry", "set", "put", "list", "info" }) do
    local value, err = cache[name](cache, "a", 1)
    check.fails("Invalid", "store is released", value, err)
  end
  for _, name in ipairs({ "get", "has", "delete", "entry", "set", "put", "list", "info", "release" }) do
    check.raises("store.Store expected", cache[name], {}, "a", 1)
  end
end

function tests.denials()
  local cache = fresh()
  cache:set("locked", 1)
  cache:set("open", 1)
  check.same({ funcs.new():with_scope(security.named_scope("app:limits")):call("app:store_limits") }, { 3 })
end

function limits.a_store()
  check.raises("not allowed to access store: app:hidden", store.get, "app:hidden")
end

function limits.a_key()
  local cache = store.get("app:cache")
  check.same({ cache:get("open"), cache:set("open", 2), cache:has("open") }, { 1, true, true })
  check.raises("not allowed to read key: locked", cache.get, cache, "locked")
  check.raises("not allowed to write key: locked", cache.set, cache, "locked", 1)
  check.raises("not allowed to check key existence: locked", cache.has, cache, "locked")
  check.raises("not allowed to delete key: locked", cache.delete, cache, "locked")
  check.fails("PermissionDenied", "not allowed to read key: locked", cache:entry("locked"))
  check.fails("PermissionDenied", "not allowed to write key: locked", cache:put("locked", 1))
  check.same({ cache:delete("open"), cache:has("open") }, { true, false })
end

function limits.lists()
  local cache = store.get("app:cache")
  check.same(select(2, cache:list()):kind(), "PermissionDenied")
  check.same(select(2, cache:info()):kind(), "PermissionDenied")
end

return { main = check.suite(tests), limits = check.suite(limits) }
