//! Figures as tables that people read, in Markdown, and as JSON.

use std::fmt::Write as _;

use serde::Serialize;

use crate::corpus::Row;
use crate::evaluate::{Evaluation, Rate};

/// Figures of one measurement.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Report {
    /// What was measured.
    pub title: String,
    /// Attacks by kind.
    pub attack_kinds: Vec<Rate>,
    /// Attacks by source.
    pub attack_sources: Vec<Rate>,
    /// Benign texts by kind, hard negatives among them.
    pub benign_kinds: Vec<Rate>,
    /// Benign texts by source.
    pub benign_sources: Vec<Rate>,
    /// Recall where the score is chosen so that 1 % and 0.1 % of the benign texts measured here are above it.
    pub matched: Rate,
}

impl Report {
    /// Groups what an evaluation found.
    #[must_use]
    pub fn of(title: &str, rows: &[Row], evaluation: &Evaluation) -> Self {
        Self {
            title: title.to_owned(),
            attack_kinds: evaluation.rates(rows, true, |row| row.kind.clone()),
            attack_sources: evaluation.rates(rows, true, |row| row.source.clone()),
            benign_kinds: evaluation.rates(rows, false, |row| row.kind.clone()),
            benign_sources: evaluation.rates(rows, false, |row| row.source.clone()),
            matched: evaluation.matched(rows),
        }
    }

    /// Recall over all attacks, and the mean of that of the sources, at the scores of `warn` and of `deny`.
    #[must_use]
    pub fn recall(&self) -> [(f32, f32); 2] {
        summary(&self.attack_sources)
    }

    /// The same for benign texts: the real false positive rates.
    #[must_use]
    pub fn false_positives(&self) -> [(f32, f32); 2] {
        summary(&self.benign_sources)
    }

    /// The whole as Markdown.
    #[must_use]
    pub fn markdown(&self) -> String {
        let mut out = format!("## {}\n\n", self.title);
        let [warn, deny] = self.recall();
        let [warn_false, deny_false] = self.false_positives();
        // Writing to a string does not fail.
        let _ = writeln!(out, "| | promised 1 % (`warn`) | promised 0.1 % (`deny`) |\n|---|---|---|");
        let _ = writeln!(out, "| recall, all attacks | {:.3} | {:.3} |", warn.0, deny.0);
        let _ = writeln!(out, "| recall, mean of sources | {:.3} | {:.3} |", warn.1, deny.1);
        let _ = writeln!(out, "| false positives, all benign texts | {} | {} |", percent(warn_false.0), percent(deny_false.0));
        let _ = writeln!(out, "| false positives, mean of sources | {} | {} |", percent(warn_false.1), percent(deny_false.1));
        let _ = writeln!(
            out,
            "| recall, where exactly so many of these benign texts are above | {:.3} | {:.3} |\n",
            self.matched.warn().0,
            self.matched.deny().0
        );
        for (name, rates, attacks) in [
            ("attacks by kind", &self.attack_kinds, true),
            ("benign texts by kind", &self.benign_kinds, false),
            ("attacks by source", &self.attack_sources, true),
            ("benign texts by source", &self.benign_sources, false),
        ] {
            let what = if attacks { "found" } else { "flagged" };
            let _ = writeln!(out, "| {name} | rows | {what} at 1 % | {what} at 0.1 % |\n|---|--:|---|---|");
            for rate in rates {
                let shown = |(share, (low, high)): (f32, (f32, f32))| {
                    if attacks {
                        format!("{share:.2} ({low:.2}–{high:.2})")
                    } else {
                        format!("{} ({}–{})", percent(share), percent(low), percent(high))
                    }
                };
                let _ = writeln!(out, "| {} | {} | {} | {} |", rate.name, rate.rows, shown(rate.warn()), shown(rate.deny()));
            }
            out.push('\n');
        }
        out
    }
}

fn percent(share: f32) -> String {
    format!("{:.1} %", share * 100.0)
}

/// Over all rows, and the mean of the groups.
fn summary(rates: &[Rate]) -> [(f32, f32); 2] {
    let rows = rates.iter().map(|rate| rate.rows).sum::<usize>().max(1) as f32;
    let mean = |share: &dyn Fn(&Rate) -> f32| rates.iter().map(share).sum::<f32>() / rates.len().max(1) as f32;
    let hits = |of: &dyn Fn(&Rate) -> usize| rates.iter().map(of).sum::<usize>() as f32 / rows;
    [(hits(&|rate| rate.at_warn), mean(&|rate| rate.warn().0)), (hits(&|rate| rate.at_deny), mean(&|rate| rate.deny().0))]
}
