#!/bin/sh
# Makes the users that services connect as, each with the least rights it needs, or brings them to this version. It may be run
# as often as you like. Who is asked for by name needs a secret NAME_database_url, which holds the password.
#
#     users.sh relay            after `relay migrate`
#     users.sh fallah hasad     after their `migrate`
set -eu
secrets=${SECRETS:-/run/secrets}
rights=${RIGHTS:-/etc/outbox/rights.sql}

fail() {
    echo "users.sh: $*" >&2
    exit 64
}

# The password of a URL. Only what needs no escapes, in URLs and in SQL.
password_of() {
    [ -r "$1" ] || fail "$1 cannot be read"
    found=$(sed -n 's|^postgres[ql]*://[^:/@]*:\([A-Za-z0-9._~-]*\)@.*|\1|p' "$1")
    [ -n "$found" ] || fail "$1 holds no URL with a password of letters, digits and . _ ~ - alone"
    echo "$found"
}

owner=$secrets/owner_database_url
PGPASSWORD=$(password_of "$owner")
export PGPASSWORD
# Without the password, which a list of processes would show.
url=$(sed 's|://\([^:/@]*\):[^@]*@|://\1@|' "$owner")

roles() {
    sed -n 's/^create role \([a-z_]*\) .*/\1/p' "$rights"
}

make_role() {
    echo "select 'create role $1 nologin' where not exists (select from pg_roles where rolname = '$1') \\gexec"
}

# Everything in a schema of one service, and nothing else.
own_schema() {
    echo "grant usage on schema $1 to $1;"
    echo "grant select, insert, update, delete on all tables in schema $1 to $1;"
    echo "grant usage, select on all sequences in schema $1 to $1;"
}

user() {
    password=$(password_of "$secrets/$1_database_url")
    make_role "$1"
    echo "alter role $1 login password '$password';"
    case $1 in
        # It reads who blocks it, and its surface replays dead letters.
        relay) echo "grant outbox_relay, outbox_operator, outbox_reader, pg_read_all_stats to relay;" ;;
        fallah) echo "grant outbox_producer to fallah;" && own_schema fallah ;;
        hasad) own_schema hasad ;;
        *) fail "nobody knows what $1 may do" ;;
    esac
}

{
    echo "set client_min_messages = warning;"
    echo "select pg_advisory_xact_lock(hashtext('outbox users')) \\g /dev/null"
    for role in $(roles); do make_role "$role"; done
    sed '/^create role /d' "$rights"
    for name in "$@"; do user "$name"; done
} >"${TMPDIR:-/tmp}/users.sql.$$"
trap 'rm -f "${TMPDIR:-/tmp}/users.sql.$$"' EXIT
psql "$url" --quiet --no-psqlrc --single-transaction --set ON_ERROR_STOP=1 --file "${TMPDIR:-/tmp}/users.sql.$$"
echo "users are there: $*"
