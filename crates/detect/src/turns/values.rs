//! Values that came into a conversation by its operator, a tool or a document, and go out again.
//!
//! The sanitiser put a keyed token in the place of each, and equal values have equal ids whatever they were taken for and
//! however they were spelled or encoded: so a secret is known again without anybody knowing it.

use std::collections::HashMap;

use event::{Channel, ContentRef, Part, Piece};
use sanitize::Clean;
use serde_json::Value as Json;

use crate::session::hash;
use crate::token;

/// Most values of a conversation that are remembered, 16 bytes each. A sweep of a data store is told by other rules.
const VALUES_MAX: usize = 2_048;
/// Characters of a token's id and of its check (`sanitize::TokenKey`).
const ID_CHARS: usize = 26;
const CHECKED_ID_CHARS: usize = 32;

/// Where values came in.
#[derive(Default)]
pub(super) struct Values(HashMap<u64, Channel>);

impl Values {
    /// Notes the values of a new piece. What the user brings is the user's; it may come back.
    pub(super) fn learn(&mut self, piece: &Piece<Clean, ContentRef>, text: &str) {
        let channel = piece.meta.channel();
        if channel == Channel::Assistant || matches!(piece.meta.part, Part::ToolDefinition | Part::Media) {
            return;
        }
        for token in token::tokens(text) {
            let Some(id) = id(token.text) else { continue };
            let is_known = self.0.contains_key(&id);
            if (is_known && channel == Channel::User) || (!is_known && self.0.len() < VALUES_MAX) {
                self.0.insert(id, channel);
            }
        }
    }

    /// The values of a text that goes out, by where they came in.
    pub(super) fn returned(&self, text: &str, tell: &mut dyn FnMut(&'static str, Json)) {
        if self.0.is_empty() {
            return;
        }
        for token in token::tokens(text) {
            let Some(channel) = id(token.text).and_then(|id| self.0.get(&id)).filter(|channel| **channel != Channel::User) else {
                continue;
            };
            let field = if matches!(token.kind, "SECRET" | "CREDENTIAL") {
                "watchkeeper.returned.secret"
            } else {
                "watchkeeper.returned.personal"
            };
            tell(field, Json::from(channel.as_str()));
        }
    }
}

/// The id in a token: the part that is the same wherever the value stands.
fn id(token: &str) -> Option<u64> {
    let is_id =
        |part: &&str| part.bytes().take_while(|byte| matches!(byte, b'a'..=b'z' | b'2'..=b'7')).count() >= CHECKED_ID_CHARS;
    let part = token.trim_matches(['<', '>']).split(':').find(is_id)?;
    Some(hash(&[part.get(..ID_CHARS)?.as_bytes()]))
}

#[cfg(test)]
mod tests {
    use sanitize::{Sanitizer, TokenKey};

    use super::*;

    #[test]
    fn a_secret_has_one_id_whatever_it_was_taken_for() {
        let sanitizer = Sanitizer::new(TokenKey::new([7; 32], "v26"));
        let of = |text: &str| -> Vec<u64> {
            let clean = sanitizer.text(text).text;
            token::tokens(&clean).filter_map(|token| id(token.text)).collect()
        };
        let first = of("password = \"hunter2-Xk9!pQ\"");
        assert_eq!(first.len(), 1);
        assert_eq!(first, of("api_key: hunter2-Xk9!pQ"));
        assert_ne!(first, of("password = \"hunter3-Xk9!pQ\""));
        assert_eq!(id("<CVV:dropped>"), None);
    }
}
