//! Names under which only Watchkeeper itself speaks: what it did with the record, and who read it. An auditor goes by them, so
//! nothing that comes from outside bears one.

use event::{Key, Principal, SourcePath, Value, attr};
use unicode_normalization::UnicodeNormalization as _;

use crate::{Raw, RawEvent};

/// Beginnings of names.
const PREFIXES: [&str; 18] = [
    "archive.",
    "configuration.",
    "detection.",
    "erasure.",
    "evaluation.",
    "evidence.",
    "hold.",
    "key.",
    "log_key.",
    "publication.",
    "record.",
    "recorder.",
    "recovery.",
    "retention.",
    "rules.",
    "signatures.",
    "store.",
    "tenant_key.",
];

/// Whole names: what stands before their points is what others may name their own operations by, too (`search.documents`).
const NAMES: [&str; 13] = [
    "drill.play",
    "journal.recovered",
    "mcp.tool.approve",
    "person.sessions.end",
    "search.create",
    "search.delete",
    "server.start",
    "server.stop",
    "sign_in",
    "sign_out",
    "suppression.create",
    "suppression.delete",
    "triage.lost",
];

/// What only the way of an event says: where its client is, how it was sanitised, and what of it is sealed.
const OF_PIPELINE: [Key; 9] = [
    attr::GEO_DATABASE,
    attr::SANITIZER_POLICY,
    attr::RECOVERY_SEALED,
    attr::RECOVERY_LEFT_OUT,
    attr::RESPONSE_CATEGORY,
    attr::RESPONSE_FINANCIAL_ROWS,
    attr::INTEL_HITS,
    attr::INTEL_SET,
    attr::INTEL_LEFT_OUT,
];

/// What only a proxy of ours says of a call.
const OF_PROXIES: [Key; 3] = [attr::EGRESS_MODE, attr::EGRESS_KEY, attr::RECORD_ON_FAILURE];

/// The application that Watchkeeper itself is.
const APPLICATION: &str = "watchkeeper";

/// What stands before a reserved name that came from outside.
const REPORTED: &str = "reported.";

/// Whether only Watchkeeper itself records events of that name. This list is the only one. Where the server speaks for
/// itself, builds for development and tests look here, and stop at a name that is missing: one that no test speaks of can be.
#[must_use]
pub fn is_reserved_name(name: &str) -> bool {
    let name = as_read(name);
    NAMES.iter().any(|reserved| rest_behind(&name, reserved).is_some_and(<[char]>::is_empty))
        || PREFIXES.iter().any(|reserved| rest_behind(&name, reserved).is_some())
}

/// A name as people read it: capitals, and what cannot be seen, make no other name.
fn as_read(name: &str) -> Vec<char> {
    let is_seen = |letter: &char| letter.is_alphanumeric() || matches!(letter, '.' | '_' | '-' | ' ');
    let letters: Vec<char> = name.nfkc().filter(is_seen).flat_map(char::to_lowercase).filter(is_seen).collect();
    let begin = letters.iter().take_while(|letter| **letter == ' ').count();
    let end = letters.len() - letters[begin..].iter().rev().take_while(|letter| **letter == ' ').count();
    letters[begin..end].to_vec()
}

/// What stands behind a reserved beginning. A letter of another script may look like the one that it stands for: up to every other one
/// counts as it.
fn rest_behind<'a>(name: &'a [char], reserved: &str) -> Option<&'a [char]> {
    let mut foreign = 0;
    let mut count = 0;
    for (letter, wanted) in name.iter().zip(reserved.chars()) {
        count += 1;
        if *letter != wanted {
            foreign += 1;
            if letter.is_ascii() {
                return None;
            }
        }
    }
    (count == reserved.len() && foreign * 2 <= count).then(|| &name[count..])
}

/// Whether that is the application that Watchkeeper itself is.
#[must_use]
pub(crate) fn is_reserved_application(id: &str) -> bool {
    rest_behind(&as_read(id), APPLICATION).is_some_and(<[char]>::is_empty)
}

