#!lua flags=allow-oom
-- Takes or keeps the right to read a partition, for so long. Answers 0 if it is somebody else's, 1 if it was ours, 2 if it was
-- nobody's. Also when memory is short: it is freed by those who read.
-- KEYS holder; ARGV me, lease_ms
local holder = redis.call('GET', KEYS[1])
if holder and holder ~= ARGV[1] then
    return 0
end
redis.call('SET', KEYS[1], ARGV[1], 'PX', ARGV[2])
return holder and 1 or 2
