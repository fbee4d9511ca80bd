#!lua flags=allow-oom
-- Notes down a consumer for so long. Answers how many there are, and how many of them come before it.
-- KEYS register; ARGV me, lease_ms
local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
redis.call('ZADD', KEYS[1], now + ARGV[2], ARGV[1])
redis.call('ZREMRANGEBYSCORE', KEYS[1], '-inf', now)
local names = redis.call('ZRANGE', KEYS[1], 0, -1)
local before = 0
for _, name in ipairs(names) do
    if name < ARGV[1] then
        before = before + 1
    end
end
return {#names, before}
