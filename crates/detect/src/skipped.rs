//! What the bounds of detection left out, counted (invariant I4).

use crate::detection::{Detection, Evidence};

/// Most detections of one event. The most severe are kept.
pub(crate) const EVENT_DETECTIONS_MAX: usize = 64;
/// Most pieces of evidence of one detection: the events of a correlation, its groups, findings.
const EVIDENCE_MAX: usize = 64;
/// Longest text in a piece of evidence, in characters: enough to see the match in its surroundings.
const EVIDENCE_CHARS_MAX: usize = 512;

/// What the bounds on memory and time left out, since the engine was made. All zeros for traffic that is not built to
/// exceed them; anything else is to be recorded and shown (invariant I4).
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Skipped {
    /// Tool calls of an event beyond the most that it may have. The next event of the conversation that repeats such a
    /// call has it looked at.
    pub calls: u64,
    /// Bytes of attributes, of names and of text that the rules did not see.
    pub bytes: u64,
    /// Values of a field beyond the most that it may have.
    pub values: u64,
    /// Bytes in the middle of long texts that content flow did not read.
    pub flow_bytes: u64,
    /// Secrets and other values that came into a conversation and are not, or no longer, known when they go out again.
    pub turn_values: u64,
    /// What content flow had to forget for others: conversations that held instructions, instructions that agents kept, agents
    /// whose destinations were known.
    pub flow_forgotten: u64,
    /// Detections of an event beyond the most that it may have, or beyond the most of one rule.
    pub detections: u64,
    /// Bytes of texts that matched a rule and were not searched for the place of the match, once for each rule: the
    /// detection is made, its evidence shows the beginning of the text.
    pub unsearched: u64,
    /// Pieces of evidence that were left out of a detection, and texts in them that were cut.
    pub evidence: u64,
    /// Groups of correlations that were forgotten before their window was over, because others took the room.
    pub correlation_groups: u64,
    /// Events that correlations counted and let go of too early: with such a group, or beyond the most of a window.
    pub correlation_events: u64,
    /// Detections that a spent alert budget kept from being told; detections of `alert-budget` have the numbers by rule.
    pub suppressed: u64,
    /// Events that came so much later than others that behaviour does not count them.
    pub late: u64,
    /// Measures of events (tokens, times, costs) that no call has, and that behaviour does not learn.
    pub implausible: u64,
}

/// A count, whatever the width of a pointer.
pub(crate) fn count(number: usize) -> u64 {
    u64::try_from(number).unwrap_or(u64::MAX)
}

/// The longest beginning of `text` that has at most `bytes_max` bytes and ends between characters.
pub(crate) fn head(text: &str, bytes_max: usize) -> &str {
    &text[..text.floor_char_boundary(bytes_max)]
}

impl Skipped {
    /// Keeps detections of one event within bounds: the most severe, in their order.
    pub(crate) fn bound(&mut self, detections: &mut Vec<Detection>) {
        if detections.len() > EVENT_DETECTIONS_MAX {
            self.detections += count(detections.len() - EVENT_DETECTIONS_MAX);
            let mut order: Vec<usize> = (0..detections.len()).collect();
            order.sort_by_key(|index| std::cmp::Reverse(detections[*index].severity));
            let mut keep = vec![false; detections.len()];
            order.into_iter().take(EVENT_DETECTIONS_MAX).for_each(|index| keep[index] = true);
            let mut keep = keep.into_iter();
            detections.retain(|_| keep.next().unwrap_or(false));
        }
        for detection in detections {
            self.evidence += count(detection.evidence.len().saturating_sub(EVIDENCE_MAX));
            detection.evidence.truncate(EVIDENCE_MAX);
            for Evidence { field, value, pattern, .. } in &mut detection.evidence {
                for text in [field, value, pattern].into_iter().flatten() {
                    if let Some((end, _)) = text.char_indices().nth(EVIDENCE_CHARS_MAX) {
                        text.truncate(end);
                        self.evidence += 1;
                    }
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_head_ends_between_characters() {
        for (text, bytes_max, expected) in [("aé", 3, "aé"), ("aé", 2, "a"), ("aé", 0, ""), ("", 9, "")] {
            assert_eq!(head(text, bytes_max), expected, "{text} {bytes_max}");
        }
    }
}
