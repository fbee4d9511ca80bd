//! Whether a data folder is whole. Most of what may be lost of it comes back: the relay fills an empty Redis, and archive and reader say by
//! themselves what they miss. Without its Postgres the rest is no beginning, and is not taken for one.

use std::path::Path;

use anyhow::Result;
use terminal::unusable;

/// What is there only if a Postgres was there before it, and how one sees that it is more than a name.
const AFTER_POSTGRES: [&str; 4] = ["objects", "bisan.db", "site.json", "postgres.port"];

/// Refuses to make a new Postgres beside what an older one has left.
pub(crate) fn refuse_without_its_postgres(data: &Path) -> Result<()> {
    if data.join("postgres/data").exists() {
        return Ok(());
    }
    let left: Vec<&str> = AFTER_POSTGRES.into_iter().filter(|name| holds_something(&data.join(name))).collect();
    if left.is_empty() {
        return Ok(());
    }
    let at = data.display();
    Err(unusable(format!(
        "{at} has lost its Postgres, and with it what is true; what is left ({}) cannot bring it back: put {at}/postgres back, or remove \
         all of {at} to begin anew, or name your own server by DATABASE_URL if the data lie there",
        left.join(", ")
    )))
}

/// What a start makes first is empty.
fn holds_something(path: &Path) -> bool {
    match std::fs::read_dir(path) {
        Ok(mut entries) => entries.next().is_some(),
        Err(_) => std::fs::metadata(path).is_ok_and(|file| file.len() > 0),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_killed_first_start_leaves_is_a_beginning_and_what_others_left_is_not() {
        let folder = tempfile::tempdir().expect("a folder");
        let data = folder.path();
        refuse_without_its_postgres(data).expect("new");
        std::fs::create_dir_all(data.join("redis/appendonlydir")).expect("made");
        std::fs::create_dir_all(data.join("postgres/data.half")).expect("made");
        std::fs::create_dir(data.join("objects")).expect("made");
        std::fs::write(data.join("bisan.db"), "").expect("made");
        refuse_without_its_postgres(data).expect("a first start that was killed");

        std::fs::write(data.join("objects/owner"), "somebody").expect("written");
        let said = refuse_without_its_postgres(data).expect_err("something is lost").to_string();
        assert!(
            said.contains("has lost its Postgres") && said.contains("(objects)") && !said.contains('\n'),
            "{said}"
        );
        std::fs::create_dir(data.join("postgres/data")).expect("made");
        refuse_without_its_postgres(data).expect("it is back");
    }
}
