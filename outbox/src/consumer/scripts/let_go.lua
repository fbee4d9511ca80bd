#!lua flags=allow-oom
-- Ends the right to read a partition, if it is still ours. Nobody reads it then, which is not the same as not knowing who does.
-- KEYS holder, reader; ARGV me
if redis.call('GET', KEYS[1]) == ARGV[1] then
    -- What somebody else keeps under that name is not ours to write over.
    if type(redis.pcall('GET', KEYS[2])) ~= 'table' then
        redis.call('SET', KEYS[2], 'nobody')
    end
    return redis.call('DEL', KEYS[1])
end
return 0
