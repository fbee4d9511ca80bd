-- The inbox in SQLite: the same tables as in Postgres, with the same meaning. One writer at a time needs no functions.

create table if not exists inbox_seen (
    consumer_group text    not null,
    event_id       text    not null,
    lane           text    not null,
    generation     integer not null,
    seq            integer not null,
    origin_lane       text,
    origin_generation integer,
    origin_seq        integer,

    primary key (consumer_group, event_id)
) without rowid;
create index if not exists inbox_seen_position on inbox_seen (consumer_group, lane, generation, seq);
create index if not exists inbox_seen_origin on inbox_seen (consumer_group, origin_lane) where origin_lane is not null;

create table if not exists inbox_floor (
    consumer_group text    not null,
    lane           text    not null,
    generation     integer not null,
    seq            integer not null,

    primary key (consumer_group, lane)
) without rowid;

create table if not exists inbox_content (
    consumer_group text    not null,
    source_url     text    not null,
    content_hash   text    not null,
    version        integer not null,

    primary key (consumer_group, source_url)
) without rowid;
