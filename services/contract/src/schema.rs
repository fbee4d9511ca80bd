//! The payloads as JSON Schema, for those who read the stream in another language.

use schemars::{Schema, schema_for};

use crate::{ArticleDeleted, ArticleUpserted, AuthorUpserted};

/// Each type's name and its schema.
pub fn schemas() -> [(&'static str, Schema); 3] {
    [
        (ArticleUpserted::TYPE, schema_for!(ArticleUpserted)),
        (ArticleDeleted::TYPE, schema_for!(ArticleDeleted)),
        (AuthorUpserted::TYPE, schema_for!(AuthorUpserted)),
    ]
}

#[cfg(test)]
mod tests {
    /// `UPDATE_SCHEMAS=1 cargo test -p contract` writes them anew.
    #[test]
    fn the_documented_schemas_are_those_of_the_code() {
        for (name, schema) in super::schemas() {
            let file = format!("{}/../../docs/schema/{name}.json", env!("CARGO_MANIFEST_DIR"));
            let is = serde_json::to_string_pretty(&schema).expect("JSON") + "\n";
            if std::env::var_os("UPDATE_SCHEMAS").is_some() {
                std::fs::write(&file, &is).expect("docs/schema can be written");
            }
            let said = std::fs::read_to_string(&file).unwrap_or_default();
            assert_eq!(said, is, "docs/schema/{name}.json is not what the code says");
        }
    }
}
