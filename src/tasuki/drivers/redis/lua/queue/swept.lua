-- The queue as the passing of time has left it, for scripts that look at it or remove from it; they call tell(before).
local ordering, seq = queue_state('seq')
if not ordering then
  return {err = UNDECLARED}
end
local time, before = now(), watch()
sweep(time, ordering)
