-- Gives entries back: to nobody's name, idle for so long that the next consumer that looks may take them.
-- KEYS stream; ARGV group, me, nobody, then triples of number, idle_ms and count
for at = 4, #ARGV, 3 do
    local id = ARGV[at]
    local pending = redis.call('XPENDING', KEYS[1], ARGV[1], id, id, 1)
    if pending[1] and pending[1][2] == ARGV[2] then
        redis.call('XCLAIM', KEYS[1], ARGV[1], ARGV[3], 0, id, 'IDLE', ARGV[at + 1], 'RETRYCOUNT', ARGV[at + 2], 'JUSTID')
    end
end
return redis.status_reply('OK')
