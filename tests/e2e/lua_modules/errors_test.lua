local check = require("check")
local tests = {}

local function sample()
  return errors.new({ message = "no room", kind = errors.CONFLICT, retryable = true, details = { seats = 0, list = { 1, x = 2 } } })
end

function tests.constants()
  local expected = {
    NOT_FOUND = "NotFound", ALREADY_EXISTS = "AlreadyExists", INVALID = "Invalid", PERMISSION_DENIED = "PermissionDenied",
    UNAVAILABLE = "Unavailable", INTERNAL = "Internal", CANCELED = "Canceled", CONFLICT = "Conflict", TIMEOUT = "Timeout",
    RATE_LIMITED = "RateLimited", UNKNOWN = "",
  }
  for name, value in pairs(expected) do
    check.same(errors[name], value)
  end
end

function tests.new_from_a_text()
  local err = errors.new("TIMEOUT", "text")
  check.same({ err:message(), err:kind(), err:retryable() == nil, err:details() == nil }, { "TIMEOUT", "", true, true })
end

function tests.new_from_a_table()
  local err = sample()
  check.same({ err:kind(), err:message(), err:retryable() }, { "Conflict", "no room", true })
  check.same(err:details(), { seats = 0, list = { x = 2 } })
  err:details().seats = 9
  check.same(err:details().seats, 0)
  local odd = errors.new({ message = "m", kind = 1, retryable = "yes", details = { 1, 2 } })
  check.same({ odd:kind(), odd:retryable() == nil, odd:details() == nil }, { "", true, true })
  check.same(errors.new({ message = "m", kind = "Odd" }):kind(), "Odd")
  check.same(errors.new({ message = "m", details = { e = sample(), f = print } }):details().e, "no room")
end

function tests.new_raises()
  check.raises("expected string or table", errors.new, 1)
  check.raises("expected string or table", errors.new)
  check.raises("message field is required", errors.new, {})
  check.raises("message must be a string", errors.new, { message = 1 })
end

function tests.wrap()
  local outer = errors.wrap(sample(), "booking")
  check.same({ outer:kind(), outer:message(), outer:retryable(), outer:details().seats }, { "Conflict", "no room", true, 0 })
  check.same(tostring(outer), "no room")
  check.same(outer:stack():find("^booking\n") ~= nil, true)
  local again = errors.wrap(outer, errors.new("trip"))
  check.same(again:message(), "booking: no room")
  check.same(again:stack():find("^trip\n") ~= nil, true)
  local text = errors.wrap("plain", "around")
  check.same({ text:message(), text:kind(), text:retryable() == nil }, { "plain", "", true })
  check.raises("expected string or error object", errors.wrap, 1, "c")
  check.raises("expected string or error object", errors.wrap, "m", {})
  check.raises("value expected", errors.wrap, "m")
  check.raises("value expected", errors.wrap)
end

function tests.is()
  check.same(errors.is(sample(), "Conflict"), true)
  check.same(errors.is(sample(), "Internal"), false)
  check.same({ errors.is(nil, ""), errors.is("x", ""), errors.is({}, "") }, { false, false, false })
  check.same(errors.is(errors.new("x"), errors.UNKNOWN), true)
  check.raises("string expected", errors.is, sample(), 1)
  check.raises("bad argument", errors.is)
end

function tests.stack()
  local err = sample()
  check.same(err:stack():find("errors_test.lua:", 1, true) ~= nil, true)
  local found = errors.call_stack(err)
  check.same(type(found.thread), "string")
  check.same(found.frames[1].source, "errors_test.lua")
  check.same(type(found.frames[1].line), "number")
  check.same({ errors.call_stack("x") == nil, errors.call_stack() == nil }, { true, true })
end

function tests.as_a_value()
  local err = sample()
  check.same(type(err), "userdata")
  check.same("a " .. err .. 1, "a no room1")
  check.same(err .. err, "no roomno room")
  check.same(table.concat({ "x", err }, " "), "x no room")
  check.same(string.upper(err), "NO ROOM")
  check.same(err == err, true)
  check.same(err == sample(), false)
  check.same(type(err.kind), "function")
  check.raises("attempt to", function() err.x = 1 end)
  check.raises("attempt to", function() return #err end)
  check.raises("attempt to", function() return err < sample() end)
end

function tests.methods_take_any_self()
  local err = sample()
  for _, other in ipairs({ "text", {}, 1 }) do
    check.same({ err.kind(other), err.message(other), err.stack(other) }, { "", "", "" })
    check.same({ err.retryable(other) == nil, err.details(other) == nil }, { true, true })
  end
end

function tests.raised_objects_come_back_untouched()
  local err = sample()
  local ok, caught = pcall(error, err)
  check.same({ ok, caught == err }, { false, true })
  ok, caught = pcall(error, err, 2)
  check.same(caught == err, true)
  ok, caught = pcall(assert, nil, err)
  check.same(caught == err, true)
end

return check.suite(tests)
