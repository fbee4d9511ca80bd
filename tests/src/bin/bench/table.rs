//! The one table: each figure with its spread, what it is measured against, and whether the target is reached.

use std::fmt::Write as _;

use serde_json::{Value, json};

use outbox_tests::Samples;

/// What must be reached (`docs`' figures; nothing else in this program is written down beforehand).
#[derive(Clone, Copy, Debug)]
pub enum Target {
    AtLeast(f64),
    AtMost(f64),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Unit {
    PerSecond,
    Milliseconds,
    Microseconds,
    Percent,
    Megabytes,
}

/// One section: what was measured in the same rounds.
pub struct Section {
    pub name: &'static str,
    /// Under which conditions.
    pub conditions: String,
    pub lines: Vec<Line>,
}

pub struct Line {
    what: String,
    unit: Unit,
    samples: Samples,
    target: Option<Target>,
    comparisons: Vec<Comparison>,
    note: Option<String>,
}

struct Comparison {
    with: String,
    value: f64,
    ratio: Samples,
    target: Option<Target>,
}

impl Line {
    pub fn new(what: impl Into<String>, unit: Unit, samples: &Samples) -> Self {
        let (samples, comparisons) = (samples.clone(), vec![]);
        Self { what: what.into(), unit, samples, target: None, comparisons, note: None }
    }

    /// What the figure itself must be.
    pub fn target(mut self, target: Target) -> Self {
        self.target = Some(target);
        self
    }

    /// What it is of another figure, taken in the same rounds.
    pub fn beside(self, with: impl Into<String>, those: &Samples) -> Self {
        self.compare(with, those, None)
    }

    /// The same, and what the ratio must be.
    pub fn must(self, with: impl Into<String>, those: &Samples, target: Target) -> Self {
        self.compare(with, those, Some(target))
    }

    pub fn note(mut self, note: impl Into<String>) -> Self {
        self.note = Some(note.into());
        self
    }

    fn compare(mut self, with: impl Into<String>, those: &Samples, target: Option<Target>) -> Self {
        let ratio = self.samples.over(those);
        self.comparisons.push(Comparison { with: with.into(), value: those.median(), ratio, target });
        self
    }

    fn json(&self) -> Value {
        let comparisons = self.comparisons.iter().map(|c| {
            json!({ "with": c.with, "value": c.value, "ratio": c.ratio.median(), "ratio_min": c.ratio.min(),
                    "ratio_max": c.ratio.max(), "target": c.target.map(Target::text),
                    "reached": c.target.map(|target| target.reached_by(c.ratio.median())) })
        });
        json!({ "what": self.what, "unit": self.unit.name(), "median": self.samples.median(),
                "min": self.samples.min(), "max": self.samples.max(), "rounds": self.samples.len(),
                "target": self.target.map(Target::text),
                "reached": self.target.map(|target| target.reached_by(self.samples.median())),
                "beside": comparisons.collect::<Vec<_>>(), "note": self.note })
    }

    /// One row for the figure and the first comparison, one more for each further one.
    fn rows(&self) -> Vec<[String; COLUMNS]> {
        let spread = match self.samples.len() {
            0 | 1 => String::new(),
            _ => format!("{} .. {}", self.unit.bare(self.samples.min()), self.unit.bare(self.samples.max())),
        };
        let (target, verdict) = words(self.target, self.samples.median());
        let own = [self.what.clone(), self.unit.show(self.samples.median()), spread];
        let [what, measured, spread] = own;
        let mut rows = vec![[what, measured, spread, String::new(), String::new(), target, verdict]];
        for comparison in &self.comparisons {
            let ratio = comparison.ratio.median();
            let beside = format!("{}  {}", comparison.with, self.unit.show(comparison.value));
            let (target, verdict) = words(comparison.target, ratio);
            let first = &mut rows[0];
            if first[3].is_empty() && first[5].is_empty() {
                first[3..].clone_from_slice(&[beside, times(ratio), target, verdict]);
            } else {
                let [a, b, c] = <[String; 3]>::default();
                rows.push([a, b, c, beside, times(ratio), target, verdict]);
            }
        }
        rows
    }
}

impl Target {
    fn reached_by(self, value: f64) -> bool {
        match self {
            Self::AtLeast(least) => value >= least,
            Self::AtMost(most) => value <= most,
        }
    }

