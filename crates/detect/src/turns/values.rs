//! Values that came into a conversation by its operator, a tool or a document, and go out again.
//!
//! The sanitiser put a keyed token in the place of each, and equal values have equal ids whatever they were taken for and
//! however they were spelled or encoded: so a secret is known again without anybody knowing it.

use std::collections::{HashMap, VecDeque};

use event::{Channel, ContentRef, Part, Piece};
use sanitize::Clean;
use serde::{Deserialize, Serialize};
use serde_json::Value as Json;

use crate::session::hash;
use crate::skipped::Skipped;
use crate::token;

/// Most secrets of a conversation that are remembered, some 40 bytes each: those that were told last.
const SECRETS_MAX: usize = 1_024;
/// Most other values: a table of their own, so that addresses do not drive out secrets. A sweep of a data store is told by other rules.
const OTHERS_MAX: usize = 512;
/// Most new values that one piece brings into each table. Who can write into a tool's result can invent tokens, and must not drive out with
/// one result what the others brought.
const PIECE_SECRETS_MAX: usize = 128;
/// See [`PIECE_SECRETS_MAX`].
const PIECE_OTHERS_MAX: usize = 256;

/// Values of a conversation.
#[derive(Debug, Default, Serialize, Deserialize)]
pub(super) struct Values {
    secrets: Table,
    others: Table,
}

/// Where values came in, by their ids.
#[derive(Debug, Default, Serialize, Deserialize)]
struct Table {
    channels: HashMap<u64, Channel>,
    /// The ids, the oldest first.
    order: VecDeque<u64>,
}

impl Values {
    /// Notes the values of a new piece. What the user brings is the user's; it may come back.
    pub(super) fn learn(&mut self, piece: &Piece<Clean, ContentRef>, text: &str, skipped: &mut Skipped) {
        let channel = piece.meta.channel();
        if channel == Channel::Assistant || matches!(piece.meta.part, Part::ToolDefinition | Part::Media) {
            return;
        }
        let (mut secrets, mut others) = (0, 0);
        for token in token::tokens(text) {
            let (table, new, new_max, values_max) = if token::is_secret(&token) {
                (&mut self.secrets, &mut secrets, PIECE_SECRETS_MAX, SECRETS_MAX)
            } else {
                (&mut self.others, &mut others, PIECE_OTHERS_MAX, OTHERS_MAX)
            };
            let id = id(&token);
            if let Some(known) = table.channels.get_mut(&id) {
                if channel == Channel::User {
                    *known = channel;
                }
            } else if *new == new_max {
                skipped.turn_values += 1;
            } else {
                *new += 1;
                skipped.turn_values += u64::from(table.put(id, channel, values_max));
            }
        }
    }

    /// The values of a text that goes out, by where they came in.
    pub(super) fn returned(&self, text: &str, tell: &mut dyn FnMut(&'static str, Json)) {
        if self.secrets.order.is_empty() && self.others.order.is_empty() {
            return;
        }
        for token in token::tokens(text) {
            let (table, field) = if token::is_secret(&token) {
                (&self.secrets, "watchkeeper.returned.secret")
            } else {
                (&self.others, "watchkeeper.returned.personal")
            };
            if let Some(channel) = table.channels.get(&id(&token)).filter(|channel| **channel != Channel::User) {
                tell(field, Json::from(channel.as_str()));
            }
        }
    }
}

impl Table {
    /// Remembers a value, and says whether the oldest was forgotten for it.
    fn put(&mut self, id: u64, channel: Channel, values_max: usize) -> bool {
        let oldest = if self.order.len() == values_max { self.order.pop_front() } else { None };
        if let Some(oldest) = oldest {
            self.channels.remove(&oldest);
        }
        self.order.push_back(id);
        self.channels.insert(id, channel);
        oldest.is_some()
    }
}

fn id(token: &journal::content::Token<'_>) -> u64 {
    hash(&[token.id().as_bytes()])
}

#[cfg(test)]
mod tests {
    use event::{ContentId, Direction, PieceMeta, Role, SubjectId};
    use sanitize::{Sanitizer, TokenKey};

    use super::*;

    #[test]
    fn a_secret_has_one_id_whatever_it_was_taken_for() {
        let sanitizer = Sanitizer::new(TokenKey::new([7; 32], "v26"));
        let of = |text: &str| -> Vec<u64> { token::tokens(&sanitizer.text(text).text).map(|token| id(&token)).collect() };
        let first = of("password = \"hunter2-Xk9!pQ\"");
        assert_eq!(first.len(), 1);
        assert_eq!(first, of("api_key: hunter2-Xk9!pQ"));
        assert_ne!(first, of("password = \"hunter3-Xk9!pQ\""));
        assert!(of("<CVV:dropped>").is_empty());
    }

    #[test]
    fn invented_tokens_do_not_make_a_conversation_forget_its_secrets() {
        let content = ContentRef {
            id: ContentId::from_bytes([1; 32]).unwrap(),
            subject: SubjectId::from_bytes([1; 16]).unwrap(),
            bytes: 0,
        };
        let result =
            Piece { meta: PieceMeta::new(Direction::Input, Role::Tool, Part::ToolResult), content, findings: Vec::new() };
        let token = |class: &str, number: usize| {
            let digits: String = format!("{number:032b}").chars().map(|digit| if digit == '1' { 'b' } else { 'a' }).collect();
            format!("<{class}:v26:{digits}>")
        };
        // The id is in the first 26 of 32 characters.
        let invented = |class: &str, from: usize, count: usize| -> String {
            (from..from + count).map(|number| token(class, number << 6)).collect()
        };
        let returned = |values: &Values, text: &str| {
            let mut told = Vec::new();
            values.returned(text, &mut |field, _| told.push(field));
            told
        };
        let (mut values, mut skipped) = (Values::default(), Skipped::default());
        let first = invented("CREDENTIAL", 1_000_000, 1);
        values.learn(&result, &first, &mut skipped);
        // One result with more than was ever remembered, of either kind.
        values.learn(&result, &(invented("CREDENTIAL", 0, 4_096) + &invented("EMAIL", 0, 4_096)), &mut skipped);
        let at_once = (4_096 - 128) + (4_096 - 256);
        assert_eq!(skipped.turn_values, at_once);
        let later = invented("SECRET:OPENAI_KEY", 2_000_000, 1);
        values.learn(&result, &later, &mut skipped);
        assert_eq!(returned(&values, &format!("{first} {later}")), ["watchkeeper.returned.secret"; 2]);
        assert_eq!(returned(&values, &invented("EMAIL", 0, 1)), ["watchkeeper.returned.personal"]);
        // Result after result, what is told last is known, and what was forgotten is counted.
        for round in 1..=8 {
            values.learn(&result, &invented("CREDENTIAL", round * 10_000, 128), &mut skipped);
        }
        assert_eq!(returned(&values, &first), [] as [&str; 0]);
        assert_eq!(returned(&values, &invented("CREDENTIAL", 80_000, 1)).len(), 1);
        assert_eq!(skipped.turn_values, at_once + 130);
        assert_eq!(values.secrets.order.len(), values.secrets.channels.len());
    }
}
