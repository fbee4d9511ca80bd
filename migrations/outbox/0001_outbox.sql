-- The table that producers write, inside their own transaction.
--
-- A row's seq is the number its entry bears in Redis (row 42 is entry 1-42). So numbers are taken from one sequence,
-- one at a time, and only after the table's lock is held: "always" and "cache 1" are not decoration.
-- Text that is compared is collated "C": faster, and an upgrade of the system's collations cannot spoil the indexes.

-- Limits are domains, not checks of the table: Postgres compiles a table's checks anew for every statement, 20 microseconds
-- an insert; a domain's it keeps.
create domain outbox_stream_name as text collate "C" constraint outbox_stream_length check (octet_length(value) between 1 and 200)
                                                         constraint outbox_stream_no_notice check (value not like '%:dead');
create domain outbox_event_id    as text collate "C" constraint outbox_id_length     check (octet_length(value) between 1 and 200);
create domain outbox_event_type  as text             constraint outbox_type_length   check (octet_length(value) between 1 and 200);
create domain outbox_event_key   as text             constraint outbox_key_length    check (octet_length(value) between 1 and 1000);
create domain outbox_payload_ver as integer          constraint outbox_ver_positive  check (value >= 1);
create domain outbox_headers     as jsonb            constraint outbox_headers_flat  check (jsonb_typeof(value) = 'object');
create domain outbox_attempts    as integer          constraint outbox_attempts      check (value >= 0);
create domain outbox_time        as timestamptz      constraint outbox_times_finite  check (isfinite(value));
create domain outbox_due         as timestamptz      constraint outbox_times_finite  check (value > '-infinity');

create table outbox (
    stream     outbox_stream_name not null,
    seq        bigint             generated always as identity (cache 1),
    id         outbox_event_id    not null,
    type       outbox_event_type  not null,
    key        outbox_event_key,
    ver        outbox_payload_ver not null default 1,
    payload    json               not null,    -- json, not jsonb: its bytes are kept exactly as the producer wrote them
    headers    outbox_headers     not null default '{}',
    created_at outbox_time        not null default clock_timestamp(),
    due_at     outbox_due,                     -- set: the row is held until then; infinity: it is dead
    attempts   outbox_attempts    not null default 0,
    last_error text,
    dead_at    timestamptz,

    primary key (stream, seq),
    constraint outbox_id_taken     unique (id),
    constraint outbox_dead_is_held check ((dead_at is not null) = (due_at is not distinct from 'infinity')),
    constraint outbox_dead_has_why check (dead_at is null or last_error is not null)
);

comment on table outbox is
    'Events on their way to Redis Streams. Insert inside your own transaction; a relay sends what is committed.';

-- What waits (few rows) and what was tried at least once (fewer) are found without reading the rest.
create index outbox_held  on outbox (due_at)      where due_at is not null;
create index outbox_tried on outbox (stream, seq) where attempts > 0;

-- An id for producers that give none: a UUIDv7, which rises with time and so is cheap to index.
create function outbox_new_id() returns text
language sql volatile parallel safe
begin atomic
    -- 48 bits of milliseconds over a random UUID; setting two bits turns its version 4 into a 7
    select encode(set_bit(set_bit(overlay(
               uuid_send(gen_random_uuid())
               placing substring(int8send((extract(epoch from clock_timestamp()) * 1000)::bigint) from 3)
               from 1 for 6), 52, 1), 53, 1), 'hex')::uuid::text;
end;

-- Whether a name fits its domain. What the domain would say by the name of a constraint, this says in a sentence.
create function outbox_fits(part text, name text, bytes_max integer) returns boolean
language plpgsql immutable as $$
begin
    if octet_length(name) not between 1 and bytes_max then
        raise exception using errcode = 'check_violation', constraint = format('outbox_%s_length', part),
              message = format('an event''s %s must have 1 to %s bytes', part, bytes_max);
    end if;
    return true;
end
$$;

-- For producers in any language: returns the new row's seq, or null when that id is already there.
-- The cast to jsonb refuses what json lets through and no reader can parse: \u0000 and half surrogate pairs.
create function outbox_enqueue(
    stream text, type text, payload json,
    key text default null, id text default null, headers jsonb default '{}',
    due_at timestamptz default null, ver integer default 1
) returns bigint
language sql volatile
begin atomic
    insert into outbox as o (stream, type, payload, key, id, headers, due_at, ver)
    select outbox_enqueue.stream, outbox_enqueue.type, outbox_enqueue.payload, outbox_enqueue.key,
           coalesce(outbox_enqueue.id, outbox_new_id()), coalesce(outbox_enqueue.headers, '{}'),
           outbox_enqueue.due_at, coalesce(outbox_enqueue.ver, 1)
     where outbox_fits('stream', outbox_enqueue.stream, 200) and outbox_fits('type', outbox_enqueue.type, 200)
       and outbox_fits('key', outbox_enqueue.key, 1000) and outbox_fits('id', outbox_enqueue.id, 200)
       and (outbox_enqueue.payload is null or outbox_enqueue.payload::jsonb is not null)
    on conflict (id) do nothing
    returning o.seq;
end;

comment on function outbox_enqueue is
    'Puts one event into the outbox. Returns its seq, or null when an event with that id is already there.';

-- The doorbell. NOTIFY takes a lock that is global to the cluster, so it must be rare: an insert rings only while a
-- relay sleeps. The sequence holds the second (Unix time) until which one sleeps. It is a sequence because every
-- transaction sees its newest value, also under repeatable read; and it runs out by itself, so a relay that dies in
-- its sleep does not leave every producer ringing.
create sequence outbox_doorbell as bigint minvalue 0 start 0;

-- Producers may have the right to insert and nothing else; the number is no secret.
grant select on sequence outbox_doorbell to public;

create function outbox_ring() returns trigger
language plpgsql as $$
begin
    perform pg_notify('outbox', tg_table_schema);
    return null;
end
$$;

-- A transaction that rings cannot be prepared. Where transactions may be prepared nobody rings, and the relay looks by
-- itself (RELAY_SLEEP_POLL_INTERVAL).
create trigger outbox_ring
    after insert on outbox for each statement
    when (pg_sequence_last_value('outbox_doorbell'::regclass) > extract(epoch from clock_timestamp())
          and current_setting('max_prepared_transactions') = '0')
    execute function outbox_ring();
