//! `fallah robots check`: what a robots.txt says of some URLs.

use std::io::{self, Read, Write};
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap::Args;
use serde::Serialize;
use url::{Position, Url};

use super::{ROBOTS_BYTES_MAX, Robots, Rule, Why};
use crate::exit::{self, EXIT_DONE, EXIT_FAILED, EXIT_NO_INPUT, EXIT_USAGE, printable};

/// Say which URLs a robots.txt allows, and which rule decides
#[derive(Debug, Clone, Args)]
#[command(after_help = "\
Examples:
  fallah robots check robots.txt Fallah https://example.org/news/5 /private/
  curl -s https://example.org/robots.txt | fallah robots check --json - Fallah /

Exit code: 0 when every URL is allowed, 1 when one is not, 64 for wrong arguments, 66 when the file cannot be read.")]
pub struct CheckArgs {
    /// A robots.txt, or - for standard input
    #[arg(value_name = "FILE")]
    pub file: PathBuf,

    /// The crawler's product token, such as Fallah
    #[arg(value_name = "AGENT")]
    pub agent: String,

    /// URLs, or paths that begin with /
    #[arg(value_name = "URL", required = true)]
    pub urls: Vec<String>,

    /// Print one JSON object a line: {url, allowed, rule, why, crawl_delay_seconds}
    #[arg(long)]
    pub json: bool,
}

#[derive(Serialize)]
struct Line<'a> {
    url: &'a str,
    allowed: bool,
    rule: Option<&'a Rule>,
    why: Why,
    crawl_delay_seconds: Option<f64>,
}

/// Runs `fallah robots check`.
pub fn check(args: &CheckArgs) -> ExitCode {
    exit::code(run(args, &mut io::BufWriter::new(io::stdout().lock())))
}

fn run(args: &CheckArgs, output: &mut impl Write) -> io::Result<u8> {
    let mut paths = Vec::new();
    for url in &args.urls {
        match path(url) {
            Some(path) => paths.push((url, path)),
            None => {
                eprintln!("fallah: {} is neither a URL of the web nor a path that begins with /", printable(url));
                return Ok(EXIT_USAGE);
            }
        }
    }
    let bytes = match read(&args.file) {
        Ok(bytes) => bytes,
        Err(error) => {
            eprintln!("fallah: {} cannot be read: {error}", args.file.display());
            return Ok(EXIT_NO_INPUT);
        }
    };
    let robots = Robots::parse(&bytes);
    let crawl_delay_seconds = robots.crawl_delay(&args.agent).map(|delay| delay.as_secs_f64());
    let mut code = EXIT_DONE;
    for (url, path) in paths {
        let verdict = robots.verdict(&args.agent, &path);
        let allowed = verdict.allowed;
        if !allowed {
            code = EXIT_FAILED;
        }
        if args.json {
            let line = Line { url, allowed, rule: verdict.rule.as_ref(), why: verdict.why, crawl_delay_seconds };
            serde_json::to_writer(&mut *output, &line)?;
            writeln!(output)?;
        } else {
            let word = if allowed { "allowed" } else { "disallowed" };
            let why = match &verdict.rule {
                Some(rule) => format!("line {}: {}", rule.line, printable(&rule.text)),
                None => verdict.why.to_string(),
            };
            writeln!(output, "{word:<10}  {}  ({why})", printable(url))?;
        }
    }
    output.flush()?;
    Ok(code)
}

/// Path and query as given: a rule may be about a parameter that an address would drop.
fn path(given: &str) -> Option<String> {
    if given.starts_with('/') {
        return Some(given.to_owned());
    }
    let url = Url::parse(given).ok().filter(|url| matches!(url.scheme(), "http" | "https"))?;
    Some(url[Position::BeforePath..Position::AfterQuery].to_owned())
}

fn read(file: &Path) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    // One byte more tells that there is more.
    let bytes_max = ROBOTS_BYTES_MAX as u64 + 1;
    if file == Path::new("-") {
        io::stdin().lock().take(bytes_max).read_to_end(&mut bytes)?;
    } else {
        std::fs::File::open(file)?.take(bytes_max).read_to_end(&mut bytes)?;
    }
    Ok(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn said(text: &str, urls: &[&str], json: bool) -> (u8, String) {
        let file = tempfile::NamedTempFile::new().expect("a file");
        std::fs::write(file.path(), text).expect("a file");
        let urls = urls.iter().map(|url| (*url).to_owned()).collect();
        let args = CheckArgs { file: file.path().to_owned(), agent: "Fallah".into(), urls, json };
        let mut output = Vec::new();
        let code = run(&args, &mut output).expect("memory can be written");
        (code, String::from_utf8(output).expect("text"))
    }

    #[test]
    fn each_url_has_a_line_with_its_rule() {
        let (code, text) = said("User-agent: *\nDisallow: /x\n", &["https://a.org/x/1", "/y"], false);
        assert_eq!(code, EXIT_FAILED);
        assert_eq!(
            text,
            "disallowed  https://a.org/x/1  (line 2: Disallow: /x)\nallowed     /y  (no rule matches)\n"
        );
    }

    #[test]
    fn json_has_a_line_for_each_url() {
        let (code, text) = said("User-agent: *\nCrawl-delay: 1.5\nAllow: /", &["/"], true);
        assert_eq!(code, EXIT_DONE);
        assert_eq!(
            text,
            "{\"url\":\"/\",\"allowed\":true,\"rule\":{\"line\":3,\"text\":\"Allow: /\"},\"why\":\"rule\",\
             \"crawl_delay_seconds\":1.5}\n"
        );
    }

    #[test]
    fn a_rule_about_a_tracking_parameter_is_seen() {
        assert_eq!(said("User-agent: *\nDisallow: /*utm_\n", &["https://a.org/?utm_source=x"], false).0, EXIT_FAILED);
    }

    #[test]
    fn wrong_arguments_and_missing_files_have_codes_of_their_own() {
        assert_eq!(said("", &["ftp://a.org/"], false).0, EXIT_USAGE);
        let args =
            CheckArgs { file: "/does/not/exist".into(), agent: "a".into(), urls: vec!["/".into()], json: false };
        assert_eq!(run(&args, &mut Vec::new()).expect("memory can be written"), EXIT_NO_INPUT);
    }
}
