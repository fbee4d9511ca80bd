-- What is deleted leaves the text index, too: by itself FTS5 keeps the words, with their places, until segments are merged.
insert into article_text (article_text, rank) values ('secure-delete', 1);
insert into article_text (article_text) values ('optimize');
