//! Whether a call follows an instruction of untrusted text, and on what ground that is said.

use serde_json::Value as Json;

use super::state::{Conversation, Source};
use super::text;
use super::verbs::{self, Classes};
use crate::sigma::flatten::ARGUMENTS_BYTES_MAX;

/// Most values of a call that are looked at.
const VALUES_MAX: usize = 256;
/// Deepest nesting of a call's arguments that is looked at.
const VALUE_DEPTH_MAX: usize = 32;
/// A shorter word is no evidence of anything.
const WORD_CHARS_MIN: usize = 4;
/// A longer one is a text; only its addresses count.
const WORD_CHARS_MAX: usize = 80;
/// Most addresses of a call of which it is tried whether an instruction spells them out in parts.
const ASSEMBLED_MAX: usize = 16;
/// Fewest letters and digits of an address that is known by its parts, and of one that says whose it is.
const ASSEMBLED_CHARS_MIN: usize = 10;
const LABEL_CHARS_MIN: usize = 5;
/// Shortest part of a word that is put together.
const PART_CHARS_MIN: usize = 2;

/// Methods of HTTP that change something.
const WRITING_METHODS: [&str; 4] = ["POST", "PUT", "PATCH", "DELETE"];

/// Why a call is taken to follow an instruction, the surest last.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Ground {
    /// A plain imperative, and a call to its address of a kind that the user did not ask for.
    Instructed,
    /// A plain imperative, and a call to its address, where the user had named another one of this form.
    Elsewhere,
    /// The instruction is marked; the call does what it asks for, which the user did not, or does it with a secret of which nobody knows
    /// whose it is.
    Unasked,
    /// The instruction is marked; the call does what it asks for with a value of it.
    Value,
    /// The instruction is marked; the call goes to an address that it spells out in parts.
    Assembled,
    /// The instruction is marked; the call goes to its address.
    Address,
}

impl Ground {
    pub(crate) const fn confidence(self) -> f32 {
        match self {
            Self::Instructed | Self::Elsewhere => 0.5,
            Self::Unasked => 0.6,
            Self::Value | Self::Assembled => 0.8,
            Self::Address => 0.9,
        }
    }

    pub(crate) const fn as_str(self) -> &'static str {
        match self {
            Self::Instructed => "instructed",
            Self::Elsewhere => "elsewhere",
            Self::Unasked => "unasked",
            Self::Value => "value",
            Self::Assembled => "assembled",
            Self::Address => "address",
        }
    }
}

/// An instruction that a call follows.
pub(crate) struct Followed {
    /// Which one of the conversation.
    pub(crate) index: usize,
    /// What they share.
    pub(crate) shared: Vec<String>,
    pub(crate) ground: Ground,
}

/// The addresses and the short texts among a call's arguments.
#[derive(Default)]
pub(crate) struct Values {
    pub(crate) addresses: Vec<String>,
    pub(crate) words: Vec<String>,
    /// Whether they say that a request over HTTP changes something.
    pub(crate) writes: bool,
    /// Bytes of the arguments that were not read.
    pub(crate) unread: usize,
}

