//! What a page of a list can be: names are cut, and a page ends where it has become long. Whoever sends events chooses names, and what is made
//! of a thousand of 64 KiB each would take more memory, and more of a browser, than anything that somebody wants to read.

use super::detections::{DetectionRecord, DetectionRow};
use super::entities::EntityRow;
use super::events::EventRow;
use super::models::ModelRow;
use super::sessions::SessionRow;
use super::usage::UsageRow;
use crate::cut;

/// A page ends behind the row with which it has so many bytes.
pub const PAGE_BYTES_MAX: usize = 4 * 1024 * 1024;

/// About what a row has beside its texts, as JSON.
const ROW_BYTES: usize = 1_024;

/// Longest kind of an entity before its name in a correlation, with what stands between.
const CORRELATION_KIND_CHARS: usize = "application:".len();

/// What a text of a row is for, by which it is cut.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum NameUse {
    /// To be read.
    Shown,
    /// It names something: filters, addresses and suppressions are made of it.
    Names,
    /// It names something, with the kind before it.
    Correlates,
}

impl NameUse {
    /// As much of a text as lists show.
    fn cut(self, text: &str) -> &str {
        match self {
            Self::Shown => cut::shown(text),
            Self::Names => cut::chars(text, cut::NAMED_CHARS_MAX),
            Self::Correlates => cut::chars(text, cut::NAMED_CHARS_MAX + CORRELATION_KIND_CHARS),
        }
    }

    /// Whether two texts are the same as far as lists show them.
    pub(super) fn is_same(self, wanted: &str, found: &str) -> bool {
        self.cut(wanted) == self.cut(found)
    }
}

/// A row of a list.
pub trait Shorten {
    /// Its texts that others choose.
    fn each_name(&mut self, name: &mut dyn FnMut(&mut String, NameUse));

    /// Cuts them as lists show them.
    fn shorten(&mut self) {
        self.each_name(&mut |name, of| {
            let end = of.cut(name).len();
            if end < name.len() {
                name.truncate(end);
                name.push('…');
            }
        });
    }

    /// The same, by value.
    #[must_use]
    fn shortened(mut self) -> Self
    where
        Self: Sized,
    {
        self.shorten();
        self
    }

    /// About how many bytes it has as JSON.
    fn weight(&mut self) -> usize {
        let mut bytes = ROW_BYTES;
        self.each_name(&mut |name, _| bytes += name.len());
        bytes
    }
}

/// Room on a page.
pub(super) struct Room(usize);

impl Room {
    pub(super) fn new() -> Self {
        Self(PAGE_BYTES_MAX)
    }

    /// Takes a row, and says whether there is room for another one.
    pub(super) fn take(&mut self, row: &mut impl Shorten) -> bool {
        self.0 = self.0.saturating_sub(row.weight());
        self.0 > 0
    }
}

macro_rules! names {
    ($($row:ty { $($of:ident: $($one:ident)*; $($option:ident)*; $($list:ident)*;)* })*) => {$(
        impl Shorten for $row {
            fn each_name(&mut self, name: &mut dyn FnMut(&mut String, NameUse)) {$(
                $(name(&mut self.$one, NameUse::$of);)*
                $(if let Some(text) = &mut self.$option { name(text, NameUse::$of); })*
                $(self.$list.iter_mut().for_each(|text| name(text, NameUse::$of));)*
            )*}
        }
    )*};
}

// Each as one; as an option; as a list.
names! {
    EventRow {
        Names: ; session_id user_id application agent model tool;;
        Shown: name; error title; risks;
    }
    SessionRow { Names: session_id; user_id application; agents; }
    DetectionRecord {
        Names: ; rule session_id user_id application agent tool;;
        Correlates: correlation;;;
        Shown: title; technique;;
    }
    EntityRow { Names: name;;; Shown: ;; techniques; }
    ModelRow { Names: model;;; Shown: ;; providers; }
    UsageRow { Names: name;;; }
}

impl Shorten for DetectionRow {
    fn each_name(&mut self, name: &mut dyn FnMut(&mut String, NameUse)) {
        self.detection.each_name(name);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn entity(name: &str) -> EntityRow {
        EntityRow {
            kind: crate::list::EntityKind::User,
            name: name.to_owned(),
            risk: 0.0,
            techniques: Vec::new(),
            rules: 0,
            detections: 0,
            events: 0,
            first_seen: None,
            last_seen: None,
            last_detection: None,
        }
    }

    #[test]
    fn a_name_is_cut_between_characters_and_says_that_it_is() {
        let long = "ä".repeat(1_025);
        assert_eq!(entity(&long).shortened().name, format!("{}…", "ä".repeat(1_024)));
        let whole = "ä".repeat(1_024);
        assert_eq!(entity(&whole).shortened().name, whole);
        assert!(NameUse::Names.is_same(&entity(&long).shortened().name, &long) && !NameUse::Names.is_same("a", "b"));
    }

    #[test]
    fn what_leads_nowhere_is_cut_to_what_is_read() {
        let long = "ä".repeat(257);
        let row = EntityRow { techniques: vec![long.clone()], ..entity(&long) }.shortened();
        assert_eq!((row.name, row.techniques), (long, vec![format!("{}…", "ä".repeat(256))]));
    }

    #[test]
    fn a_page_has_room_for_so_many_bytes() {
        let mut room = Room::new();
        let rows = (0..).take_while(|_| room.take(&mut entity(&"x".repeat(7 * 1_024)))).count();
        assert_eq!(rows, PAGE_BYTES_MAX / (8 * 1_024) - 1);
    }
}
