-- What the search index has refused, and where a second index stands while one is built or kept beside the first.

-- Articles that the index does not take, each with what it says of it. The row goes when the article is taken after all.
create table search_refused (
    article_id      integer primary key references article (id),
    change          integer not null,                       -- the article.change that was refused
    code            text    not null,                       -- Meilisearch's name for it, such as invalid_document_id
    reason          text    not null,
    refused_at      integer not null                        -- in seconds of Unix
) strict;

-- The spare index: the one that is built anew, and after the swap the one that was before. One row, or none.
create table search_spare (
    one             integer primary key check (one = 1),
    step            text    not null check (step in ('making', 'loading', 'catching_up', 'swapping', 'swapped', 'dropping')),
    loaded_upto     integer not null default 0,             -- an article.id: all live ones up to it have been brought there
    made_at         text,                                   -- by what the server knows it: when it was made
    live_made_at    text,                                   -- the same of the other one, from the swap on
    begun_at        integer not null,                       -- in seconds of Unix
    stepped_at      integer not null,

    check (made_at is not null or step in ('making', 'dropping')),
    check (live_made_at is not null or step not in ('swapping', 'swapped'))
) strict;

-- What the spare index does not have yet: to it what search_dirty is to the other one.
create table search_behind (
    article_id      integer primary key references article (id),
    change          integer not null
) strict;
create index search_behind_change on search_behind (change);

-- From the moment in which there is a spare index, whatever is to be brought to the one is to be brought to the other.
create trigger search_dirty_inserted after insert on search_dirty
when exists (select 1 from search_spare)
begin
    insert into search_behind (article_id, change) values (new.article_id, new.change)
    on conflict (article_id) do update set change = excluded.change;
end;
create trigger search_dirty_updated after update on search_dirty
when exists (select 1 from search_spare)
begin
    insert into search_behind (article_id, change) values (new.article_id, new.change)
    on conflict (article_id) do update set change = excluded.change;
end;

-- An article as an index is to have it.
create view search_document as
select a.id, a.change, a.source_url, a.source_name, a.title, a.lead, a.body,
       (select json_group_array(w.name order by w.position) from article_author w where w.article_id = a.id) as authors,
       (select json_group_array(w.author_id order by w.position) from article_author w where w.article_id = a.id) as author_ids,
       a.section, a.tags, a.language, a.dated_at, a.deleted_at is null as live
  from article a;
