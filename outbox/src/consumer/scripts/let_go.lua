#!lua flags=allow-oom
-- Ends the right to read a partition, if it is still ours. Nobody reads it then, which is not the same as not knowing who does.
-- KEYS holder, reader; ARGV me
if redis.call('GET', KEYS[1]) == ARGV[1] then
    redis.call('SET', KEYS[2], 'nobody')
    return redis.call('DEL', KEYS[1])
end
return 0
