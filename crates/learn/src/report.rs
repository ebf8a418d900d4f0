//! Figures as tables that people read, in Markdown, and as JSON.

use std::fmt::Write as _;

use serde::Serialize;

use crate::corpus::Row;
use crate::evaluate::{Evaluation, LeftOut, Rate, Share};

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
    /// Recall where the score is chosen so that 1 % and 0.1 % of the benign texts measured here are above it; none without attacks or
    /// benign texts.
    pub matched: Option<Rate>,
    /// Rows that were not measured.
    pub left_out: Vec<LeftOut>,
}

/// Shares at the scores of `warn` and of `deny`, each over all rows and as the mean of the sources.
pub type Summary = [(f32, f32); 2];

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
            left_out: evaluation.left_out(rows),
        }
    }

    /// Recall over attacks; `None` without any.
    #[must_use]
    pub fn recall(&self) -> Option<Summary> {
        summary(&self.attack_sources)
    }

    /// The same for benign texts: the real false positive rates.
    #[must_use]
    pub fn false_positives(&self) -> Option<Summary> {
        summary(&self.benign_sources)
    }

    /// The whole as Markdown.
    #[must_use]
    pub fn markdown(&self) -> String {
        let mut out = format!("## {}\n\n", self.title);
        // Writing to a string does not fail.
        let _ = writeln!(out, "| | promised 1 % (`warn`) | promised 0.1 % (`deny`) |\n|---|---|---|");
        let mut row = |what: &str, shares: Option<[f32; 2]>, written: fn(f32) -> String| {
            let [warn, deny] = shares.map_or([NONE.to_owned(), NONE.to_owned()], |shares| shares.map(written));
            let _ = writeln!(out, "| {what} | {warn} | {deny} |");
        };
        let (all, mean) = (|of: Summary| of.map(|(all, _)| all), |of: Summary| of.map(|(_, mean)| mean));
        row("recall, all attacks", self.recall().map(all), thousandths);
        row("recall, mean of sources", self.recall().map(mean), thousandths);
        row("false positives, all benign texts", self.false_positives().map(all), percent);
        row("false positives, mean of sources", self.false_positives().map(mean), percent);
        let matched = self.matched.as_ref().and_then(|rate| Some([rate.warn()?.0, rate.deny()?.0]));
        row("recall, where exactly so many of these benign texts are above", matched, thousandths);
        out.push('\n');
        for LeftOut { why, attacks, benign } in &self.left_out {
            let _ = writeln!(out, "Not measured: {attacks} attacks and {benign} benign texts: {why}.\n");
        }
        for (name, rates, attacks) in [
            ("attacks by kind", &self.attack_kinds, true),
            ("benign texts by kind", &self.benign_kinds, false),
            ("attacks by source", &self.attack_sources, true),
            ("benign texts by source", &self.benign_sources, false),
        ] {
            let what = if attacks { "found" } else { "flagged" };
            let _ = writeln!(out, "| {name} | rows | {what} at 1 % | {what} at 0.1 % |\n|---|--:|---|---|");
            for rate in rates {
                let shown = |share: Option<Share>| match share {
                    Some((share, (low, high))) if attacks => format!("{share:.2} ({low:.2}–{high:.2})"),
                    Some((share, (low, high))) => format!("{} ({}–{})", percent(share), percent(low), percent(high)),
                    None => NONE.to_owned(),
                };
                let _ = writeln!(out, "| {} | {} | {} | {} |", rate.name, rate.rows, shown(rate.warn()), shown(rate.deny()));
            }
            out.push('\n');
        }
        out
    }
}

/// What stands where nothing was measured.
const NONE: &str = "–";

fn percent(share: f32) -> String {
    format!("{:.1} %", share * 100.0)
}

fn thousandths(share: f32) -> String {
    format!("{share:.3}")
}

/// Over all rows, and the mean of the groups; `None` where there are none.
fn summary(rates: &[Rate]) -> Option<Summary> {
    let of = |hits: fn(&Rate) -> usize| {
        let rows: usize = rates.iter().map(|rate| rate.rows).sum();
        let shares: Vec<f32> =
            rates.iter().filter(|rate| rate.rows > 0).map(|rate| hits(rate) as f32 / rate.rows as f32).collect();
        let all = rates.iter().map(hits).sum::<usize>() as f32 / rows as f32;
        (rows > 0).then(|| (all, shares.iter().sum::<f32>() / shares.len() as f32))
    };
    Some([of(|rate| rate.at_warn)?, of(|rate| rate.at_deny)?])
}
