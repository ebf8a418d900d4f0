//! Samples: rows as the features that the classifier will see.

use std::collections::BTreeMap;

use inspect::Inspector;
use inspect::classifier::{self, Origin, Sink, signature_features};

use crate::corpus::Row;

/// The features of a row.
#[derive(Debug)]
pub(crate) struct Sample {
    /// Which row it is.
    pub(crate) row: usize,
    pub(crate) origin: Origin,
    pub(crate) is_attack: bool,
    /// Indices of hashed features, block after block.
    pub(crate) features: Vec<u32>,
    /// Where the features of each block end.
    pub(crate) blocks: Vec<u32>,
    /// Indices of named features, in [`Samples::names`].
    pub(crate) named: Vec<u32>,
    /// What the signatures say alone.
    pub(crate) signature_score: f32,
}

/// Samples and the names of their named features.
#[derive(Debug, Default)]
pub(crate) struct Samples {
    pub(crate) list: Vec<Sample>,
    /// Names with their origin: `user signature.x`.
    pub(crate) names: Vec<(Origin, String)>,
}

impl Samples {
    /// Makes the samples of rows. Rows of channels that the classifier does not read, and rows without words, have none.
    pub(crate) fn of(rows: &[Row], inspector: &Inspector, with_signatures: bool) -> Self {
        let mut samples = Self::default();
        let mut index: BTreeMap<(Origin, String), u32> = BTreeMap::new();
        for (row, of) in rows.iter().enumerate() {
            let Some(origin) = Origin::of(of.channel) else { continue };
            let text = Inspector::normalised(&of.text);
            let mut kept = Kept::default();
            classifier::extract(&text, &mut kept);
            if kept.blocks.is_empty() {
                continue;
            }
            let report = inspector.inspect(&of.text, of.channel, None);
            let rules = report.findings.iter().map(|found| found.rule.as_str());
            let names = if with_signatures { signature_features(rules, report.score) } else { Vec::new() };
            let named = names
                .into_iter()
                .map(|name| {
                    *index.entry((origin, name.clone())).or_insert_with(|| {
                        samples.names.push((origin, name));
                        samples.names.len() as u32 - 1
                    })
                })
                .collect();
            samples.list.push(Sample {
                row,
                origin,
                is_attack: of.is_attack,
                features: kept.features,
                blocks: kept.blocks,
                named,
                signature_score: report.score,
            });
        }
        samples
    }
}

impl Sample {
    /// The windows that are scored, as blocks; a text that is shorter is one window.
    pub(crate) fn windows(&self, window: usize) -> impl Iterator<Item = (usize, usize)> {
        let blocks = self.blocks.len();
        let window = window.min(blocks);
        (0..=blocks - window).map(move |start| (start, start + window))
    }

    /// The features of blocks `start..end`.
    pub(crate) fn of_blocks(&self, start: usize, end: usize) -> &[u32] {
        let from = start.checked_sub(1).map_or(0, |before| self.blocks[before] as usize);
        &self.features[from..self.blocks[end - 1] as usize]
    }
}

#[derive(Default)]
struct Kept {
    features: Vec<u32>,
    blocks: Vec<u32>,
}

impl Sink for Kept {
    fn feature(&mut self, index: u32) {
        self.features.push(index);
    }

    fn block(&mut self, _: usize, _: usize) {
        self.blocks.push(self.features.len() as u32);
    }
}
