-- Tells what it is called with, and what a function below it sees.

local around = {}

function around.main(below)
  local seen = ctx.all()
  if below then
    seen.below = funcs.call(below)
  end
  return seen
end

function around.more()
  local seen = funcs.call("app:around")
  local changed = funcs.new():with_context({ tenant = "other", extra = 1 }):call("app:around")
  return { own = ctx.all(), seen = seen, changed = changed }
end

return around
