//! What users may do, as `docs/rights` says. It is read here, so that no test has a list of its own that grows old.

use std::path::Path;

use sqlx::PgPool;

fn file(name: &str) -> String {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/rights").join(name);
    std::fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

/// The statements that make the roles of Postgres, for the schema that comes first in `search_path`.
pub fn postgres() -> String {
    file("postgres.sql")
}

/// What a user of Redis may do: words such as `+xadd`.
pub fn redis(user: &str) -> Vec<String> {
    rule(user).into_iter().filter(|word| word.starts_with('+')).collect()
}

/// All words of a user's rule in Redis as `ACL SETUSER` takes them, with this password.
pub fn redis_rule(user: &str, password: &str) -> Vec<String> {
    rule(user).into_iter().map(|word| word.replace("#HASH_OF_A_PASSWORD", &format!(">{password}"))).collect()
}

fn rule(user: &str) -> Vec<String> {
    let file = file("redis.acl");
    let rule = file.lines().find_map(|line| line.strip_prefix(&format!("user {user} "))).expect("the user is there");
    rule.split_whitespace().map(str::to_owned).collect()
}

/// What a role of Postgres was granted on tables and sequences of `public`: each privilege with the table's name.
pub async fn granted(db: &PgPool, role: &str) -> Vec<(String, String)> {
    let found: Vec<(String, String)> = sqlx::query_as(
        "select lower(privilege), name from (
             select a.privilege_type as privilege, c.relname::text as name
               from pg_class c cross join lateral aclexplode(c.relacl) a
              where a.grantee = $1::regrole and c.relnamespace = 'public'::regnamespace) g
          order by 2, 1",
    )
    .bind(format!("outbox_{role}"))
    .fetch_all(db)
    .await
    .expect("the catalogue can be read");
    assert!(!found.is_empty());
    found
}
