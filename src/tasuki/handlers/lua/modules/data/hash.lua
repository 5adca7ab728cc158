-- hash: digests of texts.
--
--   hash.md5|sha1|sha256|sha512(data, raw?)                       text, nil | nil, err (Invalid: data must be a string)
--   hash.hmac_md5|hmac_sha1|hmac_sha256|hmac_sha512(data, secret, raw?)  the same (Invalid: secret must be a string)
--   hash.fnv32(data) hash.fnv64(data)                             number, nil | nil, err   FNV-1; fnv64 as a float
--
-- Lower-case hexadecimal digits, or the bytes if `raw` is true.

local host = ...

local type, next = type, next
local answer, invalid = host.results, host.invalid
local hash = {}

for _, name in next, { "md5", "sha1", "sha256", "sha512" } do
  hash[name] = function(data, raw)
    if type(data) ~= "string" then
      return invalid("data must be a string")
    end
    return answer(host.send("hash.digest", "body", name, data, raw and true or false))
  end
  hash["hmac_" .. name] = function(data, secret, raw)
    if type(data) ~= "string" then
      return invalid("data must be a string")
    elseif type(secret) ~= "string" then
      return invalid("secret must be a string")
    end
    return answer(host.send("hash.hmac", "body", name, data, secret, raw and true or false))
  end
end

local byte = string.byte

local function fnv(start, prime, mask)
  return function(data)
    if type(data) ~= "string" then
      return invalid("data must be a string")
    end
    local value = start
    for i = 1, #data do
      value = value * prime & mask ~ byte(data, i)
    end
    return value, nil
  end
end

hash.fnv32 = fnv(0x811c9dc5, 0x01000193, 0xffffffff)
local fnv64 = fnv(0xcbf29ce484222325, 0x100000001b3, -1)

function hash.fnv64(data)
  local value, err = fnv64(data)
  if not value then
    return nil, err
  end
  return value >= 0 and value + 0.0 or (value >> 1 | value & 1) * 2.0, nil -- unsigned
end

return hash
