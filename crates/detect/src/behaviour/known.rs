//! What an entity has used before, and what it uses for the first time.

use serde::{Deserialize, Serialize};

use super::facts::Item;

/// Most items that are kept of an entity: those used most recently.
const ITEMS_MAX: usize = 48;
/// Different days on which something new is used before it is a habit; until then each day tells of it.
const ACCEPT_DAYS: u8 = 3;
/// Days without use after which an item is new again.
const FORGET_DAYS: u32 = 120;

/// What is known.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub(crate) struct Known {
    /// In the order of use, the newest last.
    items: Vec<Entry>,
}

#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
struct Entry {
    hash: u32,
    last_day: u16,
    /// Different days of use; [`ACCEPT_DAYS`] where it is known.
    days: u8,
}

/// What a use is.
pub(crate) struct Use {
    /// Whether the entity has not used it before, as far as it counts.
    pub(crate) is_new: bool,
    /// Whether this is the very first time: for peers to be counted.
    pub(crate) is_first: bool,
    /// Different days of use.
    pub(crate) days: u8,
    /// How many items are known.
    pub(crate) known: usize,
    /// How many others have been used at all, as far as they are remembered.
    pub(crate) others: usize,
}

impl Known {
    /// Notes a use. While the entity `learns`, whatever it uses becomes known.
    pub(crate) fn note(&mut self, item: &Item, day: u32, learns: bool) -> Use {
        #[expect(clippy::cast_possible_truncation, reason = "65,535 days after 1970 is in 2149")]
        let today = day as u16;
        self.items.retain(|entry| day.saturating_sub(u32::from(entry.last_day)) <= FORGET_DAYS);
        let place = self.items.iter().position(|entry| entry.hash == item.hash);
        let known = self.items.iter().filter(|entry| entry.days >= ACCEPT_DAYS && entry.hash != item.hash).count();
        let is_first = place.is_none();
        let others = self.items.len() - usize::from(!is_first);
        let mut entry = match place {
            Some(place) => self.items.remove(place),
            None => Entry { hash: item.hash, last_day: today, days: 0 },
        };
        let is_new = !learns && entry.days < ACCEPT_DAYS;
        if learns {
            entry.days = ACCEPT_DAYS;
        } else if is_first || entry.last_day != today {
            entry.days = entry.days.saturating_add(1).min(ACCEPT_DAYS);
        }
        entry.last_day = today.max(entry.last_day);
        if self.items.len() == ITEMS_MAX {
            // Something that is not known yet must not drive out what is.
            let least = self.items.iter().position(|entry| entry.days < ACCEPT_DAYS).unwrap_or(0);
            self.items.remove(least);
        }
        self.items.push(entry);
        Use { is_new, is_first, days: entry.days, known, others }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn item(hash: u32) -> Item {
        Item { hash, name: hash.to_string() }
    }

    #[test]
    fn what_is_learnt_is_known_and_what_comes_later_is_new_for_three_days() {
        let mut known = Known::default();
        known.note(&item(1), 10, true);
        assert!(!known.note(&item(1), 20, false).is_new);
        let told: Vec<bool> = [30, 30, 31, 32, 33, 34].map(|day| known.note(&item(2), day, false).is_new).to_vec();
        assert_eq!(told, [true, true, true, true, false, false]);
        assert!(known.note(&item(1), 400, false).is_new, "forgotten");
    }

    #[test]
    fn a_flood_of_new_things_does_not_drive_out_the_known() {
        let mut known = Known::default();
        known.note(&item(1), 10, true);
        (100..1_000).for_each(|hash| assert!(known.note(&item(hash), 11, false).is_new));
        assert!(!known.note(&item(1), 12, false).is_new);
        assert_eq!(known.items.len(), ITEMS_MAX);
    }
}
