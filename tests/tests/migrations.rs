//! Tables are made once, by however many at a time, and those of every older version are brought to this one with their rows.

use std::collections::BTreeSet;
use std::path::Path;

use outbox::{Error, SCHEMA_VERSION};
use outbox_tests::{Postgres, Reading, binary};
use sqlx::{AssertSqlSafe, PgConnection};

use crate::sql::{connect, run};
use crate::sql_schemas::{ODD, enter};

#[tokio::test]
async fn migrating_twice_is_migrating_once() {
    let postgres = Postgres::start().await;
    let mut db = connect(&postgres.database().await).await;
    assert_eq!(outbox::migrate(&mut db, "public").await.expect("migrated"), 0);
    let before = catalog(&mut db).await;
    run(&mut db, "select outbox_enqueue('s', 't', '1')").await;
    assert_eq!(outbox::migrate(&mut db, "public").await.expect("migrated"), SCHEMA_VERSION);
    assert_same(&catalog(&mut db).await, &before);
    let rows: i64 = sqlx::query_scalar("select count(*) from outbox").fetch_one(&mut db).await.expect("a table");
    assert_eq!(rows, 1);
    let path: String = sqlx::query_scalar("show search_path").fetch_one(&mut db).await.expect("a setting");
    assert_eq!(path, "\"$user\", public", "the caller's connection is as it was");
}

/// Lets eight processes' worth of tasks migrate at once, and gives the versions that they found.
async fn eight_migrate(url: &str, schema: &'static str) -> Vec<i32> {
    let migrate = async |url: String| outbox::migrate(&mut connect(&url).await, schema).await;
    let tasks: Vec<_> = (0..8).map(|_| tokio::spawn(migrate(url.to_owned()))).collect();
    let mut found = vec![];
    for task in tasks {
        found.push(task.await.expect("no panic").unwrap_or_else(|error| panic!("{schema}: {error:?}")));
    }
    found.sort_unstable();
    found
}

#[tokio::test]
async fn eight_may_migrate_at_once_and_one_does() {
    let postgres = Postgres::start().await;
    let url = postgres.database().await;
    let [one_did, seven_did_not] = [0, SCHEMA_VERSION];
    for schema in ["public", "not there yet"] {
        let found = eight_migrate(&url, schema).await;
        assert_eq!((found[0], &found[1..]), (one_did, &[seven_did_not; 7][..]), "{schema}");
    }
}

/// Whoever waited for the lock must see what the one before did, whatever the default.
#[tokio::test]
async fn eight_may_migrate_at_once_where_transactions_are_serializable() {
    let postgres = Postgres::start().await;
    let url = postgres.database().await;
    let (_, name) = url.rsplit_once('/').expect("a URL");
    let serializable = format!("alter database {name} set default_transaction_isolation = serializable");
    run(&mut connect(&url).await, &serializable).await;
    assert_eq!(eight_migrate(&url, "public").await[1..], [SCHEMA_VERSION; 7]);
}

/// The migrations as they lie in the repository.
fn migrations() -> Vec<String> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../migrations/outbox");
    let files = std::fs::read_dir(folder).expect("the folder is there");
    let mut files: Vec<_> = files.map(|file| file.expect("readable").path()).filter(|path| path.is_file()).collect();
    files.sort();
    files.iter().map(|file| std::fs::read_to_string(file).expect("readable")).collect()
}

