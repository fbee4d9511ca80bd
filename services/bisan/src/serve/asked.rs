//! What a query string asks for. Empty values, as forms send them, ask for nothing.

use std::collections::BTreeMap;

use axum::extract::Query as QueryString;
use axum::http::Uri;

use super::answer::Problem;
use crate::search::{PAGE_MAX, QUERY_BYTES_MAX, Query, Request};
use crate::store::{Cursor, Filter, Order, seconds};

/// Articles on a page, if nothing is said.
pub const PAGE_SIZE_DEFAULT: u32 = 20;
/// And at most.
pub const PAGE_SIZE_MAX: u32 = 100;

const DAY: i64 = 86_400;

/// The parameters of one request.
#[derive(Debug, Clone, Default)]
pub(super) struct Asked(BTreeMap<String, String>);

impl Asked {
    pub(super) fn of(uri: &Uri) -> Result<Self, Problem> {
        let pairs = QueryString::<Vec<(String, String)>>::try_from_uri(uri)
            .map_err(|_| Problem::bad("the query string cannot be read: is it UTF-8, and percent-encoded?"))?;
        Ok(Self(pairs.0.into_iter().filter(|(_, value)| !value.trim().is_empty()).collect()))
    }

    pub(super) fn get(&self, name: &str) -> Option<&str> {
        self.0.get(name).map(String::as_str)
    }

    pub(super) fn filter(&self) -> Result<Filter, Problem> {
        let until = self.time("until")?.map(|(seconds, whole_day)| if whole_day { seconds + DAY } else { seconds });
        Ok(Filter {
            source: self.get("source").map(str::to_owned),
            language: self.get("language").map(str::to_owned),
            author: self.number("author", 1, u32::MAX)?.map(i64::from),
            from: self.time("from")?.map(|(seconds, _)| seconds),
            until,
        })
    }

    /// A time, and whether it is a whole day.
    fn time(&self, name: &str) -> Result<Option<(i64, bool)>, Problem> {
        let Some(text) = self.get(name) else { return Ok(None) };
        let wrong =
            || Problem::bad(format!("{name} is a day such as 2026-11-21, or a time such as 2026-11-21T08:00:00Z"));
        time(text).map(Some).ok_or_else(wrong)
    }

    pub(super) fn size(&self) -> Result<u32, Problem> {
        Ok(self.number("size", 1, PAGE_SIZE_MAX)?.unwrap_or(PAGE_SIZE_DEFAULT))
    }

    pub(super) fn order(&self) -> Result<Order, Problem> {
        match self.get("order") {
            None | Some("newest") => Ok(Order::Newest),
            Some("first_seen") => Ok(Order::FirstSeen),
            Some(_) => Err(Problem::bad("order is newest, or first_seen")),
        }
    }

    /// Where a list goes on.
    pub(super) fn after(&self) -> Result<Option<Cursor>, Problem> {
        let Some(text) = self.get("after") else { return Ok(None) };
        let cursor = text
            .rsplit_once('.')
            .and_then(|(dated_at, id)| Some(Cursor { dated_at: dated_at.parse().ok()?, id: id.parse().ok()? }));
        cursor
            .map(Some)
            .ok_or_else(|| Problem::bad("after is what an earlier answer called next: take its link as it is"))
    }

    pub(super) fn search(&self) -> Result<Request, Problem> {
        let text = self.get("q").unwrap_or_default();
        if text.len() > QUERY_BYTES_MAX {
            return Err(Problem::bad(format!("q is longer than {QUERY_BYTES_MAX} bytes: fewer words find more")));
        }
        Ok(Request {
            query: Query::parse(text),
            filter: self.filter()?,
            page: self.number("page", 1, PAGE_MAX)?.unwrap_or(1),
            size: self.size()?,
        })
    }

    fn number(&self, name: &str, min: u32, max: u32) -> Result<Option<u32>, Problem> {
        let Some(text) = self.get(name) else { return Ok(None) };
        let number = text.parse().ok().filter(|number| (min..=max).contains(number));
        number.map(Some).ok_or_else(|| Problem::bad(format!("{name} is a number from {min} to {max}")))
    }

    /// The same address with one parameter changed.
    pub(super) fn link(&self, path: &str, name: &str, value: &str) -> String {
        let mut all = self.0.clone();
        all.insert(name.to_owned(), value.to_owned());
        let pairs: Vec<_> = all.iter().map(|(name, value)| format!("{}={}", escaped(name), escaped(value))).collect();
        format!("{path}?{}", pairs.join("&"))
    }
}

/// A time in seconds of Unix, and whether it is a whole day.
pub(crate) fn time(text: &str) -> Option<(i64, bool)> {
    Some((seconds(text)?, text.parse::<jiff::civil::Date>().is_ok() && text.len() <= "2026-11-21".len()))
}

impl Cursor {
    pub(super) fn text(self) -> String {
        format!("{}.{}", self.dated_at, self.id)
    }
}

/// Percent-encoded, all but what no address needs encoded.
pub fn escaped(text: &str) -> String {
    let byte = |byte: u8| match byte {
        b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' | b'.' | b'_' | b'~' => char::from(byte).to_string(),
        b' ' => "+".to_owned(),
        _ => format!("%{byte:02X}"),
    };
    text.bytes().map(byte).collect()
}
