-- What it takes to see that a source has fallen silent.

-- Since when a source is known: one that has never had an article is silent since then.
alter table fallah.source add column known_at timestamptz not null default clock_timestamp();
-- The newest article of a source, without a look at all of them.
create index item_found on fallah.item (source_name, discovered_at);
