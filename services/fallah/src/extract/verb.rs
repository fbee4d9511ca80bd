//! `fallah extract`: pages in, articles out, one JSON object a line, nothing fetched.

use std::fs::File;
use std::io::{self, BufRead, BufReader, BufWriter, Write};
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use serde::{Deserialize, Serialize};
use terminal::Unusable;

use super::{Extracted, Page, Rules, decode, extract};
use crate::exit::{self, EXIT_DONE, EXIT_FAILED, EXIT_NO_INPUT};

/// A line beyond this many bytes is no page.
const LINE_BYTES_MAX: usize = 64 << 20;

/// Reads pages and writes what they say, one JSON object a line.
///
/// A line in: `{"id": "1", "url": "https://...", "html": "<html>..."}`, or `"path"` instead of `"html"` for a file (also
/// one that ends in .gz), relative to the file that holds the line. A line that cannot be read becomes
/// `{"id": ..., "error": ...}`, is told on stderr, and makes the exit code 1.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:\n  \
    fallah extract pages.jsonl > articles.jsonl\n  \
    jq -c '{id, url, html}' dump.json | fallah extract --rules my-paper.toml\n\n\
    A line in:  {id, url, html} or {id, url, path}, where the path is relative to the file of lines and may end in .gz\n\
    A line out: {id, title, authors, published_at, modified_at, date, body, lead, image, section, tags, language, canonical_url}\n\n\
    Exit codes: 0 every line was read, 1 a line could not be (its line out is {id, error}), 64 wrong flags or rules, 66 a file \
    cannot be read")]
pub struct ExtractArgs {
    /// Files of JSON lines; - or none: standard input
    #[arg(value_name = "FILE")]
    pub files: Vec<PathBuf>,
    /// Rules of the source, in TOML, as in [source.extract]: selectors, time zone, the site's names
    #[arg(long, value_name = "FILE")]
    pub rules: Option<PathBuf>,
}

#[derive(Deserialize)]
struct Input {
    #[serde(default)]
    id: Option<serde_json::Value>,
    #[serde(default)]
    url: String,
    html: Option<String>,
    path: Option<PathBuf>,
}

#[derive(Serialize)]
struct Output<'a> {
    id: &'a Option<serde_json::Value>,
    title: Option<String>,
    authors: Vec<String>,
    published_at: Option<String>,
    modified_at: Option<String>,
    date: Option<String>,
    body: String,
    lead: Option<String>,
    image: Option<String>,
    section: Option<String>,
    tags: Vec<String>,
    language: Option<String>,
    canonical_url: Option<String>,
}

#[derive(Serialize)]
struct Failure<'a> {
    #[serde(skip_serializing_if = "Option::is_none")]
    id: &'a Option<serde_json::Value>,
    error: String,
}

/// Runs the verb; an error only where the rules make no sense.
pub fn run(args: &ExtractArgs) -> Result<ExitCode, Unusable> {
    let rules = args.rules.as_deref().map(read_rules).transpose()?.unwrap_or_default();
    Ok(exit::code(files(args, &rules, &mut BufWriter::new(io::stdout().lock()), &mut io::stderr())))
}

fn files(args: &ExtractArgs, rules: &Rules, out: &mut impl Write, err: &mut impl Write) -> io::Result<u8> {
    let stdin = [PathBuf::from("-")];
    let mut code = EXIT_DONE;
    for path in if args.files.is_empty() { &stdin[..] } else { &args.files } {
        let name = path.display().to_string();
        if name == "-" {
            if !lines(io::stdin().lock(), "stdin", Path::new(""), rules, out, err)? {
                code = code.max(EXIT_FAILED);
            }
            continue;
        }
        match File::open(path) {
            Ok(file) => {
                let folder = path.parent().unwrap_or(Path::new(""));
                if !lines(BufReader::new(file), &name, folder, rules, out, err)? {
                    code = code.max(EXIT_FAILED);
                }
            }
            Err(why) => {
                code = EXIT_NO_INPUT;
                writeln!(err, "fallah: {name} cannot be read: {why}")?;
            }
        }
    }
    out.flush()?;
    Ok(code)
}

fn read_rules(path: &Path) -> Result<Rules, Unusable> {
    let text = std::fs::read_to_string(path)
        .map_err(|why| Unusable(format!("the rules {} cannot be read: {why}", path.display())))?;
    toml::from_str(&text)
        .map_err(|why| Unusable(format!("the rules {} make no sense: {}", path.display(), why.message())))
}

