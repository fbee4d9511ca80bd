#!/bin/sh
# Starts Redis with the users of docs/rights/redis.acl. Their passwords are those of the URLs in the secrets; Redis is given
# hashes of them. More arguments go to redis-server.
set -eu
secrets=${SECRETS:-/run/secrets}
rights=${RIGHTS:-/etc/outbox/redis.acl}
users=${USERS:-/tmp/users.acl}

fail() {
    echo "start.sh: $*" >&2
    exit 64
}

# The line of a user, with the hash of its password.
user() {
    [ -r "$secrets/$1_redis_url" ] || fail "$secrets/$1_redis_url cannot be read"
    password=$(sed -n 's|^redis*://[^:/@]*:\([A-Za-z0-9._~-]*\)@.*|\1|p' "$secrets/$1_redis_url")
    [ -n "$password" ] || fail "$secrets/$1_redis_url holds no URL with a password of letters, digits and . _ ~ - alone"
    hash=$(printf %s "$password" | sha256sum | cut -d ' ' -f 1)
    sed -n "s/^user $1 \(.*\)#HASH_OF_A_PASSWORD/user $1 \1#$hash/p" "$rights"
}

umask 077
{
    echo "user default off resetkeys resetchannels -@all"
    user relay
    user consumer
    # Health checks and the exporter of metrics: it sees figures and no data.
    echo "user watcher on nopass resetkeys resetchannels -@all +info +ping"
} >"$users"
[ "$(wc -l <"$users")" -eq 4 ] || fail "$rights does not have the users relay and consumer"

# everysec: what a crash of the machine takes from the log the relay sends again, under the same numbers.
# noeviction: full means that publishing pauses. Anything else throws whole streams away.
exec redis-server --aclfile "$users" --appendonly yes --appendfsync everysec --no-appendfsync-on-rewrite no --save '' \
    --maxmemory-policy noeviction "$@"
