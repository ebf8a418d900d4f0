//! The figures as one table in Markdown. A peer's cell has its ratio to the first column.

use std::collections::BTreeMap;
use std::time::Duration;

use super::gateways::Kind;
use super::{Caption, Case, Figures};
use crate::quantile;

/// All figures of a run.
pub(super) struct Table<'a> {
    /// Without a gateway.
    pub(super) base: &'a BTreeMap<Case, Figures>,
    pub(super) figures: Vec<(Kind, &'a BTreeMap<Case, Figures>)>,
    pub(super) cases: &'a [Case],
    pub(super) caption: &'a Caption,
}

/// What a row takes from the figures of a case.
type Value<'a> = &'a dyn Fn(&Figures) -> Option<f64>;

impl Table<'_> {
    pub(super) fn print(&self) {
        let Caption { sync, load, rounds, seconds, pace } = self.caption;
        line(&format!(
            "{rounds} rounds of {seconds} s for each row and gateway, in turns; stand-in of {} ms, chunks of streams every {} ms; load average {} at the \
             start, {} at the end (the run itself included); a sync of 4 KiB takes {} / {} ms (p50 / p99) on this disk. In brackets: times the first column.\n",
            pace.0,
            pace.1,
            load.0,
            load.1,
            figure(ms(sync.0)),
            figure(ms(sync.1)),
        ));
        let names: Vec<&str> = self.figures.iter().map(|(kind, _)| kind.name()).collect();
        line(&format!("| | {} |", names.join(" | ")));
        line(&format!("|---|{}", "--:|".repeat(names.len())));
        for case in self.cases {
            if case.stream { self.streams(*case) } else { self.whole(*case) }
        }
        self.row("memory under all of it, MiB (Pss of all its processes)", &|figures| {
            let most = figures.values().map(|figures| figures.resident).max()?;
            Some(f64::from(u32::try_from(most / (1024 * 1024)).ok()?))
        });
        let failed = |figures: &BTreeMap<Case, Figures>| figures.values().map(|figures| figures.measured.failed).sum::<u64>();
        if self.figures.iter().any(|(_, figures)| failed(figures) > 0) {
            self.row("calls that failed", &|figures| Some(f64::from(u32::try_from(failed(figures)).ok()?)));
        }
        for (kind, figures) in &self.figures {
            for (case, figures) in *figures {
                if let Some(failure) = &figures.measured.failure {
                    line(&format!("\n{}, {}: {failure}", kind.name(), case.name()));
                }
            }
        }
        self.own();
    }

    fn whole(&self, case: Case) {
        let base = self.base.get(&case);
        let direct = |quantile| base.map_or(0.0, |base| at(&base.measured.whole, quantile));
        let name = case.name();
        self.case(case, &format!("added p50, {name}, ms"), &|figures| added(&figures.measured.whole, 0.5, direct(0.5)));
        self.case(case, &format!("added p99, {name}, ms"), &|figures| added(&figures.measured.whole, 0.99, direct(0.99)));
        if case.clients > 1 {
            let bare = base.map_or(0.0, |base| base.measured.calls_per_second());
            self.case(case, &format!("calls/s, {name} ({bare:.0} without a gateway)"), &|figures| {
                Some(figures.measured.calls_per_second())
            });
        }
        self.case(case, &format!("CPU a call, {name}, until answered, ms"), &|figures| {
            per_call(figures.answered, figures.measured.sent)
        });
        self.case(case, &format!("CPU a call, {name}, until all work behind it is done, ms"), &|figures| {
            per_call(figures.rested, figures.measured.sent)
        });
    }

    fn streams(&self, case: Case) {
        let Some(base) = self.base.get(&case) else { return };
        let name = case.name();
        for (quantile, shown) in [(0.5, "p50"), (0.99, "p99")] {
            let first = at(&base.measured.first, quantile);
            self.case(case, &format!("added to the first words {shown}, {name}, ms"), &|figures| {
                added(&figures.measured.first, quantile, first)
            });
        }
        for (quantile, shown) in [(0.5, "p50"), (0.99, "p99")] {
            let words = at(&base.measured.words, quantile);
            self.case(case, &format!("added to each chunk {shown}, {name}, ms"), &|figures| {
                added(&figures.measured.words, quantile, words)
            });
        }
        self.case(case, &format!("CPU a stream, {name}, until all work behind it is done, ms"), &|figures| {
            per_call(figures.rested, figures.measured.sent)
        });
    }

    fn case(&self, case: Case, name: &str, value: Value<'_>) {
        self.row(name, &|figures| value(figures.get(&case)?));
    }

    fn row(&self, name: &str, value: &dyn Fn(&BTreeMap<Case, Figures>) -> Option<f64>) {
        let values: Vec<Option<f64>> = self.figures.iter().map(|(_, figures)| value(figures)).collect();
        let first = values.first().copied().flatten().filter(|first| *first > 0.0);
        let cells = values.iter().enumerate().map(|(nth, value)| match (value, first) {
            (None, _) => "-".to_owned(),
            (Some(value), Some(first)) if nth > 0 => format!("{} ({})", figure(*value), figure(value / first)),
            (Some(value), _) => figure(*value),
        });
        line(&format!("| {name} | {} |", cells.collect::<Vec<_>>().join(" | ")));
    }

    /// Where our own time goes.
    fn own(&self) {
        for (kind, figures) in self.figures.iter().filter(|(kind, _)| kind.is_own()) {
            for (case, figures) in *figures {
                let calls = figures.measured.sent;
                let mut threads: Vec<_> = figures.threads.iter().collect();
                threads.sort_by_key(|(_, cpu)| std::cmp::Reverse(**cpu));
                let threads =
                    threads.iter().filter_map(|(name, cpu)| Some(format!("{name} {}", figure(per_call(**cpu, calls)? * 1e3))));
                line(&format!(
                    "\n{}, {}: CPU a call by thread in us: {}; its own word for what it added, p50 / p99: {} / {} ms",
                    kind.name(),
                    case.name(),
                    threads.collect::<Vec<_>>().join(", "),
                    figure(at(&figures.measured.own, 0.5)),
                    figure(at(&figures.measured.own, 0.99)),
                ));
            }
        }
    }
}

impl Case {
    fn name(self) -> String {
        let what = if self.stream { "stream" } else { "client" };
        format!("{} {what}{}", self.clients, if self.clients == 1 { "" } else { "s" })
    }
}

fn added(times: &[Duration], quantile: f64, without: f64) -> Option<f64> {
    (!times.is_empty()).then(|| at(times, quantile) - without)
}

#[allow(clippy::cast_precision_loss)]
fn per_call(cpu: Duration, calls: u64) -> Option<f64> {
    (calls > 0).then(|| ms(cpu) / calls as f64)
}

/// The time at a quantile, in milliseconds.
fn at(times: &[Duration], of: f64) -> f64 {
    let mut sorted = times.to_vec();
    sorted.sort_unstable();
    ms(quantile(&sorted, of))
}

fn ms(time: Duration) -> f64 {
    time.as_secs_f64() * 1e3
}

/// Three digits that count.
fn figure(value: f64) -> String {
    match value.abs() {
        small if small < 0.995 => format!("{value:.3}"),
        small if small < 9.95 => format!("{value:.2}"),
        small if small < 99.5 => format!("{value:.1}"),
        _ => format!("{value:.0}"),
    }
}

#[allow(clippy::print_stdout)]
fn line(line: &str) {
    println!("{line}");
}
