-- What the relay keeps for itself and for people. Nothing here is written per event.

-- One row a stream: how far its lane has come, as of the last report. Redis itself is the cursor; this is for the
-- views, for retention, and for noticing that Redis lost something.
create table outbox_stream (
    stream     text collate "C" primary key,
    generation bigint      not null default 1,   -- the first half of every entry id: 1-42
    sent_seq   bigint      not null default 0,
    sent_at    timestamptz,
    pruned_seq bigint      not null default 0,   -- retention has deleted up to here

    constraint outbox_stream_generation check (generation >= 1),
    constraint outbox_stream_pruned     check (pruned_seq <= sent_seq)
);

-- Receipts, a few a second: these numbers of this stream were in Redis at that time. They join without gaps, so every
-- row up to sent_seq lies in one of them.
create table outbox_receipt (
    stream       text collate "C" not null references outbox_stream on delete cascade,
    first_seq    bigint           not null,
    last_seq     bigint           not null,
    entries      bigint           not null,
    published_at timestamptz      not null,

    primary key (stream, last_seq),
    constraint outbox_receipt_order check (first_seq <= last_seq)
);
create index outbox_receipt_published on outbox_receipt (published_at);

-- Consumer groups and the positions they had reached: where they go on after Redis was lost.
create table outbox_group (
    stream        text collate "C" not null references outbox_stream on delete cascade,
    name          text collate "C" not null,
    delivered_seq bigint           not null,
    settled_seq   bigint           not null,     -- everything up to here is done: a rebuild starts above it
    pending       bigint           not null,
    consumers     bigint           not null,     -- that were heard of within a minute
    seen_at       timestamptz      not null,

    primary key (stream, name)
);

-- Numbers that were overtaken: taken by transactions that were still open when the relay went past them. Committed
-- before anything above them is sent. What appears among them later is never sent under its number: it gets a new one.
-- Rows are only added, until their writers have ended: one that grew would be written anew again and again.
create table outbox_overtaken (
    overtaken bigint         generated always as identity primary key,
    lowest    bigint         not null,
    highest   bigint         not null,
    missing   int8multirange not null,
    writers   text[] collate "C" not null,     -- virtual transaction ids
    at        timestamptz    not null default clock_timestamp()
);
create index outbox_overtaken_highest on outbox_overtaken (highest);

-- One row: which relay works (the others rest; they would be safe, only useless) and how far the past is final.
create table outbox_relay (
    one         boolean     primary key default true check (one),
    holder      text,
    lease_until timestamptz,
    frontier    bigint      not null default 0
);
insert into outbox_relay default values;

-- The frontier's two readings, in this order: the newest number taken, THEN who is writing. Whoever took a number up
-- to `last` held the table's lock before, so it is among `writers` or has ended. Locks of other databases are left out:
-- table oids are unique in one database only.
create function outbox_mark(out last bigint, out writers text[])
language plpgsql volatile set search_path from current as $$
begin
    select case when is_called then last_value else 0 end into last from outbox_seq_seq;
    select coalesce(array_agg(distinct virtualtransaction), '{}') into writers
      from pg_locks
     where locktype = 'relation' and relation = 'outbox'::regclass and mode = 'RowExclusiveLock' and granted
       and database = (select oid from pg_database where datname = current_database())
       and pid is distinct from pg_backend_pid();
end
$$;

-- Releases held rows: each gets a new number and takes its place at the end, in the order given. Returns how many. One
-- that somebody else has locked (an open `cancel`) is passed over, so that nobody's transaction holds up the relay.
-- A loop, since an update from an ordered query promises no order of its own.
create function outbox_release(streams text[], seqs bigint[]) returns bigint
language plpgsql volatile set search_path from current as $$
declare
    released bigint := 0;
    held     record;
begin
    for held in select stream, seq from unnest(streams, seqs) with ordinality as h(stream, seq, nth) order by nth loop
        perform from outbox o
          where o.stream = held.stream and o.seq = held.seq and o.dead_at is null
            for update skip locked;
        if found then
            update outbox o set seq = default, due_at = null where o.stream = held.stream and o.seq = held.seq;
            released := released + 1;
        end if;
    end loop;
    return released;
end
$$;

-- Every stream that has rows, newest names first, at one index probe a stream instead of a scan. It walks downwards
-- because the end of a stream is never a heap of freshly deleted rows.
create view outbox_stream_names as
    with recursive name (stream) as (
        (select stream from outbox order by stream desc, seq desc limit 1)
        union all
        select (select o.stream from outbox o where o.stream < name.stream order by o.stream desc, o.seq desc limit 1)
          from name
         where name.stream is not null
    )
    select stream from name where stream is not null;
