-- Removes consumers that have been silent for long, unless something is pending for them: that would be lost with them.
-- KEYS stream, stats; ARGV group, idle_ms_min
local removed = 0
for _, consumer in ipairs(redis.call('XINFO', 'CONSUMERS', KEYS[1], ARGV[1])) do
    local about = {}
    for at = 1, #consumer, 2 do
        about[consumer[at]] = consumer[at + 1]
    end
    if about['pending'] == 0 and about['idle'] >= tonumber(ARGV[2]) then
        redis.call('XGROUP', 'DELCONSUMER', KEYS[1], ARGV[1], about['name'])
        redis.call('HDEL', KEYS[2], about['name'])
        removed = removed + 1
    end
end
return removed