#[tokio::test]
async fn every_older_schema_becomes_the_newest_and_keeps_its_rows() {
    let postgres = Postgres::start().await;
    let mut fresh = connect(&postgres.database().await).await;
    outbox::migrate(&mut fresh, "public").await.expect("migrated");
    let newest = catalog(&mut fresh).await;

    let steps = migrations();
    assert_eq!(i32::try_from(steps.len()), Ok(SCHEMA_VERSION), "every file is embedded");
    for older in 1..=steps.len() {
        let mut db = connect(&postgres.database().await).await;
        // As the crate has it: functions keep the path they were made with.
        run(&mut db, "set search_path to public").await;
        run(
            &mut db,
            "create table outbox_schema (
                 version integer primary key, applied_at timestamptz not null default now())",
        )
        .await;
        for (step, version) in steps.iter().zip(1..=older) {
            run(&mut db, step).await;
            run(&mut db, &format!("insert into outbox_schema (version) values ({version})")).await;
            run(
                &mut db,
                &format!(
                    "insert into outbox (stream, id, type, payload) values ('s', 'sent-{version}', 't', '1');
                     insert into outbox (stream, id, type, payload, due_at) values ('s', 'due-{version}', 't', '1', now());
                     insert into outbox (stream, id, type, payload, due_at, dead_at, last_error, attempts)
                     values ('s', 'dead-{version}', 't', '1', 'infinity', now(), 'why', 5)"
                ),
            )
            .await;
        }
        let found = outbox::migrate(&mut db, "public").await.expect("migrated");
        assert_eq!(usize::try_from(found), Ok(older));
        assert_same(&catalog(&mut db).await, &newest);
        let rows: i64 =
            sqlx::query_scalar("select count(*) from outbox_events").fetch_one(&mut db).await.expect("a view");
        assert_eq!(usize::try_from(rows), Ok(3 * older));
    }
}

#[tokio::test]
async fn the_printed_script_makes_the_very_same_schema() {
    let postgres = Postgres::start().await;
    for schema in ["public", ODD] {
        let [mut by_crate, mut by_script] =
            [connect(&postgres.database().await).await, connect(&postgres.database().await).await];
        outbox::migrate(&mut by_crate, schema).await.expect("migrated");
        run(&mut by_script, &outbox::migration_sql(schema)).await;
        for db in [&mut by_crate, &mut by_script] {
            enter(db, schema).await;
        }
        assert_same(&catalog(&mut by_script).await, &catalog(&mut by_crate).await);
        assert_eq!(outbox::migrate(&mut by_script, schema).await.expect("known"), SCHEMA_VERSION, "{schema}");
        // Run by mistake a second time it changes nothing.
        assert!(sqlx::raw_sql(AssertSqlSafe(outbox::migration_sql(schema))).execute(&mut by_script).await.is_err());
        run(&mut by_script, "rollback").await;
        enter(&mut by_script, schema).await;
        assert_same(&catalog(&mut by_script).await, &catalog(&mut by_crate).await);
    }
}

#[tokio::test]
async fn a_schema_of_a_newer_version_is_left_alone() {
    let postgres = Postgres::start().await;
    let mut db = connect(&postgres.database().await).await;
    outbox::migrate(&mut db, "public").await.expect("migrated");
    run(&mut db, "insert into outbox_schema (version) values (99)").await;
    match outbox::migrate(&mut db, "public").await {
        Err(Error::SchemaTooNew { found: 99, known: SCHEMA_VERSION }) => {}
        other => panic!("{other:?}"),
    }
    assert!(sqlx::query("select 1").execute(&mut db).await.is_ok(), "the connection can be used on");
}