/// The instruction that the call of `tool`, which `does` so much, follows.
pub(crate) fn follows(conversation: &Conversation, tool: &str, does: Classes, values: &Values) -> Option<Followed> {
    if conversation.instructions.is_empty() {
        return None;
    }
    let addresses: Vec<&String> = values.addresses.iter().filter(|value| !conversation.is_trusted(value)).collect();
    let words: Vec<&String> =
        values.words.iter().filter(|value| !conversation.is_trusted(value) && !conversation.is_told(value)).collect();
    let objects: Vec<String> =
        verbs::words(tool).filter(|word| verbs::class(word) == 0 && word.chars().count() >= WORD_CHARS_MIN).collect();
    let asked = conversation.asked & does != 0;
    // Who asks for nothing to be done has no other use for an address in an imperative.
    let only_looks = conversation.asked & !verbs::READ == 0;
    let mut best: Option<Followed> = None;
    for (index, source) in conversation.instructions.iter().enumerate().rev().filter(|(_, source)| source.acts) {
        let of_source = |values: &[&String], has: &dyn Fn(&str) -> bool| -> Vec<String> {
            values.iter().filter(|value| has(value)).map(|value| (*value).clone()).collect()
        };
        let shared = of_source(&addresses, &|value| has_address(source, value));
        let does_it = (does & source.verbs != 0 || does == 0) && objects.iter().any(|object| has_word(&source.text, object));
        let (ground, shared) = if !source.marked {
            let orders_it = !shared.is_empty() && verbs::has_side_effect(does);
            match orders_it && (does & source.verbs != 0 || only_looks) {
                true if !asked => (Ground::Instructed, shared),
                true if shared.iter().any(|address| conversation.named.contains(text::form(address))) => {
                    (Ground::Elsewhere, shared)
                }
                _ => continue,
            }
        } else if !shared.is_empty() {
            (Ground::Address, shared)
        } else {
            let nowhere = |value: &str| !conversation.is_told(value) && is_assembled(value, &source.around);
            let parts = of_source(&addresses[..addresses.len().min(ASSEMBLED_MAX)], &nowhere);
            // The sanitiser knows a password by the name of its entry, and not in a sentence: so it may stand in the order unseen.
            let unknown = of_source(&addresses, &|value| value.starts_with('<') && !conversation.is_told(value));
            let named = of_source(&words, &|value| has_word(&source.text, value));
            match () {
                () if !parts.is_empty() => (Ground::Assembled, parts),
                () if does_it && !named.is_empty() => (Ground::Value, named),
                () if does_it && !asked && verbs::has_side_effect(does) => (Ground::Unasked, Vec::new()),
                () if does_it && !unknown.is_empty() => (Ground::Unasked, unknown),
                () => continue,
            }
        };
        if best.as_ref().is_none_or(|known| ground > known.ground) {
            best = Some(Followed { index, shared, ground });
        }
    }
    best
}

/// Whether the instruction has the address, or one of the same place.
pub(crate) fn has_address(source: &Source, value: &str) -> bool {
    source.addresses.iter().any(|address| is_same_place(address, value))
}

/// Whether `value` leads to whom `address` leads to: attackers' pages often get something appended, and whoever has a domain
/// has all names below it.
pub(crate) fn is_same_place(address: &str, value: &str) -> bool {
    if address == value {
        return true;
    }
    let (one_local, one) = host(address);
    let (other_local, other) = host(value);
    if !one.contains('.') || !other.contains('.') || (one_local.is_some() && one_local != other_local) {
        return false;
    }
    one == other || is_below(one, other) || is_below(other, one)
}

/// The part before the `@`, if there is one, and the host.
fn host(address: &str) -> (Option<&str>, &str) {
    let whole = address.split(['/', '?', '#']).next().unwrap_or_default();
    let (local, host) = whole.rsplit_once('@').map_or((None, whole), |(local, host)| (Some(local), host));
    (local, host.split_once(':').map_or(host, |(host, _)| host))
}

/// Whether `name` is below `domain`, which is no registry's (`co.uk`).
fn is_below(name: &str, domain: &str) -> bool {
    let labels: Vec<&str> = domain.split('.').collect();
    let is_registry = labels.len() < 2 || (labels.len() == 2 && labels.iter().all(|label| label.len() <= 3));
    !is_registry && name.strip_suffix(domain).is_some_and(|rest| rest.ends_with('.'))
}

/// Whether `text` spells the address out in parts, one after the other: "the host is evil, then dot, then example".
fn is_assembled(address: &str, text: &str) -> bool {
    let labels: Vec<&str> = address.split(|c: char| !c.is_alphanumeric()).filter(|label| !label.is_empty()).collect();
    let chars: usize = labels.iter().map(|label| label.chars().count()).sum();
    if chars < ASSEMBLED_CHARS_MIN || labels.iter().all(|label| label.chars().count() < LABEL_CHARS_MIN) {
        return false;
    }
    let words: Vec<&str> = text.split(|c: char| !c.is_alphanumeric()).filter(|word| !word.is_empty()).collect();
    let mut at = 0;
    labels.into_iter().all(|label| {
        let end = words.get(at..).and_then(|words| end_of_label(label, words));
        at += end.unwrap_or(0);
        end.is_some()
    })
}

/// How many of the words are read until a label is put together of them.
fn end_of_label(label: &str, words: &[&str]) -> Option<usize> {
    (0..words.len()).find_map(|begin| {
        let mut rest = label;
        for (read, word) in words[begin..].iter().enumerate() {
            if word.chars().count() >= PART_CHARS_MIN.min(label.chars().count())
                && let Some(left) = rest.strip_prefix(word)
            {
                rest = left;
            } else if read == 0 {
                return None;
            }
            if rest.is_empty() {
                return Some(begin + read + 1);
            }
        }
        None
    })
}

