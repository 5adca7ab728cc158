-- Continue a change of the ordering, or of the lanes. Returns 1 if there is more to do, else 0.

local ordering = queue_state()
if not ordering then
  return {err = UNDECLARED}
end
run_at_maxmemory()
local before = watch()
convert()
tell(before)
return (conversion or limits and gate().laning) and 1 or 0
