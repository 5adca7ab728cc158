-- base64: the standard alphabet, with padding.
--
--   base64.encode(s)   text | nil, err (Invalid: string expected)
--   base64.decode(s)   text | nil, err (Invalid: string expected; illegal base64 data at input byte n)
--
-- Line ends inside a text are skipped, other blanks are illegal. Results are single; any bytes are good.

local host = ...

local type = type
local base64 = {}

local function both(op)
  return function(s)
    if type(s) ~= "string" then
      return host.invalid("string expected")
    end
    local ok, value = host.send(op, "body", s)
    if ok then
      return value
    end
    return nil, value
  end
end

base64.encode, base64.decode = both("base64.encode"), both("base64.decode")

return base64
