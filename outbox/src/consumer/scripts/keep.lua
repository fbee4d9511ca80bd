-- Renews what is still ours; answers what is not.
-- KEYS stream; ARGV group, me, numbers
local lost = {}
for at = 3, #ARGV do
    local pending = redis.call('XPENDING', KEYS[1], ARGV[1], ARGV[at], ARGV[at], 1)
    if pending[1] and pending[1][2] == ARGV[2] then
        redis.call('XCLAIM', KEYS[1], ARGV[1], ARGV[2], 0, ARGV[at], 'JUSTID')
    else
        lost[#lost + 1] = ARGV[at]
    end
end
return lost
