-- Appends entries if every stream ends where we think it does, else does nothing.
-- KEYS streams; ARGV a top for each, then for each entry: which stream, number, count of fields and values, these
for nth, stream in ipairs(KEYS) do
    local info = redis.call('XINFO', 'STREAM', stream)
    for at = 1, #info, 2 do
        if info[at] == 'last-generated-id' and info[at + 1] ~= ARGV[nth] then
            return 0
        end
    end
end
local at = #KEYS + 1
while at <= #ARGV do
    local first, count = at + 3, tonumber(ARGV[at + 2])
    redis.call('XADD', KEYS[tonumber(ARGV[at])], 'NOMKSTREAM', ARGV[at + 1], unpack(ARGV, first, first + count - 1))
    at = first + count
end
return 1
