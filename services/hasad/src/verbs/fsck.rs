//! `hasad fsck`: whether rows and objects belong together.

use std::process::ExitCode;

use clap::Args;
use terminal::printable;

use super::progress::bar;
use super::{CONNECTIONS, count};
use crate::archive::{look_whose, own};
use crate::check::{Check, Checked, FAULTS_MAX, Kind, Sample};
use crate::config::{Database, LIMITS, OUTPUT, Place, WHICH};
use crate::{Error, store};

#[derive(Debug, Args)]
#[command(after_help = "Examples:
  hasad fsck                                           everything, every byte
  hasad fsck --sample 5%                               all rows and sizes; one object in twenty is read, and at least one
  hasad fsck --sample 0                                rows and sizes alone
  hasad fsck --repair
  hasad fsck --json | jq -r '.faults[] | select(.kind == \"missing\").what'
  hasad fsck --ignore gap

What is found: missing, wrong_size, corrupt, orphan, stranger, two_current, wrong_current, gap, no_constraint.
`--repair` mends two_current, wrong_current and no_constraint; gives an orphan a row, so that gc deletes it; corrects the size
of a sound object; and sets aside an object with wrong bytes, so that `import-ndjson` of an export writes it anew. What is
missing it cannot invent. Of what rows alone tell, 10,000 faults are looked through at once, and it is said if there are
more (`more` in JSON). Exit codes: 0 all is sound, 1 something was found (also if it was mended).")]
pub(crate) struct Arguments {
    /// How many objects are read and hashed: a number, or a percentage; rows and sizes are always checked
    #[arg(long, default_value = "100%", value_name = "N|PERCENT%", value_parser = sample, help_heading = LIMITS)]
    sample: Sample,

    /// Mend what can be mended
    #[arg(long)]
    repair: bool,

    /// Faults of this kind are known, and not told
    #[arg(long, value_name = "KIND", value_delimiter = ',', help_heading = WHICH)]
    ignore: Vec<Kind>,

    /// As JSON
    #[arg(long, help_heading = OUTPUT)]
    json: bool,

    #[command(flatten)]
    database: Database,
    #[command(flatten)]
    place: Place,
}

fn sample(text: &str) -> Result<Sample, String> {
    let wrong = || "a sample is a number of objects, or a percentage such as 5%".to_owned();
    match text.strip_suffix('%') {
        Some(percent) => {
            let percent: f64 = percent.parse().map_err(|_| wrong())?;
            if (0.0..=100.0).contains(&percent) { Ok(Sample::Percent(percent)) } else { Err(wrong()) }
        }
        None => text.parse().map(Sample::Count).map_err(|_| wrong()),
    }
}

pub(crate) async fn run(arguments: &Arguments) -> anyhow::Result<ExitCode> {
    let objects = arguments.place.open_shared()?;
    let db = arguments.database.pool_for_scans(CONNECTIONS).await?;
    if arguments.repair {
        own(&db, &objects).await?;
    } else {
        look_whose(&db, &objects).await?;
    }
    let began = jiff::Timestamp::now();
    let count = store::object_count(&db).await.map_err(Error::Database)?;
    let bar = bar(count.unsigned_abs(), "{elapsed_precise} [{bar:40}] {pos}/{len} objects, {msg}");
    let tell = |checked: &Checked| {
        bar.set_position(checked.objects);
        bar.set_message(format!("{} read, {} faults", checked.hashed, checked.totals().0));
    };
    let check = Check {
        db: &db,
        objects: &objects,
        sample: arguments.sample,
        repair: arguments.repair,
        ignore: &arguments.ignore,
        tell: &tell,
    };
    let checked = check.run().await;
    bar.finish_and_clear();
    let checked = checked?;
    let (faults, _) = checked.totals();
    let report =
        serde_json::json!({ "counts": checked.counts, "objects": checked.objects, "hashed": checked.hashed });
    store::note_run(&db, "fsck", began, faults as i64, &report.to_string()).await.map_err(Error::Database)?;
    if arguments.json {
        terminal::print_json(&checked)?;
    } else {
        terminal::print(&words(&checked));
    }
    Ok(if faults == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

fn words(checked: &Checked) -> String {
    let mut text = String::new();
    for fault in &checked.faults {
        let mended = fault.mended.map(|mended| format!("; {mended}")).unwrap_or_default();
        let kind = serde_json::to_value(fault.kind).unwrap_or_default();
        text += &format!("{}: {} {}{mended}\n", kind.as_str().unwrap_or_default(), printable(&fault.what), fault.how);
    }
    for (kind, count) in checked.counts.iter().filter(|(_, count)| **count > FAULTS_MAX as u64) {
        text += &format!("{kind:?}: {count} in all\n");
    }
    if checked.more {
        text += &format!(
            "rows were looked through up to {FAULTS_MAX} faults, and there are more: mend or --ignore these, and check again\n"
        );
    }
    let (faults, mended) = checked.totals();
    let read = format!(
        "{}, {}, {} of them read ({} bytes)",
        count(checked.versions.unsigned_abs(), "version"),
        count(checked.objects, "object"),
        checked.hashed,
        checked.bytes_hashed
    );
    let least = if checked.more { "at least " } else { "" };
    text + &match (faults, mended) {
        (0, _) => format!("{read}: all is sound\n"),
        (faults, 0) => format!("{read}: {least}{}\n", count(faults, "fault")),
        (faults, mended) => format!("{read}: {least}{}, {mended} of them mended\n", count(faults, "fault")),
    }
}

#[cfg(test)]
mod tests {
    use super::{Sample, sample};

    #[test]
    fn a_sample_is_a_number_or_a_percentage() {
        assert_eq!(sample("5%"), Ok(Sample::Percent(5.0)));
        assert_eq!(sample("0"), Ok(Sample::Count(0)));
        for wrong in ["101%", "-1", "many", "%", "NaN%"] {
            assert!(sample(wrong).is_err(), "{wrong}");
        }
    }
}
