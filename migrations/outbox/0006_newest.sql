-- The newest number that anyone has taken, 0 if nobody has.
--
-- A sequence can be read as a table, but not believed: once every 33 numbers nextval() shows for a moment, while it writes its
-- log, a number 32 further on than any that was taken, and a scan does not wait for that moment to end. A frontier that believed
-- it would call numbers final that are yet to come, and so lose events. The function reads under the page's lock, and waits.
--
-- It is null for a sequence that is fresh, and since Postgres 17 also for one that we may not read: that is to be an error.
create function outbox_newest() returns bigint
language sql volatile
begin atomic
    select coalesce(pg_sequence_last_value('outbox_seq_seq'::regclass), (select 0 from outbox_seq_seq));
end;

create or replace function outbox_mark(out last bigint, out writers text[])
language plpgsql volatile set search_path from current as $$
begin
    last := outbox_newest();
    select coalesce(array_agg(distinct virtualtransaction), '{}') into writers
      from pg_locks
     where locktype = 'relation' and relation = 'outbox'::regclass and mode = 'RowExclusiveLock' and granted
       and database = (select oid from pg_database where datname = current_database())
       and pid is distinct from pg_backend_pid();
end
$$;

create or replace function outbox_begin_anew() returns trigger
language plpgsql set search_path from current as $$
begin
    if outbox_newest() < (select greatest(r.frontier, (select max(sent_seq) from outbox_stream)) from outbox_relay r) then
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
