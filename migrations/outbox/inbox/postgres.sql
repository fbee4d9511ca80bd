-- What a group's handlers have done already, in the database in which they do it. Made by inbox::migrate, once or many times.
--
-- An event is seen by its id. Rows are forgotten by position: everything up to the floor is settled, and counts as seen.

create table if not exists inbox_seen (
    consumer_group text collate "C" not null,
    event_id       text collate "C" not null,
    lane           text collate "C" not null,     -- where it was read, and under which number
    generation     bigint not null,
    seq            bigint not null,
    origin_lane       text collate "C",           -- of an event that was replayed: where it was read first, for it may come
    origin_generation bigint,                     -- from there once more
    origin_seq        bigint,

    primary key (consumer_group, event_id)
);
-- Altering a table and indexing it wait for whoever writes there, and all who write then wait behind: so it is looked first
-- whether there is anything to do. Columns are missing in a table from before there were replays.
do $$
begin
    if not exists (select from pg_indexes where schemaname = current_schema() and indexname = 'inbox_seen_origin') then
        alter table inbox_seen
            add column if not exists origin_lane text collate "C",
            add column if not exists origin_generation bigint,
            add column if not exists origin_seq bigint;
        create index if not exists inbox_seen_position on inbox_seen (consumer_group, lane, generation, seq);
        create index inbox_seen_origin on inbox_seen (consumer_group, origin_lane) where origin_lane is not null;
    end if;
end
$$;

create table if not exists inbox_floor (
    consumer_group text collate "C" not null,
    lane           text collate "C" not null,
    generation     bigint not null,
    seq            bigint not null,

    primary key (consumer_group, lane)
);

-- What a group knows of each page: its newest version, and the hash of what it says.
create table if not exists inbox_content (
    consumer_group text collate "C" not null,
    source_url     text collate "C" not null,
    content_hash   text collate "C" not null,
    version        bigint not null,

    primary key (consumer_group, source_url)
);

-- Of these events, those that are seen for the first time. The floor is read by a statement of its own, after the rows are
-- written: an insert that had to wait for whoever forgets old rows must see how far they were forgotten. Where a
-- transaction sees nothing but its own snapshot (repeatable read, serializable), the lock makes it fail instead. In the
-- order of their ids, so that two batches that share events wait for each other and do not block each other.
create or replace function inbox_first_sight(
    consumer_group text, lane text, event_ids text[], generations bigint[], seqs bigint[],
    origin_lane text, origin_generations bigint[], origin_seqs bigint[]
) returns setof text
language plpgsql volatile as $$
#variable_conflict use_variable
declare
    new_ids text[];
    new_generations bigint[];
    new_seqs bigint[];
    floor_generation bigint;
    floor_seq bigint;
begin
    if current_setting('transaction_isolation') <> 'read committed' then
        -- There must be a floor to lock; one that was made since our snapshot makes us fail here.
        insert into inbox_floor values (consumer_group, lane, 0, 0) on conflict do nothing;
    end if;
    with written as (
        insert into inbox_seen as s
               (consumer_group, event_id, lane, generation, seq, origin_lane, origin_generation, origin_seq)
        select consumer_group, e.event_id, lane, e.generation, e.seq,
               case when e.origin_seq is not null then origin_lane end, e.origin_generation, e.origin_seq
          from unnest(event_ids, generations, seqs, origin_generations, origin_seqs)
               as e (event_id, generation, seq, origin_generation, origin_seq)
         order by e.event_id collate "C"
        on conflict do nothing
        returning s.event_id, s.generation, s.seq
    )
    select array_agg(w.event_id), array_agg(w.generation), array_agg(w.seq)
      into new_ids, new_generations, new_seqs from written w;
    if current_setting('transaction_isolation') = 'read committed' then
        select f.generation, f.seq into floor_generation, floor_seq
          from inbox_floor f where f.consumer_group = inbox_first_sight.consumer_group and f.lane = inbox_first_sight.lane;
    else
        select f.generation, f.seq into floor_generation, floor_seq
          from inbox_floor f where f.consumer_group = inbox_first_sight.consumer_group and f.lane = inbox_first_sight.lane
           for share;
    end if;
    return query
        select n.event_id from unnest(new_ids, new_generations, new_seqs) as n (event_id, generation, seq)
         where floor_generation is null or (n.generation, n.seq) > (floor_generation, floor_seq);
end
$$;

-- Everything up to this position is settled. Returns how many rows were forgotten.
create or replace function inbox_prune(consumer_group text, lane text, generation bigint, seq bigint) returns bigint
language plpgsql volatile as $$
#variable_conflict use_variable
declare
    forgotten bigint;
    also      bigint;
begin
    insert into inbox_floor as f (consumer_group, lane, generation, seq) values (consumer_group, lane, generation, seq)
    on conflict on constraint inbox_floor_pkey do update set generation = excluded.generation, seq = excluded.seq
     where (f.generation, f.seq) < (excluded.generation, excluded.seq);
    -- What was replayed must be settled in both places.
    delete from inbox_seen s
     where s.consumer_group = inbox_prune.consumer_group and s.lane = inbox_prune.lane
       and (s.generation, s.seq) <= (inbox_prune.generation, inbox_prune.seq)
       and (s.origin_lane is null
            or exists (select from inbox_floor f
                        where f.consumer_group = s.consumer_group and f.lane = s.origin_lane
                          and (f.generation, f.seq) >= (s.origin_generation, s.origin_seq)));
    get diagnostics forgotten = row_count;
    delete from inbox_seen s
     where s.consumer_group = inbox_prune.consumer_group and s.origin_lane = inbox_prune.lane
       and (s.origin_generation, s.origin_seq) <= (inbox_prune.generation, inbox_prune.seq)
       and exists (select from inbox_floor f
                    where f.consumer_group = s.consumer_group and f.lane = s.lane
                      and (f.generation, f.seq) >= (s.generation, s.seq));
    get diagnostics also = row_count;
    return forgotten + also;
end
$$;

-- What a version of a page is to a group: new, changed, same, or older than what it knows. The newest is remembered.
create or replace function inbox_content(consumer_group text, source_url text, content_hash text, version bigint) returns text
language plpgsql volatile as $$
#variable_conflict use_variable
declare
    known record;
begin
    insert into inbox_content as c (consumer_group, source_url, content_hash, version)
    values (consumer_group, source_url, content_hash, version)
    on conflict on constraint inbox_content_pkey do nothing;
    if found then
        return 'new';
    end if;
    select c.content_hash, c.version into known from inbox_content c
     where c.consumer_group = inbox_content.consumer_group and c.source_url = inbox_content.source_url
       for update;
    if version < known.version or (version = known.version and content_hash <> known.content_hash) then
        return 'older';
    end if;
    if version > known.version then
        update inbox_content c set content_hash = inbox_content.content_hash, version = inbox_content.version
         where c.consumer_group = inbox_content.consumer_group and c.source_url = inbox_content.source_url;
    end if;
    return case when content_hash = known.content_hash then 'same' else 'changed' end;
end
$$;
