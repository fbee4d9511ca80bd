-- What Bisan knows: the newest state of each article, who wrote it, and the text that is searched.
--
-- All of it lies in one file of SQLite, beside the inbox, since an event and its effects are written in one transaction.

-- An article, live or deleted. Small columns stand first: lists are read without touching the pages of long texts.
create table article (
    id              integer primary key,
    source_url      text    not null unique,
    source_name     text    not null,
    version         integer not null check (version > 0),   -- of the source; only a higher one replaces it
    content_hash    text    not null,
    change          integer not null unique,                -- Bisan's own count of changes: rises with every change of
                                                            -- any article, also where only its authors were merged
    changed_at      integer not null,                       -- when that was, in seconds of Unix
    deleted_at      text,                                   -- null: it is live
    deleted_reason  text,
    dated_at        integer not null,                       -- what "newest first" goes by: its own date if it has one
                                                            -- and it is not in the future, else when it was found
    language        text,
    section         text,
    published_at    text,                                   -- as the page says
    modified_at     text,
    discovered_at   text    not null,
    fetched_at      text    not null,
    canonical_url   text,
    image           text,                                   -- the first of images
    images          text    not null default '[]',          -- JSON: addresses
    tags            text    not null default '[]',          -- JSON: words
    title           text    not null default '',
    lead            text    not null default '',
    body            text    not null default '',            -- paragraphs with an empty line between them

    check ((deleted_at is null) = (deleted_reason is null)),
    -- Nothing of what is deleted is kept: it may have been deleted because somebody has the right to demand it.
    check (deleted_at is null or (title = '' and lead = '' and body = ''))
) strict;
create index article_newest   on article (dated_at desc, id desc) where deleted_at is null;
create index article_source   on article (source_name, dated_at desc, id desc) where deleted_at is null;
create index article_language on article (language, dated_at desc, id desc) where deleted_at is null;
-- What a search filters and orders by, without the pages of the texts.
create index article_facts    on article (id, dated_at, source_name, language) where deleted_at is null;

-- A person, as one source knows them: people of the same name in two sources are strangers until somebody merges them.
create table author (
    id              integer primary key,
    source_name     text    not null,
    folded_name     text    not null,
    name            text    not null,                       -- as it was written most lately
    name_rank       text    not null,                       -- which of two spellings is the later one
    url             text,                                   -- the author's page at the source
    url_rank        text    not null default '',
    merged_into     integer references author (id),
    merged_by       text check (merged_by in ('url', 'operator')),   -- one page for two spellings; or a person said so

    unique (source_name, folded_name),
    check ((merged_into is null) = (merged_by is null)),
    check (merged_into is not id)
) strict;
create index author_url    on author (source_name, url) where url is not null;
create index author_merged on author (merged_into) where merged_into is not null;

-- Who wrote what, in the order of the page. Names that were merged stay as they were, so that a merge can be undone.
create table article_author (
    article_id      integer not null references article (id),
    position        integer not null,
    author_id       integer not null references author (id),
    name            text    not null,                       -- as it is written there

    primary key (article_id, position),
    unique (article_id, author_id)
) strict, without rowid;
create index article_author_author on article_author (author_id, article_id);

-- Articles that are to be brought to the search index, each with its newest change. Whoever has brought it there deletes
-- the row if `change` is still the one that was read: a higher one means that the article has changed again since.
create table search_dirty (
    article_id      integer primary key references article (id),
    change          integer not null,                       -- article.change
    dirty_at        integer not null                        -- since when, in seconds of Unix
) strict;
create index search_dirty_change on search_dirty (change);

-- The text that is searched: folded words with one blank between them, of live articles only. The tokenizer `ascii` takes
-- them as they are; what a word is, `fold` decides.
create virtual table article_text using fts5 (title, lead, authors, body, tokenize = 'ascii', prefix = '2 3');
-- bm25 is nearly saturated by these: a word in a title weighs more than the same in a lead or a name, and that more than
-- dozens of the same in a body.
insert into article_text (article_text, rank) values ('rank', 'bm25(400.0, 40.0, 40.0, 1.0)');

-- What holds for the whole file, by name.
create table fact (
    name            text primary key,
    value           text not null
) strict, without rowid;