    fn text(self) -> String {
        match self {
            Self::AtLeast(least) => format!(">= {least}"),
            Self::AtMost(most) => format!("<= {most}"),
        }
    }
}

impl Unit {
    fn show(self, value: f64) -> String {
        let suffix = match self {
            Self::PerSecond => "/s",
            Self::Milliseconds => " ms",
            Self::Microseconds => " µs",
            Self::Percent => " %",
            Self::Megabytes => " MB",
        };
        if value.is_nan() { "not measured".to_owned() } else { self.bare(value) + suffix }
    }

    fn bare(self, value: f64) -> String {
        match self {
            Self::PerSecond => thousands(value),
            Self::Microseconds | Self::Megabytes => format!("{value:.1}"),
            Self::Milliseconds | Self::Percent => format!("{value:.2}"),
        }
    }

    fn name(self) -> &'static str {
        match self {
            Self::PerSecond => "per_second",
            Self::Milliseconds => "milliseconds",
            Self::Microseconds => "microseconds",
            Self::Percent => "percent",
            Self::Megabytes => "megabytes",
        }
    }
}

const COLUMNS: usize = 7;
const HEAD: [&str; COLUMNS] = ["", "median", "min .. max", "beside, in the same run", "ratio", "target", ""];

/// All sections under one head.
pub fn print(machine: &str, sections: &[Section]) -> String {
    let head = HEAD.map(str::to_owned);
    let tables: Vec<Vec<_>> = sections.iter().map(|s| s.lines.iter().flat_map(Line::rows).collect()).collect();
    let width = |column: usize| {
        let cells = tables.iter().flatten().chain([&head]).map(|row| row[column].chars().count());
        cells.max().unwrap_or_default()
    };
    let widths: Vec<usize> = (0..COLUMNS).map(width).collect();
    let line = |row: &[String; COLUMNS]| {
        let cell = |(at, text): (usize, &String)| match at {
            // Numbers stand under each other.
            1 | 4 => format!("{text:>width$}", width = widths[at]),
            _ => format!("{text:<width$}", width = widths[at]),
        };
        row.iter().enumerate().map(cell).collect::<Vec<_>>().join("  ").trim_end().to_owned()
    };

    let mut text = format!("{machine}\n\n{}\n", line(&head));
    for (section, rows) in sections.iter().zip(&tables) {
        let _ = writeln!(text, "\n{}: {}", section.name, section.conditions);
        for row in rows {
            let _ = writeln!(text, "{}", line(row));
        }
        for (line, note) in section.lines.iter().filter_map(|line| Some((line, line.note.as_ref()?))) {
            let _ = writeln!(text, "  ({}: {note})", line.what);
        }
    }
    text
}

pub fn json(machine: &Value, sections: &[Section]) -> Value {
    let section = |s: &Section| {
        let lines: Vec<_> = s.lines.iter().map(Line::json).collect();
        json!({ "name": s.name, "conditions": s.conditions, "lines": lines })
    };
    json!({ "machine": machine, "sections": sections.iter().map(section).collect::<Vec<_>>() })
}

fn words(target: Option<Target>, value: f64) -> (String, String) {
    let verdict = |target: Target| if target.reached_by(value) { "reached" } else { "MISSED" };
    target.map(|target| (target.text(), verdict(target).to_owned())).unwrap_or_default()
}

fn times(ratio: f64) -> String {
    if ratio >= 10.0 { format!("{ratio:.1}") } else { format!("{ratio:.3}") }
}

/// 168000 as 168,000.
fn thousands(value: f64) -> String {
    let digits = format!("{value:.0}");
    let mut text = String::new();
    for (at, digit) in digits.chars().enumerate() {
        if at > 0 && (digits.len() - at).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_says_its_spread_its_ratio_and_its_verdict() {
        let mut rates = Samples::one(100.0);
        rates.push(300.0);
        let line = Line::new("ours", Unit::PerSecond, &rates).must("limit", &rates, Target::AtLeast(1.5));
        let rows = line.rows();
        assert_eq!(rows[0], ["ours", "200/s", "100 .. 300", "limit  200/s", "1.000", ">= 1.5", "MISSED"]);
    }

    #[test]
    fn a_figure_that_could_not_be_taken_reaches_nothing() {
        let line = Line::new("x", Unit::Percent, &Samples::default()).target(Target::AtMost(1.0));
        assert_eq!(line.rows()[0][1..], ["not measured", "", "", "", "<= 1", "MISSED"].map(str::to_owned));
    }

    #[test]
    fn large_numbers_can_be_read() {
        assert_eq!(["7", "999", "1,000", "1,234,567"], [7.0, 999.0, 1e3, 1_234_567.0].map(thousands));
    }
}
