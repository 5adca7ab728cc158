local check = require("check")
local tests = {}

local function sample()
  return time.date(2024, time.FEBRUARY, 29, 12, 30, 15, 500000000, time.utc)
end

function tests.constants()
  check.same({ time.NANOSECOND, time.MICROSECOND, time.MILLISECOND, time.SECOND, time.MINUTE, time.HOUR }, { 1, 1e3, 1e6, 1e9, 6e10, 3.6e12 })
  check.same({ time.JANUARY, time.DECEMBER, time.SUNDAY, time.SATURDAY }, { 1, 12, 0, 6 })
  for name, expected in pairs({
    RFC3339 = "2024-02-29T12:30:15Z", RFC3339NANO = "2024-02-29T12:30:15.5Z", RFC822 = "29 Feb 24 12:30 UTC", RFC822Z = "29 Feb 24 12:30 +0000",
    RFC850 = "Thursday, 29-Feb-24 12:30:15 UTC", RFC1123 = "Thu, 29 Feb 2024 12:30:15 UTC", RFC1123Z = "Thu, 29 Feb 2024 12:30:15 +0000",
    KITCHEN = "12:30PM", STAMP = "Feb 29 12:30:15", STAMP_MILLI = "Feb 29 12:30:15.500", STAMP_MICRO = "Feb 29 12:30:15.500000",
    STAMP_NANO = "Feb 29 12:30:15.500000000", DATE_TIME = "2024-02-29 12:30:15", DATE_ONLY = "2024-02-29", TIME_ONLY = "12:30:15",
  }) do
    check.same(sample():format(time[name]), expected)
  end
end

function tests.now()
  check.same(math.abs(time.now():unix() - os.time()) <= 1, true)
  check.same(tostring(time.now()):find(" m=%+") ~= nil, true)
end

function tests.date_and_its_parts()
  local t = sample()
  check.same({ t:date() }, { 2024, 2, 29 })
  check.same({ t:clock() }, { 12, 30, 15 })
  check.same({ t:year(), t:month(), t:day(), t:hour(), t:minute(), t:second(), t:nanosecond() }, { 2024, 2, 29, 12, 30, 15, 500000000 })
  check.same({ t:weekday(), t:year_day() }, { 4, 60 })
  check.same({ t:unix(), t:unix_nano() }, { 1709209815, 1709209815.5e9 })
  check.same(time.date(2023, 13, 0, -1, 0, 0, 0, time.utc):format_rfc3339(), "2023-12-30T23:00:00Z")
  check.raises("bad argument", time.date, 2024, 1, 1, 0, 0, 0)
  check.raises("bad argument", time.date, 2024, 1, "x", 0, 0, 0, 0)
  check.raises("location expected", time.date, 2024, 1, 1, 0, 0, 0, 0, nil)
  check.raises("location expected", time.date, 2024, 1, 1, 0, 0, 0, 0, "UTC")
end

function tests.unix()
  check.same(time.unix(1709209815, 500000000):equal(sample()), true)
  check.raises("bad argument", time.unix, 1)
  check.raises("bad argument", time.unix, "1", 0)
end

function tests.parse()
  check.same(time.parse(time.RFC3339, "2024-02-29T14:30:15.5+02:00"):equal(sample()), true)
  check.same(time.parse("2006-01-02 15:04", "2024-07-01 12:00", time.load_location("Europe/Berlin")):utc():hour(), 10)
  local message = 'parsing time "soon" as "2006-01-02": cannot parse "soon" as "2006"'
  check.fails("Invalid", message, time.parse("2006-01-02", "soon"))
  check.raises("bad argument", time.parse, "2006")
end

function tests.durations()
  local d = time.parse_duration("1h30m")
  check.same({ d:hours(), d:minutes(), d:seconds(), d:milliseconds(), d:microseconds(), d:nanoseconds() }, { 1.5, 90, 5400, 5400000, 5.4e9, 5.4e12 })
  check.same({ tostring(d), tostring(time.parse_duration("250ms")), tostring(time.parse_duration(0)), tostring(time.parse_duration("-1.5s")) }, { "1h30m0s", "250ms", "0s", "-1.5s" })
  check.same(time.parse_duration(time.SECOND):seconds(), 1)
  check.same(time.parse_duration(d):hours(), 1.5)
  check.fails("Invalid", 'time: invalid duration "x"', time.parse_duration("x"))
  check.fails("Invalid", 'time: missing unit in duration "5"', time.parse_duration("5"))
  check.fails("Invalid", 'time: unknown unit "d" in duration "5d"', time.parse_duration("5d"))
  check.same(select(2, time.parse_duration({})):message():find("^invalid duration type") ~= nil, true)
  for _, name in ipairs({ "hours", "minutes", "seconds", "milliseconds", "microseconds", "nanoseconds" }) do
    check.raises("duration expected", d[name], {})
  end
end

