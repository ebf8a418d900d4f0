//! A trained model: a head in JSON, then for each origin one signed byte for each weight.
//!
//! ```text
//! "WKTEXT2\n"  |  length of the head, u32 little-endian  |  head (JSON)  |  WEIGHTS bytes for users  |  WEIGHTS bytes for data
//! ```

use std::borrow::Cow;
use std::collections::BTreeMap;

use aws_lc_rs::digest;
use serde::{Deserialize, Serialize};

use super::features::{Origin, WEIGHTS};

const MAGIC: &[u8; 8] = b"WKTEXT2\n";

/// Weights of all origins, a table each.
pub(crate) const TABLES: usize = Origin::ALL.len() * WEIGHTS;

/// Longest head, in bytes.
const HEAD_BYTES_MAX: usize = 1024 * 1024;

/// A file that is no model.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ModelError {
    /// It does not begin as models do.
    #[error("this is no text model of this version; make one with `watchkeeper train`")]
    Magic,
    /// It is too short or too long.
    #[error("a model with this head has {expected} bytes, and the file has {found}; make it again with `watchkeeper train`")]
    Length {
        /// Bytes that it should have.
        expected: usize,
        /// Bytes that it has.
        found: usize,
    },
    /// The head cannot be read or is out of its bounds.
    #[error("head of the model: {0}; make it again with `watchkeeper train`")]
    Head(String),
}

/// What a model says of itself.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Head {
    /// Which model it is: a name and a date.
    pub name: String,
    /// What one step of a weight's byte is.
    pub step: f32,
    /// Blocks of a window.
    pub window_blocks: usize,
    /// Features that are added to those of a stretch before the square root: keeps very short texts from weighing much.
    pub prior: f32,
    /// By origin: the rest.
    pub origins: BTreeMap<String, OriginHead>,
}

/// What a model has for one origin.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct OriginHead {
    /// Added to every sum.
    pub bias: f32,
    /// Weights of the features that have names: signatures that matched, and what they come to.
    pub named: BTreeMap<String, f32>,
    /// Sums and the scores that they stand for, rising in both; between them the score is interpolated.
    pub calibration: Vec<(f32, f32)>,
}

/// A trained model.
#[derive(Debug, Clone)]
pub struct Model {
    head: Head,
    weights: Cow<'static, [u8]>,
    digest: [u8; 32],
}

impl Model {
    /// Reads a model that is part of the program.
    pub fn from_static(bytes: &'static [u8]) -> Result<Self, ModelError> {
        let (head, weights) = parse(bytes)?;
        Ok(Self { head, weights: Cow::Borrowed(weights), digest: digest_of(bytes) })
    }

    /// Reads the bytes of a model's file.
    pub fn from_bytes(bytes: &[u8]) -> Result<Self, ModelError> {
        let (head, weights) = parse(bytes)?;
        Ok(Self { head, weights: Cow::Owned(weights.to_vec()), digest: digest_of(bytes) })
    }

    /// Rounds weights to bytes. Those beyond 127 steps are cut there.
    pub fn quantised(head: Head, weights: &[f32]) -> Result<Self, ModelError> {
        check(&head)?;
        if weights.len() != TABLES {
            return Err(ModelError::Length { expected: TABLES, found: weights.len() });
        }
        let byte = |weight: &f32| (weight / head.step).round().clamp(-127.0, 127.0) as i8 as u8;
        Self::from_bytes(&file(&head, &weights.iter().map(byte).collect::<Vec<u8>>())?)
    }

    /// The bytes of the model's file.
    pub fn to_bytes(&self) -> Result<Vec<u8>, ModelError> {
        file(&self.head, &self.weights)
    }

    /// SHA-256 of the file.
    #[must_use]
    pub fn digest(&self) -> [u8; 32] {
        self.digest
    }

    /// What it says of itself.
    #[must_use]
    pub fn head(&self) -> &Head {
        &self.head
    }

    pub(super) fn of(&self, origin: Origin) -> Option<&OriginHead> {
        self.head.origins.get(origin.name())
    }

    /// The weights that texts of an origin have, one byte each.
    pub(super) fn weights(&self, origin: Origin) -> Option<&[u8; WEIGHTS]> {
        self.weights.get(origin as usize * WEIGHTS..)?.first_chunk()
    }
}

impl OriginHead {
    /// The score that a sum stands for.
    #[must_use]
    pub fn score(&self, sum: f32) -> f32 {
        let next = self.calibration.partition_point(|(at, _)| *at < sum);
        let (Some(&(low, from)), Some(&(high, to))) = (self.calibration.get(next.wrapping_sub(1)), self.calibration.get(next))
        else {
            let end = if next == 0 { self.calibration.first() } else { self.calibration.last() };
            return end.map_or(0.0, |(_, score)| *score);
        };
        from + (to - from) * (sum - low) / (high - low)
    }
}

