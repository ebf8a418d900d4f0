//! What detections add up to for somebody, by the arithmetic of [`event::risk`]: as the detector adds it up, and the view `entity_risk`.

use std::collections::HashMap;
use std::sync::Arc;

use event::risk::{added, by_technique, left_after};

/// Most bytes of names that are held at once: of entities, rules and techniques, each of which whoever sends events may choose.
const NAMES_BYTES_MAX: usize = 64 * 1024 * 1024;

/// Names, each held once.
#[derive(Default)]
pub(super) struct Names {
    ids: HashMap<Arc<str>, u32>,
    names: Vec<Arc<str>>,
    bytes: usize,
}

impl Names {
    /// The number of a name; none where there is no room for another one.
    pub(super) fn id(&mut self, name: &str) -> Option<u32> {
        if let Some(id) = self.ids.get(name) {
            return Some(*id);
        }
        let id = u32::try_from(self.names.len()).ok()?;
        let bytes = self.bytes.saturating_add(name.len());
        if bytes > NAMES_BYTES_MAX {
            return None;
        }
        self.bytes = bytes;
        let name: Arc<str> = name.into();
        self.names.push(name.clone());
        self.ids.insert(name, id);
        Some(id)
    }

    pub(super) fn name(&self, id: u32) -> &str {
        self.names.get(id as usize).map_or("", |name| name)
    }
}

/// A detection, as far as the risk of one that it names needs it. Names are numbers of [`Names`].
#[derive(Debug, Clone, Copy)]
pub(super) struct Hit {
    /// When it was recorded.
    pub(super) time_ns: i64,
    /// The weight of its severity times its confidence.
    pub(super) adds: f64,
    pub(super) rule: u32,
    pub(super) technique: u32,
}

/// What one rule has added by way of one technique: how much, and as of when.
#[derive(Debug, Clone, Copy)]
pub(super) struct Added {
    pub(super) rule: u32,
    pub(super) technique: u32,
    amount: f64,
    time_ns: i64,
}

impl Added {
    /// What a rule adds first.
    pub(super) fn first(hit: &Hit) -> Self {
        Self { rule: hit.rule, technique: hit.technique, amount: added(0.0, hit.adds), time_ns: hit.time_ns }
    }

    /// What a rule adds next. Detections count in the order of their times.
    pub(super) fn add(&mut self, hit: &Hit) {
        self.amount = added(self.left(hit.time_ns), hit.adds);
        self.time_ns = self.time_ns.max(hit.time_ns);
    }

    /// What is left of it at a time. What lies ahead counts whole.
    fn left(&self, now_ns: i64) -> f64 {
        self.amount * left_after(now_ns.saturating_sub(self.time_ns) / 1_000_000_000)
    }
}

/// The risk at a time.
pub(super) fn risk<'a>(added: impl IntoIterator<Item = &'a Added>, names: &Names, now_ns: i64) -> f64 {
    let rules = added.into_iter().map(|added| (names.name(added.technique), added.left(now_ns)));
    let sum: f64 = by_technique(rules).values().sum();
    (sum * 10.0).round() / 10.0
}

/// The techniques behind a risk.
pub(super) fn techniques<'a>(added: impl IntoIterator<Item = &'a Added>, names: &Names) -> Vec<String> {
    let all = by_technique(added.into_iter().map(|added| (names.name(added.technique), 0.0)));
    all.into_keys().filter(|technique| !technique.is_empty()).map(str::to_owned).collect()
}
