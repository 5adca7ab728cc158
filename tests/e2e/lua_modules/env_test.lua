local check = require("check")
local tests, limits = {}, {}

function tests.get()
  check.same(env.get("TOWN"), "Kyoto")
  check.same(env.get("app:town"), "Kyoto")
  check.same(env.get("town"), "Kyoto")
  check.fails("Invalid", "empty key", env.get(""))
  check.fails("NotFound", "environment variable not found", env.get("PATH"))
  check.fails("NotFound", "environment variable not found", env.get("EMPTY"))
  check.raises("bad argument #1 to get (string expected, got nil)", env.get)
end

function tests.set()
  check.same({ env.set("NOTE", "new") }, { true })
  check.same(env.get("NOTE"), "new")
  check.same(env.set("note", 5), true)
  check.same(env.get("app:note"), "5")
  check.same(env.set("LINE", " in a file "), true)
  check.same(env.get("LINE"), " in a file ")
  check.same(env.set("NOTE", ""), true)
  check.fails("NotFound", "environment variable not found", env.get("NOTE"))
  check.fails("Invalid", "empty key", env.set("", "x"))
  check.fails("NotFound", "environment variable not found", env.set("PATH", "/"))
  check.fails("PermissionDenied", "environment variable is read-only", env.set("FIXED", "2"))
  check.fails("PermissionDenied", "storage is read-only", env.set("TOWN", "Nara"))
  check.fails("Invalid", "a setting in a file must be one line KEY=VALUE", env.set("LINE", "a\nb"))
  check.raises("bad argument #2 to set (string expected, got nil)", env.set, "NOTE")
  check.raises("bad argument #1 to set (string expected, got table)", env.set, {}, "x")
end

function tests.get_all()
  env.set("NOTE", "kept")
  local all, err = env.get_all()
  check.same({ err == nil, all.TOWN, all.FIXED, all.NOTE, all.SECRET }, { true, "Kyoto", "1", "kept", "hidden" })
  check.same({ all.EMPTY == nil, all.PATH == nil }, { true, true })
end

function tests.denials()
  local group = security.named_scope("app:limits")
  check.same({ funcs.new():with_scope(group):call("app:env_limits") }, { 1 })
end

function limits.a_policy_keeps_a_variable()
  check.fails("PermissionDenied", "not allowed to access environment variable: SECRET", env.get("SECRET"))
  check.fails("PermissionDenied", "not allowed to set environment variable: SECRET", env.set("SECRET", "x"))
  check.same(env.get("TOWN"), "Kyoto")
  local all = env.get_all()
  check.same({ all.TOWN, all.SECRET == nil }, { "Kyoto", true })
end

return { main = check.suite(tests), limits = check.suite(limits) }
