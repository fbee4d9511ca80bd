#!lua flags=allow-oom
-- Notes down who reads a partition. Answers who did before.
-- KEYS reader; ARGV reader
return redis.call('SET', KEYS[1], ARGV[1], 'GET')
