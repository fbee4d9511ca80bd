-- What each of the two indexes has refused, and whether the spare one is on its way back.

-- An article that one index does not take the other one may have: so each has its own.
drop table search_refused;
create table search_refused (
    queue           text    not null check (queue in ('live', 'spare', 'swapping')),    -- the last one only within a swap
    article_id      integer not null references article (id),
    change          integer not null,                       -- the article.change that was refused
    code            text    not null,                       -- Meilisearch's name for it, such as invalid_document_id
    reason          text    not null,
    refused_at      integer not null,                       -- in seconds of Unix

    primary key (queue, article_id)
) strict, without rowid;

-- 1: the index that was before is brought up to date, to answer again.
alter table search_spare add column back integer not null default 0 check (back in (0, 1));
