-- What Hasad knows: which version of which page says what, and which objects lie in the store.
--
-- A row may name an object only after the store has it; an object goes only after no row names it any more. The first is the
-- order of writing; the second is kept by the lock on the object's row (docs/decisions.md).

create schema hasad;

-- Which archive this is. Its store bears the same id, so that no other archive sweeps it.
create table hasad.archive (
    id          text primary key default gen_random_uuid()::text,
    one         boolean not null unique default true check (one)
);
insert into hasad.archive default values;

-- What lies in the store, under the BLAKE3 of its bytes.
create table hasad.object (
    hash        text collate "C" primary key check (hash ~ '^[0-9a-f]{64}$'),
    bytes       bigint not null check (bytes >= 0),
    stored_at   timestamptz not null default clock_timestamp(),
    marked_at   timestamptz,                        -- nobody named it then; swept after the grace
    swept_at    timestamptz,                        -- a sweep began then to delete it
    check (swept_at is null or marked_at is not null)
);
create index object_marked on hasad.object (marked_at) where marked_at is not null;

-- An address of which something is archived. Its row is the lock under which its versions change.
create table hasad.page (
    source_url      text collate "C" primary key,
    newest          bigint not null,                -- the highest version that ever came
    purged_at       timestamptz,                    -- erased, and nothing of it is archived any more
    purged_reason   text,
    check ((purged_at is null) = (purged_reason is null))
);
create index page_purged on hasad.page (purged_at) where purged_at is not null;

-- Every version of every page. The one with the highest number is active or deleted, all others are superseded.
create table hasad.version (
    source_url      text collate "C" not null references hasad.page,
    version         bigint not null check (version >= 1),
    status          text not null check (status in ('active', 'superseded', 'deleted')),
    status_at       timestamptz not null default clock_timestamp(),     -- since when
    reason          text,                           -- of a deletion: why
    content_hash    text collate "C" not null,      -- as its event says; of a deletion: of the last content
    object_hash     text collate "C" references hasad.object,           -- null: a deletion, or purged
    source_name     text not null,
    title           text,
    fetched_at      timestamptz not null,
    about           json not null,                  -- its event, without the article
    event_id        text not null,
    archived_at     timestamptz not null default clock_timestamp(),
    primary key (source_url, version),
    check (object_hash is null or object_hash = content_hash),
    check (status <> 'active' or object_hash is not null),
    check (status <> 'deleted' or reason is not null)
);
-- One current version of a page, so at most one active one, whoever writes.
create unique index version_current on hasad.version (source_url) where status <> 'superseded';
create index version_of_object on hasad.version (object_hash) where object_hash is not null;
create index version_of_source on hasad.version (source_name, archived_at);

-- How far files were imported.
create table hasad.import (
    file            text primary key,
    bytes           bigint not null,                -- up to here
    lines           bigint not null,
    prefix_hash     text not null,                  -- of what was read, so that another file of this name is noticed
    bad_lines       bigint not null default 0,
    at              timestamptz not null default clock_timestamp()
);

-- What was found by the last complete checks and sweeps, for people and alerts.
create table hasad.run (
    id              bigint generated always as identity primary key,
    verb            text not null check (verb in ('fsck', 'gc', 'purge')),
    began_at        timestamptz not null,
    ended_at        timestamptz not null default clock_timestamp(),
    found           bigint not null,                -- fsck: faults; gc and purge: objects that went
    report          json not null
);

-- For people: each version with the one that took its place.
create view hasad.history as
select v.source_url, v.version, v.status, v.status_at, v.reason, v.object_hash, o.bytes, v.source_name, v.title,
       v.fetched_at, v.archived_at, v.event_id,
       lead(v.version) over (partition by v.source_url order by v.version) as superseded_by,
       lead(v.fetched_at) over (partition by v.source_url order by v.version) as superseded_at
  from hasad.version v
  left join hasad.object o on o.hash = v.object_hash;

-- For people: the archive at a glance. Counts everything, so not every second.
create view hasad.totals as
select v.pages, v.versions, v.active, v.deleted, o.objects, o.bytes, o.marked,
       v.contents - o.objects + o.marked                         as objects_saved,
       v.newest_at
  from (select count(*) as versions, count(distinct source_url) as pages,
               count(*) filter (where status = 'active') as active, count(*) filter (where status = 'deleted') as deleted,
               count(object_hash) as contents, max(archived_at) as newest_at from hasad.version) v,
       (select count(*) as objects, coalesce(sum(bytes), 0)::bigint as bytes, count(marked_at) as marked from hasad.object) o;
