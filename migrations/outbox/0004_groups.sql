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

-- Which partition of a stream a key goes to. The library's `partition` says the same.
create function outbox_partition(topic text, partitions integer, key text) returns text
language sql immutable parallel safe
begin atomic
    select topic || ':{' || ('x' || encode(substring(sha256(convert_to(key, 'UTF8')) from 1 for 4), 'hex'))::bit(32)::bigint
                            % partitions || '}';
end;

-- Takes a scheduled event back. False: there is none with this id, or it is no longer waiting for its time. The library's
-- `cancel` does the same.
create function outbox_cancel(id text) returns boolean
language sql volatile
begin atomic
    with gone as (
        delete from outbox o where o.id = outbox_cancel.id and o.due_at is not null and o.dead_at is null
        returning 1
    )
    select exists (select from gone);
end;

-- How far behind is each group? Counted from the rows, since Redis's own lag is 0 or null just when entries were trimmed or
-- deleted. An entry lags until the group has settled it, or set it aside: then it is counted as dead.
create view outbox_lag as
    select g.stream, g.name as group_name,
           (select count(*) from outbox o
             where o.stream = g.stream and o.seq > g.delivered_seq and o.seq <= s.sent_seq and o.due_at is null)
           + g.pending as lag,
           (select date_trunc('milliseconds', clock_timestamp() - o.created_at) from outbox o
             where o.stream = g.stream and o.seq > g.settled_seq and o.seq <= s.sent_seq and o.due_at is null
             order by o.seq limit 1) as oldest_age,
           g.pending, coalesce(d.dead, 0) as dead, g.consumers, g.settled_seq, g.delivered_seq, s.sent_seq, g.seen_at
      from outbox_group g
      join outbox_stream s on s.stream = g.stream
      left join (select stream, group_name, count(*) as dead from outbox_dead_letter
                  where replayed_at is null and dropped_at is null
                  group by stream, group_name) d on d.stream = g.stream and d.group_name = g.name;

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
           buried as messages_dead_lettered, round(handling_mean_us / 1000.0, 3) as avg_processing_time_ms,
           round(handling_p99_us / 1000.0, 3) as p99_processing_time_ms, last_active_at, seen_at
      from outbox_consumer;

-- How does each group do? Counts over the life of its consumers; of a group whose consumers do not say, none. A lane for
-- replays is its group's, and no group of its own.
create view stream_processing_metrics as
    select stream as stream_name, group_name as consumer_group, coalesce(l.consumers, 0) as consumers,
           coalesce(c.processed, 0) as messages_processed, coalesce(c.failed, 0) as messages_failed,
           coalesce(c.buried, 0) as messages_dead_lettered,
           round(c.handling_us / nullif(c.processed, 0) / 1000.0, 3) as avg_processing_time_ms,
           round(c.handling_p99_us / 1000.0, 3) as p99_processing_time_ms, c.last_active_at, l.lag
      from (select * from outbox_lag where right(stream, length(group_name) + 8) <> ':' || group_name || ':replay') l
      full join (select stream, group_name, sum(processed)::bigint as processed, sum(failed)::bigint as failed,
                        sum(buried)::bigint as buried, sum(processed * handling_mean_us) as handling_us,
                        max(handling_p99_us) as handling_p99_us, max(last_active_at) as last_active_at
                   from outbox_consumer group by stream, group_name) c using (stream, group_name);
