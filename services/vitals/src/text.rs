//! Figures as Prometheus reads them.

use std::fmt::Write as _;

use crate::metric::Metric;

/// What kind of text it is.
pub const MIME: &str = "text/plain; version=0.0.4; charset=utf-8";

/// The text that Prometheus reads.
#[derive(Debug, Default)]
pub struct Text {
    text: String,
    told: Option<&'static str>,
}

impl Text {
    /// One value of a metric, with a value for each of its labels. All values of one metric come one after another.
    pub fn value(&mut self, metric: &Metric, labels: &[&str], value: f64) {
        self.head(metric);
        self.line(metric.name, metric.labels, labels, value);
    }

    /// A histogram: its bounds in seconds with what lies below each by itself, what lies above all of them, and the sum.
    pub fn histogram(&mut self, metric: &Metric, below: &[(f64, u64)], above: u64, sum: f64) {
        self.head(metric);
        let bucket = format!("{}_bucket", metric.name);
        let mut all = 0;
        for (bound, number) in below {
            all += number;
            self.line(&bucket, &["le"], &[&bound.to_string()], all as f64);
        }
        all += above;
        self.line(&bucket, &["le"], &["+Inf"], all as f64);
        self.line(&format!("{}_sum", metric.name), &[], &[], sum);
        self.line(&format!("{}_count", metric.name), &[], &[], all as f64);
    }

    /// All of it.
    pub fn into_text(self) -> String {
        self.text
    }

    fn head(&mut self, metric: &Metric) {
        if self.told != Some(metric.name) {
            self.told = Some(metric.name);
            let _ = writeln!(
                self.text,
                "# HELP {} {}\n# TYPE {} {}",
                metric.name,
                metric.help,
                metric.name,
                metric.kind.as_str()
            );
        }
    }

    fn line(&mut self, name: &str, labels: &[&str], values: &[&str], value: f64) {
        debug_assert_eq!(labels.len(), values.len(), "{name} has a value for each label");
        self.text.push_str(name);
        for (at, (label, value)) in labels.iter().zip(values).enumerate() {
            let value = value.replace('\\', "\\\\").replace('"', "\\\"").replace('\n', "\\n");
            let open = if at == 0 { '{' } else { ',' };
            let _ = write!(self.text, "{open}{label}=\"{value}\"");
        }
        self.text.push_str(if labels.is_empty() { " " } else { "} " });
        let _ = writeln!(self.text, "{value}");
    }
}

/// Memory that this process has in use, in bytes; where the system tells it.
pub fn memory() -> Option<u64> {
    let status = std::fs::read_to_string("/proc/self/status").ok()?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"))?;
    line.trim().strip_suffix(" kB")?.parse::<u64>().ok().map(|kib| kib * 1024)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::metric::{Kind, Source, metric};

    const WAITING: Metric = metric("some_waiting", Kind::Gauge, Source::Store, &["stream"], "What waits.");
    const LATENCY: Metric = metric("some_latency_seconds", Kind::Histogram, Source::Process, &[], "How long.");

    #[test]
    fn a_label_may_hold_anything() {
        let mut text = Text::default();
        text.value(&WAITING, &["a\"b\\c\nd"], 1.5);
        assert!(text.into_text().ends_with("some_waiting{stream=\"a\\\"b\\\\c\\nd\"} 1.5\n"));
    }

    #[test]
    fn a_histogram_counts_what_lies_below_each_bound() {
        let mut text = Text::default();
        text.histogram(&LATENCY, &[(0.5, 2), (1.0, 3)], 1, 7.25);
        let text = text.into_text();
        let lines: Vec<_> = text.lines().skip(2).collect();
        assert_eq!(
            lines,
            [
                "some_latency_seconds_bucket{le=\"0.5\"} 2",
                "some_latency_seconds_bucket{le=\"1\"} 5",
                "some_latency_seconds_bucket{le=\"+Inf\"} 6",
                "some_latency_seconds_sum 7.25",
                "some_latency_seconds_count 6",
            ]
        );
    }
}
