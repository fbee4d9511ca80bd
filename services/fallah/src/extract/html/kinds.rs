//! What HTML's elements are to the tidying pass: how they close one another.

#[derive(Clone, Copy, PartialEq)]
pub(super) enum Kind {
    /// Text-level: its end tag never reaches over a block.
    Inline,
    /// `a`: the same, but it matters where it ends.
    Link,
    Paragraph,
    Heading,
    Item,
    Term,
    Block,
    Button,
    Table,
    TableBody,
    Row,
    Cell,
}

/// A table's inside is a world of its own for most end tags.
pub(super) fn is_scope(kind: Kind) -> bool {
    matches!(kind, Kind::Cell | Kind::Table)
}

pub(super) fn kind(name: &str) -> Kind {
    match name {
        "a" => Kind::Link,
        "p" => Kind::Paragraph,
        "h1" | "h2" | "h3" | "h4" | "h5" | "h6" => Kind::Heading,
        "li" => Kind::Item,
        "dd" | "dt" => Kind::Term,
        "button" => Kind::Button,
        "table" => Kind::Table,
        "tbody" | "thead" | "tfoot" => Kind::TableBody,
        "tr" => Kind::Row,
        "td" | "th" => Kind::Cell,
        "address" | "article" | "aside" | "blockquote" | "center" | "details" | "dialog" | "dir" | "div" | "dl"
        | "fieldset" | "figcaption" | "figure" | "footer" | "form" | "header" | "hgroup" | "hr" | "listing"
        | "main" | "menu" | "nav" | "ol" | "pre" | "search" | "section" | "summary" | "ul" => Kind::Block,
        _ => Kind::Inline,
    }
}
