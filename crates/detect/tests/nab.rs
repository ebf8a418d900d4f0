//! Seasons and thresholds that set themselves on the series of the Numenta Anomaly Benchmark: how many of its windows are told, and how
//! often else. The data is not ours to keep: `WATCHKEEPER_NAB` names a folder that has it (`cargo xtask behaviour --nab DIR`).

#![allow(clippy::unwrap_used, clippy::print_stdout, reason = "a test may fail, and says what it measures")]

use std::collections::BTreeMap;
use std::io::Write as _;
use std::path::Path;

use jiff::civil::DateTime;
use watchkeeper_detect::stats::{Season, Spot};

/// What of each series is for learning, as NAB has it.
const PROBATION: f64 = 0.15;
/// The probability with which an ordinary value is extreme. `application_volume_spike` has another, and more conditions beside: these series
/// are no calls by the hour (docs/reference/behaviour-quality.md).
const RISK: f64 = 1e-4;
/// Seconds for which an alarm holds.
const QUIET_S: i64 = 6 * 3_600;

/// Alarms of a series: the seconds at which each is.
fn alarms(points: &[(i64, f64)]) -> Vec<i64> {
    let (mut season, mut above, mut below) = (Season::default(), Spot::new(RISK), Spot::new(RISK));
    let mut said: Vec<i64> = Vec::new();
    for (time_s, value) in points {
        let hour = u32::try_from(time_s / 3_600).unwrap();
        let expected = season.expected(hour).unwrap_or(*value as f32);
        let off = value - f64::from(expected);
        // Both learn, whichever speaks.
        let (high, low) = (above.add(off), below.add(-off));
        if (high || low) && said.last().is_none_or(|last| time_s - last > QUIET_S) {
            said.push(*time_s);
        }
        season.learn(hour, *value as f32);
    }
    said
}

fn seconds(text: &str) -> i64 {
    let time: DateTime = text.split('.').next().unwrap().replace(' ', "T").parse().unwrap();
    time.to_zoned(jiff::tz::TimeZone::UTC).unwrap().timestamp().as_second()
}

fn series(path: &Path) -> Vec<(i64, f64)> {
    let text = std::fs::read_to_string(path).unwrap();
    let rows = text.lines().skip(1).map(|line| line.split_once(',').unwrap());
    rows.map(|(time, value)| (seconds(time), value.trim().parse().unwrap())).collect()
}

#[test]
fn windows_of_nab_are_told() {
    let Some(root) = std::env::var_os("WATCHKEEPER_NAB") else {
        // Not by `eprintln!`, which the harness keeps to itself where a test passes.
        let skipped = "\nSKIPPED windows_of_nab_are_told: nothing was measured; WATCHKEEPER_NAB names no copy of https://github.com/numenta/NAB";
        writeln!(std::io::stderr(), "{skipped}").unwrap();
        return;
    };
    let root = Path::new(&root);
    let labels = std::fs::read_to_string(root.join("labels/combined_windows.json")).unwrap();
    let labels: BTreeMap<String, Vec<[String; 2]>> = serde_json::from_str(&labels).unwrap();
    let mut folders: BTreeMap<&str, [usize; 4]> = BTreeMap::new();
    let mut told: BTreeMap<&str, Vec<i64>> = BTreeMap::new();
    for (name, windows) in &labels {
        let points = series(&root.join("data").join(name));
        let from = points[(points.len() as f64 * PROBATION) as usize].0;
        let alarms: Vec<i64> = alarms(&points).into_iter().filter(|time| *time >= from).collect();
        let windows: Vec<(i64, i64)> =
            windows.iter().map(|[begin, end]| (seconds(begin), seconds(end))).filter(|one| one.1 >= from).collect();
        let is_in = |time: &i64| windows.iter().any(|(begin, end)| (begin..=end).contains(&time));
        let hit = windows.iter().filter(|(begin, end)| alarms.iter().any(|time| (begin..=end).contains(&time))).count();
        let folder = folders.entry(name.split('/').next().unwrap()).or_default();
        let wrong = alarms.iter().filter(|time| !is_in(time)).count();
        for (sum, add) in folder.iter_mut().zip([windows.len(), hit, wrong, points.len()]) {
            *sum += add;
        }
        told.insert(name, alarms);
    }
    println!("| folder | windows | told | other alarms | per 1,000 points |\n| --- | --- | --- | --- | --- |");
    let mut all = [0; 4];
    for (folder, numbers) in &folders {
        let [windows, hit, wrong, points] = *numbers;
        println!("| {folder} | {windows} | {hit} | {wrong} | {:.2} |", wrong as f64 * 1_000.0 / points as f64);
        all.iter_mut().zip(numbers).for_each(|(sum, add)| *sum += add);
    }
    println!("| all | {} | {} | {} | {:.2} |", all[0], all[1], all[2], all[2] as f64 * 1_000.0 / all[3] as f64);
    if let Some(path) = std::env::var_os("WATCHKEEPER_NAB_ALARMS") {
        std::fs::write(path, serde_json::to_string(&told).unwrap()).unwrap();
    }
    assert!(all[1] * 2 >= all[0], "less than half of the windows are told");
}