function tests.locations()
  local tokyo = time.load_location("Asia/Tokyo")
  check.same({ tokyo:string(), tostring(tokyo), time.utc:string(), time.localtz:string() }, { "Asia/Tokyo", "Asia/Tokyo", "UTC", "Local" })
  check.same(sample():in_location(tokyo):format_rfc3339(), "2024-02-29T21:30:15+09:00")
  check.same(sample():in_location(time.fixed_zone("HERE", -3600)):format("15:04 MST -0700"), "11:30 HERE -0100")
  check.same(sample():in_local():location():string(), "Local")
  check.same(sample():in_location(tokyo):utc():location():string(), "UTC")
  check.fails("Invalid", "empty location name", time.load_location(""))
  check.fails("NotFound", "unknown time zone Mars/Base", time.load_location("Mars/Base"))
  check.raises("location expected", sample().in_location, sample(), "UTC")
  check.raises("location expected", tokyo.string, {})
  check.raises("bad argument", time.fixed_zone, "x")
end

function tests.arithmetic()
  local t = sample()
  check.same(t:add("1h"):hour(), 13)
  check.same(t:add(-30 * time.MINUTE):minute(), 0)
  check.same(tostring(t:add("90m"):sub(t)), "1h30m0s")
  check.same(time.date(2023, 1, 31, 0, 0, 0, 0, time.utc):add_date(0, 1, 0):format(time.DATE_ONLY), "2023-03-03")
  check.same({ t:after(t:add("-1s")), t:before(t:add("1s")), t:equal(t:in_local()) }, { true, true, true })
  check.same(t:truncate(time.parse_duration("1h")):format(time.TIME_ONLY), "12:00:00")
  check.same(t:round(time.parse_duration("1h")):format(time.TIME_ONLY), "13:00:00")
  check.same({ t:is_zero(), time.date(1, 1, 1, 0, 0, 0, 0, time.utc):is_zero() }, { false, true })
  check.same(t == sample(), false)
  check.raises("attempt to compare", function() return t < sample() end)
  check.raises("invalid duration", t.add, t, "x")
  check.raises("duration expected", t.round, t, 5)
  check.raises("duration expected", t.truncate, t, "1h")
  check.raises("bad argument", t.add_date, t, 1, 2)
  check.raises("bad argument", t.format, t, {})
end

function tests.tostring_of_times()
  check.same(tostring(sample()), "2024-02-29 12:30:15.5 +0000 UTC")
end

function tests.wrong_selves_raise()
  local t = sample()
  for _, name in ipairs({
    "add", "sub", "add_date", "after", "before", "equal", "format", "format_rfc3339", "unix", "unix_nano", "date", "clock", "year", "month",
    "day", "hour", "minute", "second", "nanosecond", "weekday", "year_day", "is_zero", "in_location", "utc", "in_local", "location", "round", "truncate",
  }) do
    check.raises("time expected", t[name], {}, t)
  end
  for _, name in ipairs({ "sub", "after", "before", "equal" }) do
    check.raises("time expected", t[name], t, 1)
  end
end

function tests.sleep()
  local before = time.now()
  check.same(select("#", time.sleep("5ms")), 0)
  check.same(time.now():sub(before):milliseconds() >= 4, true)
  check.same(select("#", time.sleep(-1)), 0)
  check.fails("Invalid", "duration must be number or string", time.sleep({}))
  check.fails("Invalid", 'time: invalid duration "x"', time.sleep("x"))
end

function tests.after()
  local ch = time.after("2ms")
  local at, ok = ch:receive()
  check.same({ type(at:unix()), ok }, { "number", true })
  check.same({ ch:receive() }, { nil, false })
  check.fails("Invalid", "time.after: duration must be > 0", time.after(0))
  check.fails("Invalid", 'time: invalid duration "x"', time.after("x"))
end

function tests.timer()
  local timer = time.timer("1h")
  check.same(timer:response() == timer:channel(), true)
  check.same({ timer:reset("2ms") }, { true })
  check.same({ select(2, timer:channel():receive()) }, { true })
  check.same({ timer:stop(), timer:reset("1s") }, { false, false })
  local other = time.timer("1h")
  check.same({ other:stop(), other:stop() }, { true, false })
  check.same({ other:channel():receive() }, { nil, false })
  check.fails("Invalid", "time.timer: duration must be > 0", time.timer(-1))
  check.raises("timer:reset: ", timer.reset, timer, 0)
  check.raises("timer:reset: ", timer.reset, timer, "x")
  for _, name in ipairs({ "response", "channel", "stop", "reset" }) do
    check.raises("timer expected", timer[name], {}, 1)
  end
end

function tests.ticker()
  local ticker = time.ticker("2ms")
  check.same(ticker:response() == ticker:channel(), true)
  for _ = 1, 3 do
    check.same(select(2, ticker:channel():receive()), true)
  end
  check.same({ ticker:stop(), ticker:stop() }, { true, true })
  local value, ok = nil, true
  while ok do -- what had ticked before is still there
    value, ok = ticker:channel():receive()
  end
  check.same(value, nil)
  check.fails("Invalid", "time.ticker: duration must be > 0", time.ticker(0))
  for _, name in ipairs({ "response", "channel", "stop" }) do
    check.raises("ticker expected", ticker[name], {})
  end
end

return check.suite(tests)