fn lines(
    mut input: impl BufRead,
    name: &str,
    folder: &Path,
    rules: &Rules,
    out: &mut impl Write,
    err: &mut impl Write,
) -> io::Result<bool> {
    let mut all_well = true;
    let mut line = Vec::new();
    for number in 1_u64.. {
        line.clear();
        if io::Read::take(&mut input, LINE_BYTES_MAX as u64).read_until(b'\n', &mut line)? == 0 {
            break;
        }
        if line.iter().all(u8::is_ascii_whitespace) {
            continue;
        }
        let (id, result) = one(&line, folder, rules);
        match result {
            Ok(article) => serde_json::to_writer(&mut *out, &output(&id, article))?,
            Err(why) => {
                all_well = false;
                writeln!(err, "fallah: {name}, line {number}: {why}")?;
                serde_json::to_writer(&mut *out, &Failure { id: &id, error: why })?;
            }
        }
        out.write_all(b"\n")?;
    }
    Ok(all_well)
}

/// Reads one line; with its id, as far as that can be told.
fn one(line: &[u8], folder: &Path, rules: &Rules) -> (Option<serde_json::Value>, Result<Extracted, String>) {
    if line.len() >= LINE_BYTES_MAX {
        return (None, Err(format!("the line has more than {LINE_BYTES_MAX} bytes")));
    }
    let input: Input = match serde_json::from_slice(line) {
        Ok(input) => input,
        Err(why) => {
            // A line of the wrong shape may still say which one it is.
            let id = serde_json::from_slice::<serde_json::Value>(line).ok().and_then(|v| v.get("id").cloned());
            return (id, Err(format!("the line is not {{id, url, html}}: {why}")));
        }
    };
    let html = match (&input.html, &input.path) {
        (Some(html), _) => Ok(html.clone()),
        (None, Some(path)) => {
            read_page(&folder.join(path)).map_err(|why| format!("{} cannot be read: {why}", path.display()))
        }
        (None, None) => Err("the line has neither html nor path".to_owned()),
    };
    let result =
        html.and_then(|html| extract(&Page { url: &input.url, html: &html }, rules).map_err(|why| why.to_string()));
    (input.id, result)
}

/// A page from a file, packed or not, of any encoding.
fn read_page(path: &Path) -> io::Result<String> {
    let file = File::open(path)?;
    let bytes_max = super::html::PAGE_BYTES_MAX as u64 + 1;
    let mut bytes = Vec::new();
    if path.extension().is_some_and(|e| e == "gz") {
        io::Read::read_to_end(&mut io::Read::take(flate2::read::MultiGzDecoder::new(file), bytes_max), &mut bytes)?;
    } else {
        io::Read::read_to_end(&mut io::Read::take(file, bytes_max), &mut bytes)?;
    }
    Ok(decode(&bytes, None))
}

fn output(id: &Option<serde_json::Value>, article: Extracted) -> Output<'_> {
    Output {
        id,
        title: article.title,
        authors: article.authors.into_iter().map(|a| a.name).collect(),
        date: article.published_at.map(|m| m.day().to_string()),
        published_at: article.published_at.map(|m| m.to_string()),
        modified_at: article.modified_at.map(|m| m.to_string()),
        body: article.body,
        lead: article.lead,
        image: article.image,
        section: article.section,
        tags: article.tags,
        language: article.language,
        canonical_url: article.canonical_url,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn run_on(input: &str) -> (bool, Vec<serde_json::Value>, String) {
        let (mut out, mut err) = (Vec::new(), Vec::new());
        let well =
            lines(input.as_bytes(), "in", Path::new(""), &Rules::default(), &mut out, &mut err).expect("memory");
        let lines = String::from_utf8(out).expect("text");
        let values = lines.lines().map(|l| serde_json::from_str(l).expect("json")).collect();
        (well, values, String::from_utf8(err).expect("text"))
    }

    #[test]
    fn a_page_in_is_an_article_out() {
        let (well, out, err) =
            run_on(r#"{"id":7,"url":"https://n.test/2024/05/01/x","html":"<h1>Rain at last</h1><p>text"}"#);
        assert!(well && err.is_empty());
        assert_eq!(
            (&out[0]["id"], &out[0]["title"], &out[0]["date"]),
            (&7.into(), &"Rain at last".into(), &"2024-05-01".into())
        );
    }

    #[test]
    fn a_bad_line_is_told_and_the_next_one_is_read() {
        let (well, out, err) = run_on(
            "{\"id\":\"a\",\"url\":1}\nnonsense\n\n{\"id\":\"b\",\"url\":\"https://n.test/\"}\n{\"id\":\"c\",\"url\":\"\",\"html\":\"<p>x\"}\n",
        );
        assert!(!well);
        assert_eq!(out.len(), 4);
        assert_eq!(out[0]["id"], "a");
        assert!(out[1].get("id").is_none() && out[1]["error"].is_string());
        assert_eq!(out[2]["error"], "the line has neither html nor path");
        assert_eq!(out[3]["id"], "c");
        assert!(err.contains("in, line 2: ") && err.contains("in, line 4: "), "{err}");
    }
}