/// All that makes the schema at the head of the search path, as text: one line a column, constraint, domain, index,
/// function, trigger, view, sequence, right or comment.
async fn catalog(db: &mut PgConnection) -> BTreeSet<String> {
    let lines: Vec<(String, String)> = sqlx::query_as(
        "with own as (select * from pg_class where relnamespace = (select oid from pg_namespace where nspname = current_schema()))
         select 'column ' || c.relname || '.' || a.attnum || ' ' || a.attname,
                concat_ws(' ', format_type(a.atttypid, a.atttypmod), case when a.attnotnull then 'not null' end,
                          'identity ' || nullif(a.attidentity::text, ''), 'default ' || pg_get_expr(d.adbin, d.adrelid),
                          (select 'collate ' || collname from pg_collation where oid = a.attcollation))
           from own c join pg_attribute a on a.attrelid = c.oid and a.attnum > 0
           left join pg_attrdef d on d.adrelid = c.oid and d.adnum = a.attnum
          where c.relkind in ('r', 'v')
         union all
         select 'constraint ' || conname, pg_get_constraintdef(k.oid)
           from pg_constraint k where connamespace = (select oid from pg_namespace where nspname = current_schema())
         union all
         select 'domain ' || t.typname,
                concat_ws(' ', format_type(t.typbasetype, t.typtypmod), case when t.typnotnull then 'not null' end, t.typdefault,
                          (select collname from pg_collation where oid = t.typcollation), t.typacl::text)
           from pg_type t
          where typnamespace = (select oid from pg_namespace where nspname = current_schema()) and typtype = 'd'
         union all
         select 'index ' || c.relname, pg_get_indexdef(c.oid) from own c where relkind = 'i'
         union all
         select 'function ' || p.oid::regprocedure, pg_get_functiondef(p.oid) || coalesce(p.proacl::text, '')
           from pg_proc p where pronamespace = (select oid from pg_namespace where nspname = current_schema())
         union all
         select 'trigger ' || tgname || ' on ' || c.relname, pg_get_triggerdef(t.oid)
           from pg_trigger t join own c on c.oid = t.tgrelid where not tgisinternal
         union all
         select 'view ' || c.relname, pg_get_viewdef(c.oid) from own c where relkind = 'v'
         union all
         select 'sequence ' || c.relname, (s.seqtypid, s.seqstart, s.seqincrement, s.seqmax, s.seqmin, s.seqcache, s.seqcycle)::text
           from pg_sequence s join own c on c.oid = s.seqrelid
         union all
         select 'rights on ' || relname, relkind::text || ' ' || coalesce(relacl::text, '') || coalesce(reloptions::text, '') from own
         union all
         select 'comment on ' || c.relname, obj_description(c.oid, 'pg_class') from own c
          where obj_description(c.oid, 'pg_class') is not null
         order by 1, 2",
    )
    .fetch_all(db)
    .await
    .expect("a catalog");
    assert!(lines.len() > 100, "{lines:?}");
    lines.into_iter().map(|(what, is)| format!("{what}: {is}")).collect()
}

fn assert_same(one: &BTreeSet<String>, other: &BTreeSet<String>) {
    let differ: Vec<_> = one.symmetric_difference(other).collect();
    assert!(differ.is_empty(), "{differ:#?}");
}

/// What a program's migrations are, in their order.
fn steps_of(program: &str) -> Vec<String> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../migrations").join(program);
    let mut files: Vec<_> =
        std::fs::read_dir(folder).expect("the folder is there").map(|file| file.expect("readable").path()).collect();
    files.sort();
    files.iter().map(|file| std::fs::read_to_string(file).expect("readable")).collect()
}

