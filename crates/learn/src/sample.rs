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
    /// Indices of hashed features, block after block, reading after reading.
    pub(crate) features: Vec<u32>,
    /// Where the features of each block end.
    pub(crate) blocks: Vec<u32>,
    /// Where the blocks of each reading of the text end.
    pub(crate) readings: Vec<u32>,
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
            let mut kept = Kept::default();
            for text in inspector.readings(&of.text, of.channel) {
                classifier::extract(&text, &mut kept);
                kept.close();
            }
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
                readings: kept.readings,
                named,
                signature_score: report.score,
            });
        }
        samples
    }
}

impl Sample {
    /// The windows that are scored, as blocks: each within one reading of the text, which is one window where it is shorter.
    pub(crate) fn windows(&self, window: usize) -> impl Iterator<Item = (usize, usize)> {
        let starts = std::iter::once(0).chain(self.readings.iter().map(|end| *end as usize));
        starts.zip(self.readings.iter().map(|end| *end as usize)).flat_map(move |(from, to)| {
            let window = window.min(to - from);
            (from..=to - window).map(move |start| (start, start + window))
        })
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
    readings: Vec<u32>,
}

impl Kept {
    /// A reading ends. One without words has no window.
    fn close(&mut self) {
        let blocks = self.blocks.len() as u32;
        if self.readings.last().copied().unwrap_or_default() < blocks {
            self.readings.push(blocks);
        }
    }
}

impl Sink for Kept {
    fn feature(&mut self, index: u32) {
        self.features.push(index);
    }

    fn block(&mut self, _: usize, _: usize) {
        self.blocks.push(self.features.len() as u32);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_window_goes_from_one_reading_into_another() {
        let mut kept = Kept::default();
        for blocks in [3_usize, 0, 1] {
            for block in 0..blocks {
                kept.feature(block as u32);
                kept.block(0, 0);
            }
            kept.close();
        }
        let Kept { features, blocks, readings } = kept;
        let (row, origin, is_attack) = (0, Origin::User, false);
        let sample = Sample { row, origin, is_attack, features, blocks, readings, named: Vec::new(), signature_score: 0.0 };
        assert_eq!(sample.windows(2).collect::<Vec<_>>(), [(0, 2), (1, 3), (3, 4)]);
        assert_eq!(sample.windows(usize::MAX / 2).collect::<Vec<_>>(), [(0, 3), (3, 4)]);
        assert_eq!(sample.of_blocks(3, 4), [0]);
    }
}
