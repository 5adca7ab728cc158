-- ctx: what the callers of this function have said about the call (with_context of funcs), and its trace. Read-only.
--
--   ctx.get(key)   value, nil | nil, err (Invalid: empty key; NotFound: key not found)
--   ctx.all()      table, nil   a fresh one each time
--   ctx.trace()    text, nil    the traceparent of the trace that runs now; nil: there is none

local host = ...

local ctx = {}

function ctx.get(key)
  local name = host.string("get", 1, key)
  if name == "" then
    return host.invalid("empty key")
  end
  return host.results(host.ask("ctx.get", host.scrub(name)))
end

function ctx.all()
  return host.results(host.ask("ctx.all"))
end

function ctx.trace()
  return host.results(host.ask("ctx.trace"))
end

return ctx
