local check = require("check")
local tests, limits = {}, {}

function tests.who_acts()
  local actor = security.actor()
  check.same({ type(actor), actor:id() }, { "userdata", "tester" })
  check.same(actor:meta(), { team = "red" })
  actor:meta().team = "changed"
  check.same(actor:meta().team, "red")
  check.same(security.scope():contains("app:everything"), true)
end

function tests.can()
  check.same(security.can("queue.publish.queue", "app:tasks"), true)
  check.same(security.can("paint", "wall", { colour = "blue" }), true)
  check.raises("string expected", security.can, "x")
  check.raises("string expected", security.can, {}, "x")
  check.raises("table expected", security.can, "x", "y", "z")
end

function tests.policy()
  local policy = security.policy("app:for_red")
  check.same({ type(policy), policy:id() }, { "userdata", "app:for_red" })
  check.same(security.policy("for_red"):id(), "app:for_red")
  local red, blue = security.actor(), security.new_actor("b", { team = "blue" })
  check.same(policy:evaluate(red, "paint", "wall"), "allow")
  check.same(policy:evaluate(blue, "paint", "wall"), "undefined")
  check.same(policy:evaluate(red, "burn", "wall", {}), "undefined")
  check.same(security.policy("app:never"):evaluate(red, "paint", "wall"), "deny")
  check.fails("Internal", "policy not found: app:missing", security.policy("app:missing"))
  check.raises("security.Actor expected", policy.evaluate, policy, "b", "paint", "wall")
  check.raises("security.Policy expected", policy.id, red)
end

function tests.named_scope()
  local scope = security.named_scope("app:limits")
  check.same({ scope:contains("app:no_closed"), scope:contains("app:never") }, { true, false })
  check.same(#scope:policies(), 6)
  check.fails("Internal", "policy group not found: app:missing", security.named_scope("app:missing"))
end

function tests.scopes()
  local red, allow, deny = security.new_actor("r", { team = "red" }), security.policy("app:for_red"), security.policy("app:never")
  local scope = security.new_scope({ allow, "no policy", 7 })
  check.same(scope:evaluate(red, "paint", "wall"), "allow")
  check.same({ scope:contains(allow), scope:contains("app:for_red"), scope:contains({ ns = "app", name = "for_red" }) }, { true, true, true })
  local more = scope:with(deny)
  check.same({ more:evaluate(red, "paint", "wall"), scope:evaluate(red, "paint", "wall") }, { "deny", "allow" })
  check.same(more:evaluate(red, "paint", "door"), "allow")
  for _, which in ipairs({ deny, "app:never", { ns = "app", name = "never" } }) do
    check.same(more:without(which):evaluate(red, "paint", "wall"), "allow")
  end
  check.same(security.new_scope():evaluate(red, "paint", "wall"), "undefined")
  check.same(#security.new_scope():policies(), 0)
  check.same(more:policies()[1]:id() == more:policies()[2]:id(), false)
  check.raises("security.Policy expected", scope.with, scope, "app:never")
  check.raises("table expected", security.new_scope, "x")
  check.raises("security.Scope expected", scope.policies, red)
end

function tests.new_actor()
  local meta = { team = "blue" }
  local actor = security.new_actor("clerk", meta)
  meta.team = "red"
  check.same({ actor:id(), actor:meta().team }, { "clerk", "blue" })
  check.same(security.new_actor("plain"):meta(), {})
  check.raises("string expected", security.new_actor)
  check.raises("attempt to modify", function() actor.id = 1 end)
end

function tests.token_store()
  check.fails("Invalid", "token store id is required", security.token_store(""))
  check.fails("Internal", "there are no token stores in this version", security.token_store("app:tokens"))
end

function tests.denials()
  local group = security.named_scope("app:limits")
  check.same({ funcs.new():with_scope(group):call("app:security_limits") }, { 3 })
end

function limits.can()
  check.same({ security.can("queue.publish.queue", "app:closed"), security.can("queue.publish.queue", "app:tasks") }, { false, true })
  check.same(security.can("store.key.get", "app:cache", { key = "locked" }), false)
end

function limits.look_ups()
  check.fails("Invalid", "permission denied: access policy", security.policy("app:never"))
  check.fails("Invalid", "permission denied: access policy group", security.named_scope("app:limits"))
end

function limits.objects()
  check.raises("not allowed to create custom scopes", security.new_scope)
  check.raises("not allowed to create actor with ID: root", security.new_actor, "root")
  local scope = security.scope()
  check.raises("not allowed to add policy to scope", scope.with, scope, scope:policies()[1])
  check.raises("not allowed to remove policy from scope", scope.without, scope, "app:no_others")
end

return { main = check.suite(tests), limits = check.suite(limits) }
