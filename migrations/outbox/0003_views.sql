-- Views for people and dashboards that speak SQL. Each answers one question, and none reads the whole table to do it.
--
-- Two habits keep it so, whatever the statistics say. `offset 0` keeps a lateral query from being flattened into a join
-- that reads everything. And a lower bound never stands without an upper one, be it the highest number there is: the
-- planner takes half a range for a third of the table, and a whole one for next to nothing.
--
-- Times are told to the millisecond.

-- Every event, and whether it was published: `select count(*) from outbox_events where published_at is null`.
-- The first branch takes published_at straight from an indexed, never-null column of the receipts, so that
-- `published_at is null` finds it empty without touching a single sent row.
create view outbox_events as
    -- sent: covered by a receipt, not held, not among the overtaken. What is not held is not dead, said by constants, so
    -- that a question for dead letters skips this branch
    select o.seq as id, o.stream, o.type, o.key, o.id as uniq, o.ver, o.payload as payload_json, o.headers,
           o.created_at, b.published_at, o.attempts as retries, o.last_error,
           null::timestamptz as due_at, null::timestamptz as dead_at
      from outbox_receipt b
      join outbox o on o.stream = b.stream and o.seq between b.first_seq and b.last_seq
     where o.due_at is null
       and not exists (select from outbox_overtaken g where g.missing @> o.seq)
    union all
    -- waiting for the relay
    select o.seq, o.stream, o.type, o.key, o.id, o.ver, o.payload, o.headers,
           o.created_at, null, o.attempts, o.last_error, null, null
      from outbox_stream_names n
      left join outbox_stream s on s.stream = n.stream
     cross join lateral (
           select * from outbox o
            where o.stream = n.stream and o.seq > coalesce(s.sent_seq, 0) and o.seq <= 9223372036854775807
              and o.due_at is null
           offset 0
           ) o
    union all
    -- held: scheduled, or dead
    select o.seq, o.stream, o.type, o.key, o.id, o.ver, o.payload, o.headers,
           o.created_at, null, o.attempts, o.last_error, o.due_at, o.dead_at
      from outbox o
     where o.due_at is not null
    union all
    -- overtaken (by several relays perhaps, hence range_agg): committed late, below what was sent; soon decided
    select o.seq, o.stream, o.type, o.key, o.id, o.ver, o.payload, o.headers,
           o.created_at, null, o.attempts, o.last_error, null, null
      from (select range_agg(missing) as missing from outbox_overtaken) g
     cross join lateral (
           select * from unnest(g.missing) as r(gap) where lower(r.gap) between 1 and 9223372036854775807
           ) r
     cross join outbox_stream s
     cross join lateral (
           select * from outbox o
            where o.stream = s.stream and o.seq >= lower(r.gap) and o.seq < least(upper(r.gap), s.sent_seq + 1)
              and o.due_at is null
           offset 0
           ) o;

-- How much waits, for how long? One row a stream that has rows or was ever sent to.
create view outbox_backlog as
    select n.stream,
           (select count(*) from outbox o
             where o.stream = n.stream and o.seq > n.sent_seq and o.seq <= 9223372036854775807
               and o.due_at is null) as unsent,
           (select date_trunc('milliseconds', clock_timestamp() - o.created_at) from outbox o
             where o.stream = n.stream and o.seq > n.sent_seq and o.seq <= 9223372036854775807
               and o.due_at is null
             order by o.seq limit 1) as oldest_age,
           coalesce(h.held, 0) as held,
           coalesce(h.dead, 0) as dead,
           n.sent_seq,
           n.sent_at
      from (select coalesce(n.stream, s.stream) as stream, coalesce(s.sent_seq, 0) as sent_seq, s.sent_at
              from outbox_stream_names n full join outbox_stream s on s.stream = n.stream) n
      left join (select stream, count(*) filter (where dead_at is null) as held,
                        count(*) filter (where dead_at is not null) as dead
                   from outbox where due_at is not null group by stream) h on h.stream = n.stream;

-- Which events could not leave, and why? Refused at least once and not sent since, or due and still here a minute later.
create view outbox_stuck as
    select o.stream, o.seq, o.id, o.type, o.key, o.attempts, o.last_error, o.created_at, o.due_at, o.dead_at
      from outbox o
      left join outbox_stream s on s.stream = o.stream
     where o.attempts > 0 and (o.due_at is not null or o.seq > coalesce(s.sent_seq, 0))
    union all
    select o.stream, o.seq, o.id, o.type, o.key, o.attempts, o.last_error, o.created_at, o.due_at, o.dead_at
      from outbox o
     where o.attempts = 0 and o.due_at < now() - interval '1 minute';

-- How many events left, minute by minute, over the last hour?
create view outbox_throughput as
    select stream, date_trunc('minute', published_at) as minute, sum(entries)::bigint as events, count(*) as batches
      from outbox_receipt
     where published_at > now() - interval '1 hour'
     group by stream, date_trunc('minute', published_at);
