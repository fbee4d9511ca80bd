-- Trims a stream if it ends where we think it does, else does nothing.
-- KEYS stream; ARGV top, lowest number that stays
local info = redis.call('XINFO', 'STREAM', KEYS[1])
for at = 1, #info, 2 do
    if info[at] == 'last-generated-id' and info[at + 1] ~= ARGV[1] then
        return 0
    end
end
redis.call('XTRIM', KEYS[1], 'MINID', ARGV[2])
return 1