fn file(head: &Head, weights: &[u8]) -> Result<Vec<u8>, ModelError> {
    let head = serde_json::to_vec(head).map_err(|error| ModelError::Head(error.to_string()))?;
    let length = u32::try_from(head.len()).map_err(|_| ModelError::Head("it is too long".to_owned()))?;
    Ok([MAGIC.as_slice(), &length.to_le_bytes(), &head, weights].concat())
}

fn digest_of(bytes: &[u8]) -> [u8; 32] {
    let mut digest = [0; 32];
    digest.copy_from_slice(digest::digest(&digest::SHA256, bytes).as_ref());
    digest
}

fn parse(bytes: &[u8]) -> Result<(Head, &[u8]), ModelError> {
    let rest = bytes.strip_prefix(MAGIC).ok_or(ModelError::Magic)?;
    let (length, rest) = rest.split_first_chunk::<4>().ok_or(ModelError::Magic)?;
    let length = u32::from_le_bytes(*length) as usize;
    let expected = length + TABLES;
    if length > HEAD_BYTES_MAX || rest.len() != expected {
        return Err(ModelError::Length { expected, found: rest.len() });
    }
    let (head, weights) = rest.split_at(length);
    let head: Head = serde_json::from_slice(head).map_err(|error| ModelError::Head(error.to_string()))?;
    check(&head)?;
    Ok((head, weights))
}

fn check(head: &Head) -> Result<(), ModelError> {
    let wrong = |what: &str| Err(ModelError::Head(what.to_owned()));
    if !(head.step.is_finite() && head.step > 0.0 && head.prior.is_finite() && head.prior >= 1.0) {
        return wrong("step and prior must be numbers, above 0 and from 1");
    }
    if !(1..=64).contains(&head.window_blocks) {
        return wrong("window_blocks must be 1 to 64");
    }
    for origin in head.origins.values() {
        let rises = origin.calibration.windows(2).all(|pair| pair[0].0 < pair[1].0 && pair[0].1 <= pair[1].1);
        let bounded = origin.calibration.iter().all(|(sum, score)| sum.is_finite() && (0.0..=1.0).contains(score));
        if !rises || !bounded || origin.calibration.is_empty() {
            return wrong("calibration must rise, with scores from 0 to 1");
        }
        if !origin.bias.is_finite() || !origin.named.values().all(|weight| weight.is_finite()) {
            return wrong("bias and named weights must be numbers");
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn head() -> Head {
        let origin = OriginHead {
            bias: -1.0,
            named: BTreeMap::from([("score.3".to_owned(), 0.5)]),
            calibration: vec![(-2.0, 0.0), (0.0, 0.4), (1.0, 0.8)],
        };
        Head {
            name: "test".into(),
            step: 0.01,
            window_blocks: 2,
            prior: 20.0,
            origins: BTreeMap::from([("user".to_owned(), origin)]),
        }
    }

    #[test]
    fn a_model_is_read_as_it_was_written() {
        let mut weights = vec![0.0; TABLES];
        (weights[1], weights[2], weights[3], weights[WEIGHTS + 1]) = (0.5, -0.014, 99.0, 1.0);
        let model = Model::quantised(head(), &weights).unwrap();
        let bytes = model.to_bytes().unwrap();
        let read = Model::from_bytes(&bytes).unwrap();
        assert_eq!(read.head(), &head());
        assert_eq!(read.weights(Origin::User).unwrap()[1..4], [50, -1_i8 as u8, 127]);
        assert_eq!(read.weights(Origin::Data).unwrap()[..2], [0, 100]);
    }

    #[test]
    fn scores_are_interpolated_and_stay_at_the_ends() {
        let head = head();
        let origin = &head.origins["user"];
        for (sum, score) in [(-9.0, 0.0), (-1.0, 0.2), (0.0, 0.4), (0.5, 0.6), (7.0, 0.8)] {
            assert!((origin.score(sum) - score).abs() < 1e-6, "{sum}");
        }
    }

    #[test]
    fn what_is_no_model_is_told() {
        let bytes = Model::quantised(head(), &vec![0.0; TABLES]).unwrap().to_bytes().unwrap();
        assert_eq!(Model::from_bytes(b"").unwrap_err(), ModelError::Magic);
        assert!(matches!(Model::from_bytes(&bytes[..bytes.len() - 1]), Err(ModelError::Length { .. })));
        let mut broken = bytes.clone();
        broken[12] = b'!';
        assert!(matches!(Model::from_bytes(&broken), Err(ModelError::Head(_))));
        let mut wrong = head();
        wrong.origins.get_mut("user").unwrap().calibration = vec![(1.0, 0.5), (0.0, 0.6)];
        assert!(matches!(Model::quantised(wrong, &[]), Err(ModelError::Head(_))));
    }
}
