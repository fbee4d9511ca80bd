-- What is pending for this consumer, from a number on. An entry that is no longer in its stream is let go.
-- KEYS stream, tries; ARGV group, me, from, count
local mine = redis.call('XPENDING', KEYS[1], ARGV[1], ARGV[3], '+', ARGV[4], ARGV[2])
-- Without them only the reasons are missing.
local function tries(id)
    local text = redis.pcall('HGET', KEYS[2], id)
    return type(text) == 'string' and text or false
end
local found, lost = {}, {}
for _, pending in ipairs(mine) do
    local entry = redis.call('XRANGE', KEYS[1], pending[1], pending[1])
    if entry[1] then
        found[#found + 1] = {pending[1], pending[4], entry[1][2], tries(pending[1])}
    else
        redis.call('XACK', KEYS[1], ARGV[1], pending[1])
        lost[#lost + 1] = pending[1]
    end
end
local last = mine[#mine]
return {last and last[1] or '', found, lost}
