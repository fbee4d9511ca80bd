-- Claims what others have left idle. Delivery counts stay as they are: a claim is not an attempt.
-- Of a partition only its holder may: one that was frozen while it claimed must not take all of it back when it wakes up.
-- KEYS stream, tries, and of a partition holder; ARGV group, me, idle_ms_min, cursor, count
if KEYS[3] and redis.call('GET', KEYS[3]) ~= ARGV[2] then
    return {'0-0', {}, {}}
end
local claimed = redis.call('XAUTOCLAIM', KEYS[1], ARGV[1], ARGV[2], ARGV[3], ARGV[4], 'COUNT', ARGV[5], 'JUSTID')
-- Without them only the reasons are missing.
local function tries(id)
    local text = redis.pcall('HGET', KEYS[2], id)
    return type(text) == 'string' and text or false
end
local found = {}
for _, id in ipairs(claimed[2]) do
    local pending = redis.call('XPENDING', KEYS[1], ARGV[1], id, id, 1)
    local entry = redis.call('XRANGE', KEYS[1], id, id)
    if pending[1] and entry[1] then
        found[#found + 1] = {id, pending[1][4], entry[1][2], tries(id)}
    end
end
return {claimed[1], found, claimed[3]}
