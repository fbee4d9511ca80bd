-- What Fallah knows: what to fetch next, what it has found, and how each host wants to be treated.
--
-- All of it lies in the database of the outbox, since an item and its event are written in one transaction.

create schema fallah;

-- A site as the settings name it, and what was learned of it.
create table fallah.source (
    name            text primary key,
    halted_at       timestamptz,                    -- set: too much vanished at once, and a person has to look
    halted_reason   text,
    lastmod_true    bigint not null default 0,      -- a newer lastmod, and the content had changed
    lastmod_false   bigint not null default 0,      -- a newer lastmod, and it had not
    lastmod_at      timestamptz,                    -- when that was last found out
    check ((halted_at is null) = (halted_reason is null))
);

-- Scheme, name and port: what robots.txt and the rate are about.
create table fallah.host (
    origin          text primary key,
    source_name     text references fallah.source,              -- which named it first, and gives its turns
    next_at         timestamptz not null default clock_timestamp(), -- the next request may begin; who is new comes last
    busy_until      timestamptz,                                -- one is under way, or died
    leased_by       integer,                                    -- the run whose turn it is
    slot            bigint not null default 0,                  -- which one
    delay_us        bigint not null default 1000000,            -- from one request to the next, as it was kept last
    failures        integer not null default 0,                 -- in a row
    open_until      timestamptz,                                -- the circuit is open: leave it alone until then
    open_why        text,                                       -- for people
    robots          bytea,                                      -- the last good copy; empty: it said that it has none
    robots_holds    text check (robots_holds in ('rules', 'everything', 'nothing')),
    robots_until    timestamptz,                                -- then it is asked again
    robots_bad_since timestamptz                                -- it could not say since
);

-- Where addresses come from: sitemaps and feeds.
create table fallah.list (
    url             text primary key,
    source_name     text not null references fallah.source,
    origin          text not null references fallah.host,
    depth           integer not null default 0,     -- how many indexes stand above it
    due_at          timestamptz not null default '-infinity',
    ready           boolean not null default false,
    lease           bigint not null default 0,      -- rises with each reading: only the last one's result counts
    leased_by       integer,                        -- the run that reads it
    interval_s      integer not null,               -- short while it changes, longer and longer while it does not
    etag            text,
    last_modified   text,
    hash            text,
    settings        text,                           -- of its source when it was read: under others it is read anew
    lastmod         timestamptz,                    -- as its index says
    entries         integer,
    failures        integer not null default 0,
    read_at         timestamptz,
    note            text
);
-- Numbers of runs. Each holds an advisory lock of its number while it lives, so what a dead one had is free at once.
create sequence fallah.run as integer cycle;

create index host_leased on fallah.host (leased_by) where leased_by is not null;
create index host_named  on fallah.host (source_name);
create index list_leased on fallah.list (leased_by) where leased_by is not null;
create index list_named  on fallah.list (source_name);
create index list_due   on fallah.list (due_at) where not ready;
create index list_ready on fallah.list (origin, due_at) where ready;

-- The frontier: every address of a page that we know.
create table fallah.page (
    url             text primary key,
    source_name     text not null references fallah.source,
    origin          text not null references fallah.host,
    rank            smallint not null check (rank between 0 and 3), -- 3 news, 2 said to have changed, 1 looked at again, 0 old
    newest_at       timestamptz not null,           -- its own date or when it was found: newest first
    due_at          timestamptz,                    -- null: nothing to do
    ready           boolean not null default false,
    hops            smallint not null default 0,    -- how many redirects led to it
    lease           bigint not null default 0,      -- rises with each fetch: only the last one's result counts
    leased_by       integer,                        -- the run that fetches it
    lastmod         timestamptz,
    lastmod_asked   boolean not null default false, -- this fetch was made because of a newer lastmod
    discovered_at   timestamptz not null default clock_timestamp(),
    fetched_at      timestamptz,
    outcome         text,                           -- what became of the last fetch, for people
    etag            text,
    last_modified   text,
    settings        text,                           -- of its source when it was read: under others it is read anew
    raw_hash        text,
    failures        integer not null default 0,     -- in a row: answers that say nothing about the page
    missing         integer not null default 0,     -- in a row: 404
    missing_since   timestamptz,
    vanished_at     timestamptz,                    -- gone, as far as we can tell; the guard decides what follows
    vanished_reason text,
    moved_to        text,                           -- where it moved to, if that is how it vanished
    source_url      text                            -- the item that it shows
);
create index page_leased   on fallah.page (leased_by) where leased_by is not null;
create index page_due      on fallah.page (due_at) where not ready and due_at is not null;
create index page_ready    on fallah.page (origin, rank desc, newest_at desc) where ready;
create index page_shows    on fallah.page (source_url) where source_url is not null;
create index page_checked  on fallah.page (source_name, fetched_at);
create index page_vanished on fallah.page (source_name) where vanished_at is not null;
create index page_moved    on fallah.page (moved_to) where moved_to is not null;

-- What was found, as of its newest version.
create table fallah.item (
    source_url      text primary key,
    source_name     text not null,
    version         bigint not null check (version >= 1),
    content_hash    text not null,
    raw_hash        text not null,
    told_version    bigint not null default 0,      -- the newest one that has its event
    deleted_reason  text,                           -- null: it is there
    payload         jsonb not null,                 -- of its newest article.upserted
    discovered_at   timestamptz not null,
    fetched_at      timestamptz not null,
    changed_at      timestamptz not null default clock_timestamp()
);

create index item_of_source on fallah.item (source_name, changed_at) where deleted_reason is null;

create table fallah.author (
    source_url      text primary key,               -- urn:author:<source>:<folded name>
    source_name     text not null,
    version         bigint not null check (version >= 1),
    content_hash    text not null,
    told            boolean not null default false,
    name            text not null,
    url             text
);

create table fallah.item_author (
    source_url      text not null references fallah.item,
    nth             smallint not null,
    author          text not null references fallah.author,
    primary key (source_url, nth)
);

-- For people: each source at a glance. It counts every page, which takes seconds where there are a million.
create view fallah.sources as
select s.name,
       s.halted_at,
       s.halted_reason,
       count(p.url)                                              as pages,
       count(p.url) filter (where p.ready)                       as ready,
       count(p.url) filter (where p.rank = 0 and p.fetched_at is null) as backfill,
       count(p.url) filter (where p.vanished_at is not null)     as vanished,
       count(p.url) filter (where p.failures > 0)                as failing,
       (select count(*) from fallah.item i where i.source_name = s.name and i.deleted_reason is null) as items,
       max(p.fetched_at)                                         as last_fetch_at,
       (select max(i.changed_at) from fallah.item i where i.source_name = s.name)  as last_change_at
  from fallah.source s
  left join fallah.page p on p.source_name = s.name
 group by s.name;
