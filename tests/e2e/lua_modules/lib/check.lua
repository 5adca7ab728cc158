-- What the tests of this folder are made of.
--
--   check.suite(tests)                     a handler that runs all functions of a table, in the order of their names
--   check.same(actual, expected)           deep comparison
--   check.fails(kind, message, value, err) a call has returned nil (or false) and an error object
--   check.raises(message, fn, ...)         the message of what a call raises contains this text

local check = {}

local function show(value, depth)
  if type(value) == "string" then
    return string.format("%q", value)
  elseif type(value) ~= "table" or depth > 3 then
    return tostring(value)
  end
  local parts = {}
  for key, item in pairs(value) do
    parts[#parts + 1] = "[" .. show(key, depth + 1) .. "] = " .. show(item, depth + 1)
  end
  return "{" .. table.concat(parts, ", ") .. "}"
end

local function equal(a, b)
  if type(a) ~= "table" or type(b) ~= "table" then
    return a == b or (a ~= a and b ~= b)
  end
  for key, item in pairs(a) do
    if not equal(item, b[key]) then
      return false
    end
  end
  for key in pairs(b) do
    if a[key] == nil then
      return false
    end
  end
  return true
end

function check.same(actual, expected)
  if not equal(actual, expected) then
    error("got " .. show(actual, 1) .. ", expected " .. show(expected, 1), 2)
  end
end

function check.fails(kind, message, value, err)
  if value or type(err) ~= "userdata" then
    error("got " .. show(value, 1) .. " and " .. show(err, 1) .. ", expected the error " .. message, 2)
  elseif err:kind() ~= kind or err:message() ~= message then
    error("got " .. err:kind() .. ": " .. err:message() .. ", expected " .. kind .. ": " .. message, 2)
  end
  return err
end

function check.raises(message, fn, ...)
  local ok, raised = pcall(fn, ...)
  if ok then
    error("it raises nothing, expected " .. message, 2)
  elseif not tostring(raised):find(message, 1, true) then
    error("it raises " .. show(raised, 1) .. ", expected " .. message, 2)
  end
  return raised
end

function check.suite(tests)
  return function()
    local names, failed = {}, {}
    for name in pairs(tests) do
      names[#names + 1] = name
    end
    table.sort(names)
    for _, name in ipairs(names) do
      local ok, raised = pcall(tests[name])
      if not ok then
        failed[#failed + 1] = name .. ": " .. tostring(raised)
      end
    end
    if #failed > 0 then
      return nil, table.concat(failed, "\n")
    end
    return #names
  end
end

return check
