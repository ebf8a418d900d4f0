//! Names under which only Watchkeeper itself speaks: what it did with the record, and who read it. An auditor goes by them, so
//! nothing that comes from outside bears one.

use event::{Principal, attr};

use crate::{Raw, RawEvent};

/// Beginnings of names.
const PREFIXES: [&str; 13] = [
    "archive.",
    "configuration.",
    "detection.",
    "erasure.",
    "evidence.",
    "hold.",
    "key.",
    "log_key.",
    "record.",
    "recorder.",
    "retention.",
    "store.",
    "tenant_key.",
];

/// Whole names.
const NAMES: [&str; 5] = ["journal.recovered", "server.start", "server.stop", "sign_in", "sign_out"];

/// The application that Watchkeeper itself is.
const APPLICATION: &str = "watchkeeper";

/// What stands before a reserved name that came from outside.
const REPORTED: &str = "reported.";

/// Whether only Watchkeeper itself records events of that name.
#[must_use]
pub(crate) fn is_reserved_name(name: &str) -> bool {
    // As people read it: spaces around it and capitals make no other name.
    let name = name.trim().to_lowercase();
    NAMES.contains(&name.as_str()) || PREFIXES.iter().any(|prefix| name.starts_with(prefix))
}

/// Whether that is the application that Watchkeeper itself is.
#[must_use]
pub(crate) fn is_reserved_application(id: &str) -> bool {
    id.trim().eq_ignore_ascii_case(APPLICATION)
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
    // Only a look-up of ours says that a place was looked up.
    if let Some(value) = event.attributes.remove(&attr::GEO_DATABASE) {
        event.unmapped.insert(Raw::from(format!("{REPORTED}{}", attr::GEO_DATABASE)), value);
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
        for name in ["hold.place", "erasure.done", "record.read", " Hold.Place", "sign_in", "key.create"] {
            assert_eq!(marked(name, "Watchkeeper"), (format!("reported.{name}"), "reported.Watchkeeper".to_owned()));
        }
        for name in ["chat gpt-4o", "hold", "threshold.place", "records", "reported.hold.place"] {
            assert_eq!(marked(name, "watchkeeper-demo"), (name.to_owned(), "watchkeeper-demo".to_owned()));
        }
    }
}