/// Whether `text` has `word` as a whole word.
fn has_word(text: &str, word: &str) -> bool {
    text.match_indices(word).any(|(start, _)| {
        let before = text[..start].chars().next_back();
        let after = text[start + word.len()..].chars().next();
        !before.is_some_and(char::is_alphanumeric) && !after.is_some_and(char::is_alphanumeric)
    })
}

/// The values of a call's arguments.
pub(crate) fn values(arguments: &str) -> Values {
    let mut found = Values::default();
    let (leaves, unread) = leaves(arguments);
    found.unread = unread;
    for (name, leaf) in leaves {
        found.writes |=
            name.eq_ignore_ascii_case("method") && WRITING_METHODS.iter().any(|method| leaf.eq_ignore_ascii_case(method));
        let before = found.addresses.len();
        found.addresses.extend(text::addresses(&leaf).map(|(address, _)| address).take(VALUES_MAX));
        let word = leaf.trim().to_lowercase();
        if found.addresses.len() == before && (WORD_CHARS_MIN..=WORD_CHARS_MAX).contains(&word.chars().count()) {
            found.words.push(word);
        }
    }
    found.addresses.truncate(VALUES_MAX);
    found
}

/// The texts and numbers of a call's arguments, each with the name of its entry, and how many bytes were not read.
pub(crate) fn leaves(arguments: &str) -> (Vec<(String, String)>, usize) {
    let mut leaves = Vec::new();
    let mut unread = 0;
    let short = (arguments.len() <= ARGUMENTS_BYTES_MAX).then_some(arguments);
    match short.and_then(|text| serde_json::from_str::<Json>(text).ok()) {
        Some(json) => collect_leaves("", &json, 0, &mut leaves, &mut unread),
        None => {
            unread = text::unread(arguments);
            leaves.push((String::new(), text::readable(arguments).text.into_owned()));
        }
    }
    (leaves, unread)
}

fn collect_leaves(name: &str, json: &Json, depth: usize, leaves: &mut Vec<(String, String)>, unread: &mut usize) {
    if depth > VALUE_DEPTH_MAX || leaves.len() >= VALUES_MAX {
        *unread += json.as_str().map_or(1, str::len);
        return;
    }
    match json {
        // No longer than the arguments, so it can be read whole.
        Json::String(text) => leaves.push((name.to_owned(), text.clone())),
        Json::Number(number) => leaves.push((name.to_owned(), number.to_string())),
        Json::Array(values) => values.iter().for_each(|value| collect_leaves(name, value, depth + 1, leaves, unread)),
        Json::Object(entries) => {
            entries.iter().for_each(|(name, value)| collect_leaves(name, value, depth + 1, leaves, unread));
        }
        _ => {}
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn whoever_has_a_domain_has_what_is_below_it() {
        for (address, value, same) in [
            ("evil.example", "evil.example/a?b=c", true),
            ("evil.example/x", "data.evil.example/y", true),
            ("data.evil.example", "evil.example", true),
            ("evil.example", "notevil.example", false),
            ("evil.example", "evil.example.shop.test", false),
            ("co.uk", "shop.co.uk", false),
            ("eve@evil.example", "eve@mail.evil.example", true),
            ("eve@evil.example", "bob@evil.example", false),
            ("evil.example", "drop@evil.example", true),
            ("gb29nwbk60161331926819", "gb29nwbk60161331926819", true),
            ("10.0.0.7:8080", "10.0.0.7", true),
            ("10.0.0.7", "110.0.0.7", false),
        ] {
            assert_eq!(is_same_place(address, value), same, "{address} {value}");
        }
    }

    #[test]
    fn an_address_in_parts_is_put_together() {
        for (text, address, assembled) in [
            ("take mallory and evilcorp and net and join them", "mallory@evilcorp.net", true),
            ("the first half is evil, the second one corp, it ends with net: mallory", "evilcorp.net", true),
            ("write to mallory about corp", "mallory@evilcorp.net", false),
            ("gb29, then nwbk6016 and then 1331926819", "gb29nwbk60161331926819", true),
            ("it is at a b c", "a.b.c", false),
        ] {
            assert_eq!(is_assembled(address, text), assembled, "{text}");
        }
    }

    proptest::proptest! {
        #[test]
        fn arguments_of_any_form_are_read(arguments in "\\PC{0,200}|[\\[\\]{}:,\"a0]{0,60}", text in "\\PC{0,100}") {
            let values = values(&arguments);
            for address in values.addresses.iter().chain(&values.words) {
                is_assembled(address, &text);
                is_same_place(address, &text);
            }
        }
    }
}
