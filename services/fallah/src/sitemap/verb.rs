//! `fallah sitemap parse`: what a sitemap or a feed names.

use std::fs::File;
use std::io::{self, Read, Write};
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap::Args;

use super::{Entry, EntryKind, Limits, Reach, Summary, read};
use crate::address::Address;
use crate::exit::{self, EXIT_DONE, EXIT_FAILED, EXIT_NO_INPUT, EXIT_USAGE, printable};

/// List what a sitemap, an index, a feed or a list of URLs names
#[derive(Debug, Clone, Args)]
#[command(after_help = "\
Examples:
  fallah sitemap parse sitemap.xml.gz --base https://example.org/sitemap.xml.gz
  curl -s https://example.org/feed | fallah sitemap parse - --base https://example.org/feed --json

Exit code: 0 when the file was read, even if not to its end; 1 when it is no sitemap, 64 for wrong arguments, 66 when it
cannot be opened.")]
pub struct ParseArgs {
    /// The file, plain or compressed by gzip, or - for standard input
    #[arg(value_name = "FILE")]
    pub file: PathBuf,

    /// The URL that the file came from: relative addresses are resolved against it
    #[arg(long, value_name = "URL")]
    pub base: String,

    /// Print one JSON object a line: {loc, kind, reach, lastmod, published_at, title, language, alternates}
    #[arg(long)]
    pub json: bool,

    /// Read no more than this many bytes, after decompression
    #[arg(long, value_name = "BYTES", default_value_t = Limits::default().bytes_max)]
    pub bytes_max: u64,

    /// Read no more than this many entries
    #[arg(long, value_name = "ENTRIES", default_value_t = Limits::default().entries_max)]
    pub entries_max: u64,
}

/// Runs `fallah sitemap parse`.
pub fn parse(args: &ParseArgs) -> ExitCode {
    let mut output = io::BufWriter::new(io::stdout().lock());
    exit::code(run(args, &mut output, &mut io::stderr()))
}

fn run(args: &ParseArgs, output: &mut impl Write, errors: &mut impl Write) -> io::Result<u8> {
    let base = match Address::parse(&args.base) {
        Ok(base) => base,
        Err(error) => {
            writeln!(errors, "fallah: --base: {error}")?;
            return Ok(EXIT_USAGE);
        }
    };
    let file: Box<dyn Read> = if args.file == Path::new("-") {
        Box::new(io::stdin().lock())
    } else {
        match File::open(&args.file) {
            Ok(file) => Box::new(file),
            Err(error) => {
                writeln!(errors, "fallah: {} cannot be read: {error}", args.file.display())?;
                return Ok(EXIT_NO_INPUT);
            }
        }
    };
    let limits = Limits { bytes_max: args.bytes_max, entries_max: args.entries_max, ..Limits::default() };
    // The reader goes on when nobody listens any more; what went wrong first is told at its end.
    let mut written = Ok(());
    let read = read(file, &base, &limits, |entry| {
        if written.is_ok() {
            written = if args.json { json(output, &entry) } else { row(output, &entry) };
        }
    });
    written?;
    output.flush()?;
    match read {
        Ok(summary) => {
            tell(errors, &summary)?;
            Ok(EXIT_DONE)
        }
        Err(why) => {
            writeln!(errors, "fallah: {}: {why}", args.file.display())?;
            Ok(EXIT_FAILED)
        }
    }
}

fn json(output: &mut impl Write, entry: &Entry) -> io::Result<()> {
    serde_json::to_writer(&mut *output, entry)?;
    writeln!(output)
}

fn row(output: &mut impl Write, entry: &Entry) -> io::Result<()> {
    let kind = match entry.kind {
        EntryKind::Page => "page",
        EntryKind::Sitemap => "sitemap",
    };
    let lastmod = entry.lastmod.map_or_else(|| "-".to_owned(), |at| at.strftime("%Y-%m-%dT%H:%M:%SZ").to_string());
    let foreign = if entry.reach == Reach::Foreign { "  (another site)" } else { "" };
    let title = entry.title.as_deref().map(|title| format!("  {}", printable(title))).unwrap_or_default();
    writeln!(output, "{kind:<7}  {lastmod:<20}  {}{foreign}{title}", entry.loc)
}

fn tell(errors: &mut impl Write, summary: &Summary) -> io::Result<()> {
    let Summary { kind, entries, notes, notes_left_out, cut } = summary;
    writeln!(errors, "{kind}: {entries} {}", if *entries == 1 { "entry" } else { "entries" })?;
    for note in notes {
        writeln!(errors, "  {note}")?;
    }
    if *notes_left_out > 0 {
        writeln!(errors, "  and {notes_left_out} further notes")?;
    }
    match cut {
        Some(cut) => writeln!(errors, "  not read to its end: {cut}"),
        None => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn said(text: &str, json: bool) -> (u8, String, String) {
        let file = tempfile::NamedTempFile::new().expect("a file");
        std::fs::write(file.path(), text).expect("a file");
        let args = ParseArgs {
            file: file.path().to_owned(),
            base: "https://a.org/s.xml".into(),
            json,
            bytes_max: 1_000_000,
            entries_max: 2,
        };
        let (mut output, mut errors) = (Vec::new(), Vec::new());
        let code = run(&args, &mut output, &mut errors).expect("memory can be written");
        (code, String::from_utf8(output).expect("text"), String::from_utf8(errors).expect("text"))
    }

    #[test]
    fn json_has_a_line_for_each_entry() {
        let (code, text, summary) =
            said("<urlset><url><loc>/a</loc><lastmod>2024-05-01</lastmod></url></urlset>", true);
        assert_eq!(code, EXIT_DONE);
        assert_eq!(
            text,
            "{\"loc\":\"https://a.org/a\",\"kind\":\"page\",\"reach\":\"host\",\"lastmod\":\"2024-05-01T00:00:00Z\"}\n"
        );
        assert_eq!(summary, "sitemap: 1 entry\n  entry 1 has a relative address\n");
    }

    #[test]
    fn a_table_is_for_people() {
        let (code, text, summary) = said("https://a.org/1\nhttps://b.org/2\nhttps://a.org/3\n", false);
        assert_eq!(code, EXIT_DONE);
        assert_eq!(
            text,
            "page     -                     https://a.org/1\npage     -                     https://b.org/2  (another site)\n"
        );
        assert_eq!(summary, "text sitemap: 2 entries\n  not read to its end: the file has too many entries\n");
    }

    #[test]
    fn what_is_no_sitemap_fails_with_a_sentence() {
        let (code, text, errors) = said("<!doctype html><html></html>", true);
        assert_eq!((code, text.as_str()), (EXIT_FAILED, ""));
        assert!(errors.ends_with(": this is an HTML page\n"), "{errors}");
    }
}