#[tokio::test]
async fn fallahs_older_tables_become_the_newest_and_keep_their_rows() {
    let postgres = Postgres::start().await;
    let mut fresh = connect(&postgres.database().await).await;
    fallah::migrate(&mut fresh).await.expect("migrated");
    run(&mut fresh, "set search_path to fallah").await;
    let newest = catalog(&mut fresh).await;

    let steps = steps_of("fallah");
    for older in 1..steps.len() {
        let url = postgres.database().await;
        let mut db = connect(&url).await;
        outbox::migrate(&mut db, "public").await.expect("migrated");
        for step in &steps[..older] {
            run(&mut db, step).await;
        }
        run(&mut db, &format!("comment on schema fallah is '{older}'")).await;
        run(
            &mut db,
            "insert into fallah.source (name) values ('daily'), ('halted');
             update fallah.source set halted_at = now(), halted_reason = 'why' where name = 'halted';
             insert into fallah.host (origin, source_name) values ('https://daily.example', 'daily');
             insert into fallah.list (url, source_name, origin, interval_s)
             values ('https://daily.example/sitemap.xml', 'daily', 'https://daily.example', 60);
             insert into fallah.page (url, source_name, origin, rank, newest_at, source_url)
             values ('https://daily.example/1', 'daily', 'https://daily.example', 3, now(), 'https://daily.example/1');
             insert into fallah.item (source_url, source_name, version, content_hash, raw_hash, payload, discovered_at, fetched_at)
             values ('https://daily.example/1', 'daily', 7, 'hash', 'raw', '{}', '2026-01-01', '2026-01-02');
             insert into fallah.author (source_url, source_name, version, content_hash, name)
             values ('urn:author:daily:salma', 'daily', 1, 'hash', 'Salma');
             insert into fallah.item_author values ('https://daily.example/1', 1, 'urn:author:daily:salma')",
        )
        .await;
        for told in
            [format!("went from version {older} to {}", steps.len()), format!("version {} already", steps.len())]
        {
            let mut migrate = std::process::Command::new(binary("fallah"));
            let output = migrate.arg("migrate").env("DATABASE_URL", &url).output().expect("it can be started");
            let said = String::from_utf8_lossy(&output.stdout);
            assert!(output.status.success() && said.contains(&told), "{said}");
        }
        run(&mut db, "set search_path to fallah").await;
        assert_same(&catalog(&mut db).await, &newest);
        let kept: String = sqlx::query_scalar(
            "select concat_ws(' ', (select count(*) from source where known_at <= now()), (select count(*) from host),
                    (select count(*) from list), (select count(*) from page), (select version from item),
                    (select name from author), (select count(*) from item_author))",
        )
        .fetch_one(&mut db)
        .await
        .expect("a row");
        assert_eq!(kept, "2 1 1 1 7 Salma 1");
    }
}

#[tokio::test]
async fn bisans_older_files_become_the_newest_and_keep_their_articles() {
    let steps = steps_of("bisan");
    let mut dumps = vec![];
    for older in 1..=steps.len() {
        let reading = Reading::open().await;
        {
            let db = reading.db();
            db.execute_batch(&steps[0]).expect("the first tables");
            db.execute_batch(
                "insert into article (id, source_url, source_name, version, content_hash, change, changed_at, dated_at,
                                      discovered_at, fetched_at, title, body, language)
                 values (1, 'https://daily.example/1', 'daily', 2, 'one', 1, 0, 0, '2026-01-01T00:00:00Z',
                         '2026-01-02T00:00:00Z', 'A headline', 'What it says', 'en'),
                        (2, 'https://daily.example/2', 'daily', 1, 'two', 2, 0, 0, '2026-01-01T00:00:00Z',
                         '2026-01-01T00:00:00Z', 'افتتاح مدرسة', 'نص الخبر', 'ar');
                 insert into article (id, source_url, source_name, version, content_hash, change, changed_at, dated_at,
                                      discovered_at, fetched_at, deleted_at, deleted_reason)
                 values (3, 'https://daily.example/3', 'daily', 4, 'three', 3, 0, 0, '2026-01-01T00:00:00Z',
                         '2026-01-01T00:00:00Z', '2026-01-03T00:00:00Z', 'gone');
                 insert into author (id, source_name, folded_name, name, name_rank) values (1, 'daily', 'salma', 'Salma', '0');
                 insert into article_author values (1, 1, 1, 'Salma');
                 insert into search_dirty values (1, 1, 0)",
            )
            .expect("rows of the first version");
            for step in &steps[1..older] {
                db.execute_batch(step).expect("the next tables");
            }
            db.pragma_update(None, "user_version", older as i64).expect("set");
        }
        let output = reading.verb(&["migrate"]);
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        let health = reading.json(&["verify", "--full", "--json"]);
        assert_eq!((&health["sound"], &health["health"]["articles"]), (&true.into(), &2.into()), "{health}");
        assert_eq!(reading.json(&["search", "مدرسة", "--json"])["total"], 1, "from version {older}");
        dumps.push(reading.dump());
    }
    assert!(dumps.iter().all(|dump| *dump == dumps[0]), "{dumps:#?}");
}
