-- Renews what is still ours; answers what is not, and what was deleted from the stream: claiming such an entry takes it off
-- the pending list, so this is the last that Redis knows of it.
-- KEYS stream; ARGV group, me, numbers
local lost, deleted = {}, {}
for at = 3, #ARGV do
    local pending = redis.call('XPENDING', KEYS[1], ARGV[1], ARGV[at], ARGV[at], 1)
    if not pending[1] or pending[1][2] ~= ARGV[2] then
        lost[#lost + 1] = ARGV[at]
    elseif #redis.call('XCLAIM', KEYS[1], ARGV[1], ARGV[2], 0, ARGV[at], 'JUSTID') == 0 then
        deleted[#deleted + 1] = ARGV[at]
    end
end
return {lost, deleted}
