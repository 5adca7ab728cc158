-- metrics: counters, gauges and histograms of scripts.
--
--   metrics.counter_inc(name, labels?)      true, nil
--   metrics.counter_add(name, n, labels?)   a negative n is not counted
--   metrics.gauge_set(name, n, labels?)
--   metrics.gauge_inc(name, labels?)        adds one
--   metrics.gauge_dec(name, labels?)        takes one away
--   metrics.histogram(name, n, labels?)     buckets .005 ... 10
--
-- All raise on a name that is no text and on an n that is no number. Labels that are no table are ignored, and so is an
-- entry whose key or value is no text. A name belongs to the function that uses it. What does not fit the function's first
-- use of the name is dropped: the call says true.

local host = ...

local type, next, tonumber = type, next, tonumber
local metrics = {}

local function labels_of(labels)
  local found
  for key, value in next, host.contents(labels) or {} do
    if type(key) == "string" and type(value) == "string" then
      found = found or {}
      found[key] = host.scrub(value)
    end
  end
  return found
end

local function record(how, name, n, labels)
  local ok, err = host.send("metrics." .. how, "loose", name, n, labels_of(labels))
  if ok then
    return true, nil
  end
  return nil, err
end

for fn, how in next, { counter_add = "count", gauge_set = "set", histogram = "observe" } do
  metrics[fn] = function(name, n, labels)
    local text = host.scrub(host.string(fn, 1, name))
    local value = type(n) == "string" and tonumber(n) or host.expect(fn, 2, n, "number")
    return record(how, text, value, labels)
  end
end

for fn, step in next, { counter_inc = { "count", 1 }, gauge_inc = { "add", 1 }, gauge_dec = { "add", -1 } } do
  metrics[fn] = function(name, labels)
    return record(step[1], host.scrub(host.string(fn, 1, name)), step[2], labels)
  end
end

return metrics
