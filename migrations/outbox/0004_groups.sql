-- What happens to events after Redis has them: what groups set aside, what consumers do, and how far behind they are.

-- What belongs to a stream in Redis has names of its own.
alter domain outbox_stream_name add constraint outbox_stream_no_position check (value not like '%:settled') not valid;

-- Dead letters of groups: events that a group's handler could not make take effect. Those that could not even be sent lie
-- in the outbox itself. A row stays for a while after it was replayed or dropped: a Redis that comes back as it was before
-- may bring the letter again.
create table outbox_dead_letter (
    no              bigint           generated always as identity primary key,
    stream          text collate "C" not null,
    group_name      text collate "C" not null,
    lane            text collate "C" not null,     -- where it was read: the stream, or the group's lane for replays
    entry           text             not null,     -- under which number
    origin          text             not null default '',  -- its number in the stream, if it was replayed since
    id              text collate "C",              -- null: it is no event, and what it is stands in fields
    type            text,
    key             text,
    ver             integer,
    time            timestamptz,
    payload         text,                          -- text: what is no JSON may be why it lies here
    headers         jsonb,
    fields          jsonb            not null,     -- the entry as it was: names and values
    replayable      boolean          not null,
    attempts        integer          not null,
    reason          text             not null,
    failures        jsonb            not null default '[]',  -- of each attempt: at, consumer, error
    first_failed_at timestamptz,
    last_failed_at  timestamptz,
    consumer        text             not null default '',
    handler         text             not null default '',    -- its version
    replays         integer          not null default 0,     -- how often it was replayed before
    buried_at       timestamptz      not null default clock_timestamp(),
    replayed_at     timestamptz,
    dropped_at      timestamptz
);
-- With the id, since numbers may begin again.
create unique index outbox_dead_letter_once on outbox_dead_letter (lane, group_name, entry, coalesce(id, ''));
create index outbox_dead_letter_waiting on outbox_dead_letter (buried_at)
    where replayed_at is null and dropped_at is null;
create index outbox_dead_letter_id on outbox_dead_letter (id);

-- What each consumer has done since it started, as of its last word.
create table outbox_consumer (
    stream           text collate "C" not null,
    group_name       text collate "C" not null,
    consumer         text collate "C" not null,
    processed        bigint           not null,
    failed           bigint           not null,
    retried          bigint           not null,
    buried           bigint           not null,
    lost             bigint           not null,
    handling_mean_us bigint           not null,
    handling_p99_us  bigint           not null,
    last_active_at   timestamptz,
    seen_at          timestamptz      not null default clock_timestamp(),

    primary key (stream, group_name, consumer)
);

-- `truncate outbox restart identity`: numbers begin again, and what was written down of the old ones says nothing of the new.
create function outbox_begin_anew() returns trigger
language plpgsql set search_path from current as $$
declare
    last bigint;
begin
    select case when is_called then last_value else 0 end into last from outbox_seq_seq;
    if last < (select greatest(r.frontier, (select max(sent_seq) from outbox_stream)) from outbox_relay r) then
        update outbox_relay set frontier = 0;
        delete from outbox_overtaken;
        delete from outbox_receipt;
        delete from outbox_group;
        -- Inboxes count what lies below a position of the old numbers as seen.
        update outbox_stream set sent_seq = 0, pruned_seq = 0, generation = generation + 1;
    end if;
    return null;
end
$$;
create trigger outbox_begin_anew after truncate on outbox for each statement execute function outbox_begin_anew();

-- Which partition of a topic a key goes to. The library's `partition` says the same.
create function outbox_partition(topic text, partitions integer, key text) returns text
language sql immutable parallel safe
begin atomic
    select topic || ':{' || ('x' || encode(substring(sha256(convert_to(key, 'UTF8')) from 1 for 4), 'hex'))::bit(32)::bigint
                            % partitions || '}';
end;

-- How far behind is each group? Counted from the rows, since Redis's own lag is 0 or null just when entries were trimmed or
-- deleted. An entry lags until the group has settled it.
create view outbox_lag as
    select g.stream, g.name as group_name,
           (select count(*) from outbox o
             where o.stream = g.stream and o.seq > g.delivered_seq and o.seq <= s.sent_seq and o.due_at is null)
           + g.pending as lag,
           (select clock_timestamp() - o.created_at from outbox o
             where o.stream = g.stream and o.seq > g.settled_seq and o.seq <= s.sent_seq and o.due_at is null
             order by o.seq limit 1) as oldest_age,
           g.pending, g.consumers, g.settled_seq, g.delivered_seq, s.sent_seq, g.seen_at
      from outbox_group g
      join outbox_stream s on s.stream = g.stream;

-- Which events lie aside, and why? Those of the relay have no group.
create view outbox_dead_letters as
    select o.stream, null::text as group_name, o.id, o.type, o.key, o.attempts, o.last_error as reason, o.dead_at as buried_at
      from outbox o
     where o.due_at = 'infinity'
    union all
    select stream, group_name, id, type, key, attempts, reason, buried_at
      from outbox_dead_letter
     where replayed_at is null and dropped_at is null;

-- How does each consumer do?
create view stream_consumer_stats as
    select stream as stream_name, group_name as consumer_group, consumer as consumer_name,
           processed as messages_processed, failed as messages_failed, retried as messages_retried,
           buried as messages_dead_lettered, handling_mean_us / 1000.0 as avg_processing_time_ms,
           handling_p99_us / 1000.0 as p99_processing_time_ms, last_active_at, seen_at
      from outbox_consumer;

-- How does each group do? Rates over the life of its consumers.
create view stream_processing_metrics as
    select c.stream as stream_name, c.group_name as consumer_group, count(*) as consumers,
           sum(c.processed)::bigint as messages_processed, sum(c.failed)::bigint as messages_failed,
           sum(c.buried)::bigint as messages_dead_lettered,
           sum(c.processed * c.handling_mean_us) / nullif(sum(c.processed), 0) / 1000.0 as avg_processing_time_ms,
           max(c.handling_p99_us) / 1000.0 as p99_processing_time_ms,
           max(c.last_active_at) as last_active_at, max(l.lag) as lag
      from outbox_consumer c
      left join outbox_lag l on l.stream = c.stream and l.group_name = c.group_name
     group by c.stream, c.group_name;
