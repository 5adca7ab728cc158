-- time.after, time.timer, time.ticker: channels that time fills. They end with the call that made them.
--
--   time.after(d)    Channel | nil, err (Invalid)   one Time, then closed
--   time.timer(d)    Timer | nil, err (Invalid)     t:response() t:channel(): one Time, then closed
--                    t:stop()    boolean: was it pending; closes the channel
--                    t:reset(d)  boolean: was it pending (else it stays as it is); raises on a bad duration
--   time.ticker(d)   Ticker | nil, err (Invalid)    t:response() t:channel(): Times, dropped while 16 of them wait
--                    t:stop()    true; closes the channel
--
-- A duration is as in time.lua, and must be above zero.

local host = ...

local error = error
local objects = host.time_objects
local timer, ticker = {}, {}
local new_timer, timer_of = host.class("time.Timer", timer, "timer")
local new_ticker, ticker_of = host.class("time.Ticker", ticker, "ticker")
local NS, ROOM = 1000000000, 16

local function seconds(d, fn)
  local ns, problem = objects.to_ns(d)
  if ns and ns <= 0 then
    ns, problem = nil, fn .. ": duration must be > 0"
  end
  return ns and ns / 1e9, problem
end

local function offer(channel, ns)
  host.offer(channel, objects.new_time(ns // NS, ns % NS, "Local"))
end

local function start(own, wait)
  own.ticket = host.begin(function(ok, ns)
    own.ticket = nil
    if ok then
      offer(own.channel, ns)
    end
    host.shut(own.channel)
  end, "loose", "time.after", wait)
end

local function once(fn, d)
  local wait, problem = seconds(d, fn)
  if not wait then
    return host.invalid(problem)
  end
  host.need_handler(fn)
  host.charge(200)
  local own = { channel = host.new_channel(1) }
  start(own, wait)
  return own
end

local function stop(own) -- was it pending
  local ticket = own.ticket
  own.ticket = nil
  if not ticket then
    return false
  end
  host.cancel(ticket)
  if host.shut(own.channel) then
    host.give_way()
  end
  return true
end

function timer.channel(self)
  return timer_of(self).channel
end
timer.response = timer.channel

function timer.stop(self)
  return stop(timer_of(self))
end

function timer.reset(self, d)
  local own = timer_of(self)
  local wait, problem = seconds(d, "timer:reset")
  if not wait then
    error(problem:find("^timer:reset") and problem or "timer:reset: " .. problem, 2)
  elseif not own.ticket then
    return false
  end
  host.cancel(own.ticket)
  start(own, wait)
  return true
end

function ticker.channel(self)
  return ticker_of(self).channel
end
ticker.response = ticker.channel

function ticker.stop(self)
  stop(ticker_of(self))
  return true
end

function host.add_timers(time)
  function time.after(d)
    local own, err = once("time.after", d)
    if not own then
      return nil, err
    end
    return own.channel
  end

  function time.timer(d)
    local own, err = once("time.timer", d)
    if not own then
      return nil, err
    end
    return new_timer(own)
  end

  function time.ticker(d)
    local period, problem = seconds(d, "time.ticker")
    if not period then
      return host.invalid(problem)
    end
    host.need_handler("time.ticker")
    host.charge(200)
    local own = { channel = host.new_channel(ROOM) }
    own.ticket = host.begin(function(ok, tick)
      if not ok then
        own.ticket = nil
        host.shut(own.channel)
        return
      end
      offer(own.channel, tick[1])
      return "time.tick", period, tick[2]
    end, "loose", "time.tick", period)
    return new_ticker(own)
  end
end
