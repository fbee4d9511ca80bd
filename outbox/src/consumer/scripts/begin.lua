-- Before an attempt begins it is counted, if the entry is still ours. Answers its fields; 0 if it was deleted from the
-- stream; nothing if it is not ours.
-- KEYS stream; ARGV group, me, then pairs of number and attempt
local begun = {}
for at = 3, #ARGV, 2 do
    local id = ARGV[at]
    local pending = redis.call('XPENDING', KEYS[1], ARGV[1], id, id, 1)
    local fields = false
    if pending[1] and pending[1][2] == ARGV[2] then
        local entry = redis.call('XRANGE', KEYS[1], id, id)
        if entry[1] then
            redis.call('XCLAIM', KEYS[1], ARGV[1], ARGV[2], 0, id, 'RETRYCOUNT', ARGV[at + 1], 'JUSTID')
            fields = entry[1][2]
        else
            redis.call('XACK', KEYS[1], ARGV[1], id)
            fields = 0
        end
    end
    begun[#begun + 1] = fields
end
return begun
