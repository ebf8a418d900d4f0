//! Whether there are texts enough to train and to measure by, and what rests on few.

use std::collections::BTreeSet;

use inspect::classifier::Origin;

use crate::corpus::{Row, Split};

/// Fewest benign texts of an origin by which it can be seen that one in a thousand is above a score.
const BENIGN_MIN: usize = 1_000;

/// Why no model can be trained and measured by leaving sources out.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum NotEnough {
    /// All texts are of one label.
    #[error(
        "no row to train on has the label {0:?} and a channel that the classifier reads (user, tool, document): it learns by attacks and benign texts"
    )]
    Label(&'static str),
    /// All texts are of one source, so that nothing is left when it is left out.
    #[error(
        "all rows are of one family of sources, {0:?}: what a model makes of others is measured by leaving each out in turn; bring texts of a second \
         one (field \"repo\", else \"source\")"
    )]
    Family(String),
}

/// Whether a model can be trained on rows, and measured by leaving families of sources out.
///
/// # Errors
/// What is missing.
pub fn check(rows: &[Row]) -> Result<(), NotEnough> {
    let read = || rows.iter().filter(|row| Origin::of(row.channel).is_some());
    for (label, is_attack) in [("attack", true), ("benign", false)] {
        if !read().any(|row| row.split != Split::Dev && row.is_attack == is_attack) {
            return Err(NotEnough::Label(label));
        }
    }
    let families: BTreeSet<&str> = read().filter(|row| row.split != Split::Always).map(|row| row.family.as_str()).collect();
    match families.iter().next() {
        Some(only) if families.len() == 1 => Err(NotEnough::Family((*only).to_owned())),
        _ => Ok(()),
    }
}

/// What somebody who trains on rows ought to know of the model, in sentences.
#[must_use]
pub fn caveats(rows: &[Row]) -> Vec<String> {
    let benign_of = |origin: Origin| {
        rows.iter().filter(|row| row.split != Split::Always && !row.is_attack && Origin::of(row.channel) == Some(origin)).count()
    };
    let said = |(origin, channels): (Origin, &str)| match benign_of(origin) {
        0 => Some(format!(
            "there are no benign texts of {channels} but those that are always trained on: the model says nothing of texts from there"
        )),
        few if few < BENIGN_MIN => Some(format!(
            "{few} benign texts of {channels} are few: that one in a thousand is above 0.8 (deny) cannot be seen below {BENIGN_MIN}"
        )),
        _ => None,
    };
    [(Origin::User, "the channel user"), (Origin::Data, "the channels tool and document")].into_iter().filter_map(said).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::corpus::read;

    fn rows(of: &[(&str, &str, &str)], split: Split) -> Vec<Row> {
        let line = |(label, channel, source): &(&str, &str, &str)| {
            let row = serde_json::json!({ "text": "a", "label": label, "kind": "k", "channel": channel, "source": source });
            format!("{row}\n")
        };
        read(of.iter().map(line).collect::<String>().as_bytes(), split).unwrap()
    }

    #[test]
    fn what_is_missing_is_named() {
        let both = [("attack", "user", "a"), ("benign", "user", "b")];
        assert_eq!(check(&rows(&both, Split::Train)), Ok(()));
        assert_eq!(check(&rows(&both[..1], Split::Train)), Err(NotEnough::Label("benign")));
        assert_eq!(check(&rows(&both[1..], Split::Train)), Err(NotEnough::Label("attack")));
        assert_eq!(check(&rows(&both, Split::Dev)), Err(NotEnough::Label("attack")));
        let unread = [("attack", "assistant", "a"), ("benign", "user", "b")];
        assert_eq!(check(&rows(&unread, Split::Train)), Err(NotEnough::Label("attack")));
        let one = [("attack", "user", "a"), ("benign", "user", "a")];
        assert_eq!(check(&rows(&one, Split::Train)), Err(NotEnough::Family("a".to_owned())));
        let mut with_ours = rows(&one, Split::Train);
        with_ours.extend(rows(&both, Split::Always));
        assert_eq!(check(&with_ours), Err(NotEnough::Family("a".to_owned())));
    }

    #[test]
    fn what_rests_on_few_texts_is_told() {
        let few = rows(&[("attack", "tool", "a"), ("benign", "user", "b")], Split::Train);
        let told = caveats(&few);
        assert!(
            told[0].starts_with("1 benign texts of the channel user are few") && told[1].contains("tool and document"),
            "{told:?}"
        );
        let many: Vec<Row> = few.iter().cycle().take(2 * BENIGN_MIN).cloned().collect();
        assert_eq!(caveats(&many).len(), 1);
    }
}
