//! What a metric is. Each program has one table of them, from which `docs/metrics.md` is made.

/// What Prometheus makes of a metric.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// It only rises, while the process lives.
    Counter,
    /// It is as it is now.
    Gauge,
    /// How many were below each bound.
    Histogram,
}

impl Kind {
    /// As Prometheus calls it.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Counter => "counter",
            Self::Gauge => "gauge",
            Self::Histogram => "histogram",
        }
    }
}

/// Where a metric comes from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Source {
    /// Counted in this process, from its start.
    Process,
    /// Read from where it lies when somebody asks. All who share that tell the same.
    Store,
}

impl Source {
    /// As the page about metrics calls it.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Process => "process",
            Self::Store => "store",
        }
    }
}

/// A metric.
#[derive(Debug)]
pub struct Metric {
    /// Its name, which begins with that of its program.
    pub name: &'static str,
    /// What Prometheus makes of it.
    pub kind: Kind,
    /// Where it comes from.
    pub source: Source,
    /// The names of its labels.
    pub labels: &'static [&'static str],
    /// What it says.
    pub help: &'static str,
}

/// A metric, in one line.
pub const fn metric(
    name: &'static str,
    kind: Kind,
    source: Source,
    labels: &'static [&'static str],
    help: &'static str,
) -> Metric {
    Metric { name, kind, source, labels, help }
}
