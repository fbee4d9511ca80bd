-- Least rights, as group roles: run this once, after `relay migrate`, as who owns the tables, in the database of the outbox and with
-- its schema first in search_path. Then make users of your own and grant them what they are:
--
--     create user relay_1 password '...';
--     grant outbox_relay to relay_1;
--
-- A test takes each of these rights away, and sees what breaks (tests/tests/least_rights.rs).

create role outbox_producer nologin;   -- writes events, and nothing else
create role outbox_relay    nologin;   -- relay run
create role outbox_operator nologin;   -- replays and drops dead letters, pauses, publishes over HTTP; may be granted to the relay's user
create role outbox_reader   nologin;   -- looks: relay status, groups, trace, dead list and show, verify; the views

do $$
begin
    execute format('grant usage on schema %I to outbox_producer, outbox_relay, outbox_operator, outbox_reader', current_schema());
end
$$;

-- producers
grant select, insert on outbox to outbox_producer;

-- the relay
grant select, update, delete         on outbox              to outbox_relay;
grant select                         on outbox_schema       to outbox_relay;
grant select                         on outbox_stream_names to outbox_relay;
grant select                         on outbox_seq_seq      to outbox_relay;
grant update                         on outbox_doorbell     to outbox_relay;
grant select, insert, update         on outbox_stream       to outbox_relay;
grant select, insert, update, delete on outbox_receipt      to outbox_relay;
grant select, insert, update, delete on outbox_group        to outbox_relay;
grant select, insert, update, delete on outbox_overtaken    to outbox_relay;
grant select, insert, update, delete on outbox_consumer     to outbox_relay;
grant select, insert, delete         on outbox_dead_letter  to outbox_relay;
grant select, update                 on outbox_relay        to outbox_relay;

-- operators. Beside the relay's rights, what its HTTP surface needs is `insert` on outbox and `update` on outbox_dead_letter.
grant select, insert, update, delete on outbox             to outbox_operator;
grant select, update                 on outbox_dead_letter to outbox_operator;
grant select, insert, update         on outbox_stream      to outbox_operator;
grant select, update                 on outbox_relay       to outbox_operator;
grant select                         on outbox_schema      to outbox_operator;

-- who looks
grant select on outbox, outbox_schema, outbox_stream, outbox_stream_names, outbox_receipt, outbox_group, outbox_overtaken, outbox_relay,
                outbox_dead_letter, outbox_consumer, outbox_seq_seq to outbox_reader;
grant select on outbox_events, outbox_backlog, outbox_stuck, outbox_throughput, outbox_lag, outbox_dead_letters,
                stream_consumer_stats, stream_processing_metrics to outbox_reader;

-- Of the sessions of others, `relay blockers` and the surface see no more than the pid, unless:
--     grant pg_read_all_stats to ...;