/// Puts `reported.` before what is reserved in an event from outside. It is recorded, because what was sent is evidence, too.
pub fn mark_reported(event: &mut RawEvent) {
    let mark = |text: &Raw| Raw::from(format!("{REPORTED}{}", text.expose()));
    if is_reserved_name(event.name.expose()) {
        event.name = mark(&event.name);
    }
    let application: Option<&mut Principal<Raw>> = event.identity.application.as_mut();
    if let Some(application) = application.filter(|application| is_reserved_application(application.id.expose())) {
        application.id = mark(&application.id);
    }
    let is_of_proxy = matches!(event.source.path, SourcePath::Gateway | SourcePath::Egress | SourcePath::Mcp);
    // Only a look-up of ours says that a place was looked up, only our sanitiser by which policy, only inspection what an answer is, and only
    // a proxy how it passed a call on.
    for key in OF_PIPELINE.into_iter().chain(OF_PROXIES.into_iter().filter(|_| !is_of_proxy)) {
        if let Some(value) = event.attributes.remove(&key) {
            event.unmapped.insert(Raw::from(format!("{REPORTED}{key}")), value);
        }
    }
    // Hooks are ours, too, and run on the caller's machine: theirs is `watchkeeper hook`.
    if !is_of_proxy
        && event.source.path != SourcePath::Hook
        && let Some(Value::Text(component)) = event.attributes.get_mut(&attr::GEN_AI_GUARDRAIL_COMPONENT_NAME)
        && rest_behind(&as_read(component.expose()), APPLICATION).is_some()
    {
        *component = mark(component);
    }
}

#[cfg(test)]
mod tests {
    use event::{Event, Key, Kind, Source, SourcePath};

    use super::*;

    #[test]
    fn what_comes_from_outside_bears_no_name_of_ours() {
        let marked = |name: &str, application: &str| {
            let mut event: RawEvent = Event::new(Kind::Admin, name, Source::new(SourcePath::OtlpHttp, Key::of("otel")));
            event.identity.application = Some(Principal::asserted(Raw::from(application)));
            mark_reported(&mut event);
            (event.name.expose().to_owned(), event.identity.application.unwrap().id.expose().to_owned())
        };
        for name in [
            "hold.place",
            "erasure.done",
            "record.read",
            " Hold.Place",
            "sign_in",
            "key.create",
            "mcp.tool.approve",
            "rules.reload",
            "Signatures.reload",
            "hold\u{200b}.release",
            "\u{200b}configuration.change",
            "cOnfigurat\u{131}on.change",
            "h\u{43e}ld.place",
            "\u{ff48}\u{ff4f}\u{ff4c}\u{ff44}.place",
            "sign\u{ad}_in",
            "search.create",
            "search.delete",
            "suppression.create",
            "suppression.delete",
            "person.sessions.end",
            "triage.lost",
            "Drill.Play",
        ] {
            assert_eq!(marked(name, "Watchkeeper"), (format!("reported.{name}"), "reported.Watchkeeper".to_owned()));
        }
        for name in [
            "chat gpt-4o",
            "hold",
            "threshold.place",
            "records",
            "reported.hold.place",
            "sign_in_page",
            "search.documents",
            "search.create_index",
            "suppression.list",
            "person.sessions",
            "triage.ticket",
            "drill.play_again",
            "\u{6570}\u{636e}\u{5e93}\u{64cd}\u{4f5c}.\u{67e5}",
        ] {
            assert_eq!(marked(name, "watchkeeper-demo"), (name.to_owned(), "watchkeeper-demo".to_owned()));
        }
    }

    #[test]
    fn what_only_a_proxy_of_ours_says_is_reported_when_others_say_it() {
        let told = |path: SourcePath| {
            let mut event: RawEvent = Event::new(Kind::ExternalCall, "call", Source::new(path, Key::of("x")));
            event.set(attr::EGRESS_MODE, "intercepted");
            event.set(attr::RECORD_ON_FAILURE, "closed");
            event.set(attr::GEN_AI_GUARDRAIL_COMPONENT_NAME, "Watchkeeper.egress");
            mark_reported(&mut event);
            let component = event.attribute(attr::GEN_AI_GUARDRAIL_COMPONENT_NAME.as_str()).and_then(Value::as_text).cloned();
            (event.attributes.len(), event.unmapped.len(), component.map(|text| text.expose().to_owned()))
        };
        assert_eq!(told(SourcePath::Egress), (3, 0, Some("Watchkeeper.egress".to_owned())));
        assert_eq!(told(SourcePath::Api), (1, 2, Some("reported.Watchkeeper.egress".to_owned())));
    }
}
