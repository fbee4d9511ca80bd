//! `fallah url normalize`: the address under which a URL is known.

use std::io::{self, BufRead, Write};
use std::process::ExitCode;

use clap::Args;
use serde::Serialize;

use super::Address;
use crate::exit::{self, EXIT_DONE, EXIT_FAILED, EXIT_USAGE, printable};

/// Print the address under which a URL is fetched, compared and stored
#[derive(Debug, Clone, Args)]
#[command(after_help = "\
Examples:
  fallah url normalize 'HTTPS://Example.org:443/%7ea?utm_source=x&id=5#top'
  fallah url normalize --json < urls.txt

Exit code: 0 when every URL is an address, 1 when one is not, 64 for wrong arguments.")]
pub struct NormalizeArgs {
    /// The URLs; without any, one a line from standard input
    #[arg(value_name = "URL")]
    pub urls: Vec<String>,

    /// Read relative URLs as if they stood on the page at this URL
    #[arg(long, value_name = "URL")]
    pub base: Option<String>,

    /// Print one JSON object a line: {given, address, site, home} or {given, error}
    #[arg(long)]
    pub json: bool,
}

#[derive(Serialize)]
struct Line<'a> {
    given: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    address: Option<&'a Address>,
    #[serde(skip_serializing_if = "Option::is_none")]
    site: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    home: Option<bool>,
    #[serde(skip_serializing_if = "Option::is_none")]
    error: Option<String>,
}

/// Runs `fallah url normalize`.
pub fn normalize(args: &NormalizeArgs) -> ExitCode {
    exit::code(run(args, io::stdin().lock(), &mut io::BufWriter::new(io::stdout().lock())))
}

fn run(args: &NormalizeArgs, input: impl BufRead, output: &mut impl Write) -> io::Result<u8> {
    let base = match args.base.as_deref().map(Address::parse).transpose() {
        Ok(base) => base,
        Err(error) => {
            eprintln!("fallah: --base: {error}");
            return Ok(EXIT_USAGE);
        }
    };
    let mut code = EXIT_DONE;
    let mut one = |given: &str| {
        let read = base.as_ref().map_or_else(|| Address::parse(given), |base| base.join(given));
        if read.is_err() {
            code = EXIT_FAILED;
        }
        let address = read.as_ref().ok();
        if args.json {
            let error = read.as_ref().err().map(ToString::to_string);
            let (site, home) = (address.map(Address::site), address.map(Address::is_home));
            serde_json::to_writer(&mut *output, &Line { given, address, site, home, error })?;
            writeln!(output)
        } else {
            match &read {
                Ok(address) => writeln!(output, "{address}"),
                Err(error) => {
                    eprintln!("fallah: {}: {error}", printable(given));
                    Ok(())
                }
            }
        }
    };
    if args.urls.is_empty() {
        for line in input.lines() {
            let line = line?;
            if !line.trim().is_empty() {
                one(&line)?;
            }
        }
    } else {
        args.urls.iter().try_for_each(|given| one(given))?;
    }
    output.flush()?;
    Ok(code)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn said(args: &NormalizeArgs, input: &str) -> (u8, String) {
        let mut output = Vec::new();
        let code = run(args, input.as_bytes(), &mut output).expect("memory can be written");
        (code, String::from_utf8(output).expect("text"))
    }

    #[test]
    fn urls_come_from_arguments_or_lines() {
        let args = NormalizeArgs { urls: vec!["HTTPS://A.org/?fbclid=1".into()], base: None, json: false };
        assert_eq!(said(&args, ""), (EXIT_DONE, "https://a.org/\n".into()));
        let args = NormalizeArgs { urls: Vec::new(), base: Some("https://a.org/b/".into()), json: false };
        assert_eq!(said(&args, "c\n\n../d\n"), (EXIT_DONE, "https://a.org/b/c\nhttps://a.org/d\n".into()));
    }

    #[test]
    fn what_is_no_address_says_why_and_fails() {
        let args = NormalizeArgs { urls: vec!["mailto:a@b.org".into()], base: None, json: true };
        let (code, text) = said(&args, "");
        assert_eq!(code, EXIT_FAILED);
        assert_eq!(text, "{\"given\":\"mailto:a@b.org\",\"error\":\"mailto is neither http nor https\"}\n");
        let args = NormalizeArgs { urls: Vec::new(), base: Some("b".into()), json: false };
        assert_eq!(said(&args, "").0, EXIT_USAGE);
    }
}
