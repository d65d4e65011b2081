-- Sets values that are newer than those that are there. Atomic, as every script is.
--
-- KEYS: the values' keys.
-- ARGV: 1 the age of the read in ms; 2 its moment by Redis's clock in ms, as far as the caller can tell, at the latest;
--       3 the oldest that the read may be in ms; then for each key: version, TTL in ms counted from the read, payload.
-- A value is: moment of its read by Redis's clock in ms (8 bytes, big-endian), version (8), payload.
-- Returns for each key: 1 written, 0 the same version is there, -1 a higher one is, -2 the read is too old: a higher one may have been
-- there and have expired meanwhile.
local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
-- The younger of two estimates would make a value that was long on its way look fresh.
local read_at = math.min(now - tonumber(ARGV[1]), tonumber(ARGV[2]))
local answers = {}
for i, key in ipairs(KEYS) do
  local version = tonumber(ARGV[3 * i + 1])
  local head = redis.call('GETRANGE', key, 0, 15)
  local held = -1
  if #head == 16 then
    held = struct.unpack('>I8', head, 9)
  end
  if held > version then
    answers[i] = -1
  elseif held == version then
    answers[i] = 0
  elseif now - read_at > tonumber(ARGV[3]) then
    answers[i] = -2
  else
    -- At least 1 ms: a value that expired on its way still takes the older one's place, and tells everybody so.
    local left = math.max(1, read_at + tonumber(ARGV[3 * i + 2]) - now)
    redis.call('SET', key, struct.pack('>I8I8', read_at, version) .. ARGV[3 * i + 3], 'PX', left)
    answers[i] = 1
  end
  -- A write ends the tracking of its key, also for the writer, who is not told (NOLOOP). Reading begins it anew.
  redis.call('EXISTS', key)
end
return answers
