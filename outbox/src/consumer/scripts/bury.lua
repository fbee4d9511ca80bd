-- Sets an entry aside, if it is still ours: into the dead letters and off the pending list, both or neither. The letter
-- comes first: when memory is short it is refused before anything has happened.
-- Of an entry with more than a thousand fields, which no producer of ours writes, the first thousand are kept.
-- KEYS stream, dead, tries; ARGV group, me, number, then the letter's own fields
local pending = redis.call('XPENDING', KEYS[1], ARGV[1], ARGV[3], ARGV[3], 1)
if not pending[1] or pending[1][2] ~= ARGV[2] then
    return 0
end
local letter = {}
for at = 4, #ARGV do
    letter[#letter + 1] = ARGV[at]
end
local entry = redis.call('XRANGE', KEYS[1], ARGV[3], ARGV[3])
if entry[1] then
    for at = 1, math.min(#entry[1][2], 2000) do
        letter[#letter + 1] = entry[1][2][at]
    end
end
redis.call('XADD', KEYS[2], '*', unpack(letter))
redis.call('XACK', KEYS[1], ARGV[1], ARGV[3])
redis.pcall('HDEL', KEYS[3], ARGV[3])
return 1
