-- Names go with the last article that bears them, and the tables can be read by a SQLite of 2022.

-- What each name under an article says of its author: so it can be taken back with the article.
alter table article_author add column name_rank text not null default '';   -- as in author, for this article alone
alter table article_author add column url_rank text not null default '';    -- '': it gives no address, or it is older than this
update article_author as w
   set name_rank = (select printf('%020d %012d %s', 0, max(coalesce(unixepoch(a.fetched_at), 0), 0), w.name)
                      from article a where a.id = w.article_id);

-- People of whom nothing is left, under none of their names.
with recursive here (id) as (
    select author_id from article_author
    union select a.merged_into from here h join author a on a.id = h.id where a.merged_into is not null
    union select a.id from here h join author a on a.merged_into = h.id)
delete from author where id not in (select id from here);

-- An article as an index is to have it. Names stand in the order of the table below: `order by` within an aggregate is not
-- known before SQLite 3.44, and a file with such a view in it can be neither looked into nor vacuumed by an older one.
drop view search_document;
create view search_document as
select a.id, a.change, a.source_url, a.source_name, a.title, a.lead, a.body,
       (select json_group_array(w.name)
          from (select name from article_author where article_id = a.id order by position) w) as authors,
       (select json_group_array(w.author_id)
          from (select author_id from article_author where article_id = a.id order by position) w) as author_ids,
       a.section, a.tags, a.language, a.dated_at, a.deleted_at is null as live
  from article a;
