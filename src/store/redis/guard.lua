-- One person's fatigue guard: the law of src/policy/guard.rs, by Redis's clock. Atomic, as every script is.
--
-- KEYS[1]: a sorted set, scores are moments in ms. Members: `rang:<request>` for each request that rang, `tight` since "not me" was said,
-- `told` since a request was the first to be held back, and `told:<request>`, which it was.
-- ARGV: 1 what happens, 2 the window in ms, then
--   ring: 3 how many may ring, 4 the request. Returns 0 it rings, 1 held back, 2 held back as the first.
--   approved, not_me: 3 how long ago in ms. Returns 0.
local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
local key, what, window = KEYS[1], ARGV[1], tonumber(ARGV[2])
-- What is a window old counts no more, nor does what is in the future of a clock that was set back.
redis.call('ZREMRANGEBYSCORE', key, '-inf', string.format('%d', now - window))
redis.call('ZREMRANGEBYSCORE', key, string.format('(%d', now), '+inf')
if what == 'ring' then
  local max, request = tonumber(ARGV[3]), ARGV[4]
  if redis.call('ZSCORE', key, 'rang:' .. request) then
    return 0
  end
  local tight, told = redis.call('ZSCORE', key, 'tight'), redis.call('ZSCORE', key, 'told')
  local rang = redis.call('ZCARD', key) - (tight and 1 or 0) - (told and 2 or 0)
  local answer = 0
  if not tight and rang < max then
    redis.call('ZADD', key, string.format('%d', now), 'rang:' .. request)
  elseif not told then
    redis.call('ZADD', key, string.format('%d', now), 'told', string.format('%d', now), 'told:' .. request)
    answer = 2
  else
    return redis.call('ZSCORE', key, 'told:' .. request) and 2 or 1
  end
  redis.call('PEXPIRE', key, window)
  return answer
end
local at = now - tonumber(ARGV[3])
if what == 'approved' then
  for _, member in ipairs(redis.call('ZRANGEBYSCORE', key, '-inf', string.format('%d', at))) do
    if string.sub(member, 1, 5) == 'rang:' then
      redis.call('ZREM', key, member)
    end
  end
elseif at > now - window then
  redis.call('ZADD', key, 'GT', string.format('%d', at), 'tight')
  redis.call('PEXPIRE', key, window)
end
return 0
