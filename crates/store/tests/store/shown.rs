//! What lists show and leave out: the server's own, sessions by parts of their ids, and as much of long names as a page has room for.

use std::collections::BTreeSet;

use event::{Key, Kind, Principal, Source, SourcePath, attr};
use store::{DetectionFilter, EventFilter, PAGE_BYTES_MAX, SessionFilter};

use crate::fixture::{Ev, Journal, With as _, event, indexed};
use crate::lists::Nothing;

/// What the server records of itself: that somebody administers it, or has signed in to it.
fn own(kind: Kind, seconds: u64, session: Option<&str>) -> Ev {
    event(kind, seconds).with(|event| {
        event.source = Source::new(SourcePath::Internal, Key::of("watchkeeper"));
        event.session = session.map(str::to_owned);
        event.identity.application = Some(Principal::asserted("watchkeeper"));
        event.identity.user = Some(Principal::asserted("ann"));
    })
}

#[test]
fn the_servers_own_events_and_sessions_are_told_and_left_out_where_they_are_not_wanted() {
    let mut journal = Journal::new();
    // Whoever sends events can call themselves what they like.
    let forged = event(Kind::Admin, 1).with(|event| {
        event.session = Some("forged".to_owned());
        event.identity.application = Some(Principal::asserted("watchkeeper"));
    });
    let others = [
        forged,
        own(Kind::Gap, 2, None),
        own(Kind::Admin, 3, Some("used")).with(|event| event.set(attr::GEN_AI_TOOL_NAME, "shell")),
        event(Kind::ModelCall, 4).with(|event| event.session = Some("shared".to_owned())),
        event(Kind::Detection, 5).with(|event| event.session = Some("caught".to_owned())),
        event(Kind::Detection, 6).with(|event| event.session = Some("caught first".to_owned())),
    ];
    let wanted: BTreeSet<String> = others.into_iter().map(|event| journal.push(event)).collect();
    for (n, session) in ["console", "shared", "caught first", "caught"].into_iter().enumerate() {
        journal.push(own(Kind::DataAccess, 10 + n as u64, Some(session)));
    }
    let caught_later = journal.records.len();
    let more = event(Kind::Detection, 20).with(|event| event.session = Some("caught later".to_owned()));
    journal.push(own(Kind::DataAccess, 19, Some("caught later")));
    let mut store = indexed(&journal);
    assert_eq!(
        store.reader.sessions(&SessionFilter { without_own: true, ..SessionFilter::default() }, 9, None).unwrap().rows.len(),
        5
    );
    journal.push(more);
    store.store.index(&journal.records[caught_later + 1..]).unwrap();

    let (all, filter) = (EventFilter::default(), EventFilter { without_own: true, ..EventFilter::default() });
    let found = store.reader.events(&filter, 100, None).unwrap().rows;
    assert!(found.iter().all(|row| !row.own && filter.passes(row)));
    let ids: BTreeSet<String> =
        found.into_iter().filter(|row| row.time.as_str() < "2025-11-20T12:00:10").map(|row| row.event_id).collect();
    assert_eq!(ids, wanted);
    let own = store.reader.events(&all, 100, None).unwrap().rows.into_iter().filter(|row| row.own);
    assert_eq!(own.inspect(|row| assert!(!filter.passes(row) && all.passes(row))).count(), 5);
    let with_more = EventFilter { application: Some("watchkeeper".to_owned()), ..filter };
    assert_eq!(store.reader.events(&with_more, 100, None).unwrap().rows.len(), 3);

    let sessions = |without_own: bool, more: SessionFilter| {
        let filter = SessionFilter { without_own, ..more };
        let rows = store.reader.sessions(&filter, 100, None).unwrap().rows;
        rows.into_iter().map(|row| (row.session_id, row.own)).collect::<BTreeSet<_>>()
    };
    let told = |names: &[(&str, bool)]| names.iter().map(|(name, own)| ((*name).to_owned(), *own)).collect::<BTreeSet<_>>();
    let others = told(&[
        ("forged", false),
        ("used", false),
        ("shared", false),
        ("caught", false),
        ("caught first", false),
        ("caught later", false),
    ]);
    assert_eq!(sessions(true, SessionFilter::default()), others);
    let mut all = others;
    all.insert(("console".to_owned(), true));
    assert_eq!(sessions(false, SessionFilter::default()), all);
    let of_user = || SessionFilter { user: Some("ann".to_owned()), ..SessionFilter::default() };
    assert_eq!((sessions(false, of_user()).len(), sessions(true, of_user()).len()), (6, 5));
    let detected = SessionFilter { severity: Some("informational".to_owned()), ..SessionFilter::default() };
    assert_eq!(sessions(true, detected), told(&[("caught", false), ("caught first", false), ("caught later", false)]));
}

#[test]
fn what_was_refused_at_the_servers_own_door_is_not_left_out_as_its_own() {
    let mut journal = Journal::new();
    let refused = |seconds| {
        own(Kind::Session, seconds, None).with(|event| {
            event.set(attr::EVENT_ACTION, "login");
            event.set(attr::EVENT_OUTCOME, "failure");
        })
    };
    journal.push(own(Kind::Session, 1, Some("console")).with(|event| event.set(attr::EVENT_OUTCOME, "success")));
    let wanted = [journal.push(refused(2)), journal.push(refused(3).with(|event| event.identity = event::Identity::default()))];
    let store = indexed(&journal);
    let filter = EventFilter { without_own: true, ..EventFilter::default() };
    let events = store.reader.events(&filter, 9, None).unwrap().rows;
    assert_eq!(events.into_iter().map(|row| row.event_id).collect::<BTreeSet<_>>(), BTreeSet::from(wanted.clone()));
    let filter = SessionFilter { without_own: true, ..SessionFilter::default() };
    let sessions = store.reader.sessions(&filter, 9, None).unwrap().rows;
    let wanted: BTreeSet<_> = wanted.iter().map(|id| format!("event:{id}")).collect();
    assert_eq!(sessions.into_iter().map(|row| row.session_id).collect::<BTreeSet<_>>(), wanted);
}

#[test]
fn sessions_are_found_by_any_part_of_their_ids() {
    let mut journal = Journal::new();
    let long = "y".repeat(300);
    let ids: Vec<String> = (0..2_600_u64)
        .map(|n| format!("Chat-{:06x}", n.wrapping_mul(0x9e_3779) & 0xff_ffff))
        .chain([
            "a\"b AND c".to_owned(),
            "größe-77".to_owned(),
            "ÄRGER-Ö".to_owned(),
            "nul\0behind".to_owned(),
            format!("{long}zzz"),
        ])
        .collect();
    for (n, id) in ids.iter().enumerate() {
        journal.push(event(Kind::ModelCall, n as u64).with(|event| event.session = Some(id.clone())));
    }
    let store = indexed(&journal);
    for q in [
        "chat",
        "CHAT-",
        "hat-00",
        "00",
        "3779",
        "9e3779",
        "\"b AND",
        "b a",
        "öß",
        "ße-7",
        "ÄRGER-Ö",
        "Ärger",
        "-Ö",
        "behind",
        "l\0b",
        "zzz",
        "yyyy",
        "-",
        "none",
    ] {
        // In their beginnings, as far as lists show what leads nowhere.
        let has = |id: &&String| id.chars().take(256).collect::<String>().to_ascii_lowercase().contains(&q.to_ascii_lowercase());
        let expected: BTreeSet<String> = ids.iter().filter(has).cloned().collect();
        let filter = SessionFilter { q: Some(q.to_owned()), ..SessionFilter::default() };
        let (mut found, mut cursor) = (Vec::new(), None);
        loop {
            let page = store.reader.sessions(&filter, 200, cursor.as_deref()).unwrap();
            assert!(page.rows.iter().is_sorted_by(|a, b| a.last >= b.last));
            found.extend(page.rows.into_iter().map(|row| row.session_id));
            cursor = page.next;
            if cursor.is_none() {
                break;
            }
        }
        assert_eq!((found.len(), found.into_iter().collect::<BTreeSet<_>>()), (expected.len(), expected), "{q:?}");
    }
}

/// The ids of all pages, none of which is longer than it may be.
fn pages<T: serde::Serialize>(
    next: impl Fn(Option<&str>) -> store::Page<T>,
    id: impl Fn(&T) -> String,
) -> (BTreeSet<String>, usize) {
    let (mut found, mut cursor, mut pages) = (BTreeSet::new(), None, 0);
    loop {
        let page = next(cursor.as_deref());
        assert!(serde_json::to_vec(&page).unwrap().len() < PAGE_BYTES_MAX + 64 * 1_024);
        found.extend(page.rows.iter().map(&id));
        pages += 1;
        cursor = page.next;
        if cursor.is_none() {
            return (found, pages);
        }
    }
}

#[test]
fn a_page_of_long_names_ends_early_and_goes_on_and_a_batch_too() {
    let mut journal = Journal::new();
    for n in 0..1_000_u64 {
        // Characters of four bytes, in each field that has a name.
        let name = |what: &str| format!("{n} {what} {}", "𒀀".repeat(1_100));
        let event = event(if n % 2 == 0 { Kind::ModelCall } else { Kind::Detection }, n).with(|event| {
            event.session = Some(name("session"));
            event.name = name("name");
            event.identity.user = Some(Principal::asserted(name("user")));
            event.identity.application = Some(Principal::asserted(name("application")));
            event.identity.agent = Some(Principal::asserted(name("agent")));
            event.set(attr::GEN_AI_REQUEST_MODEL, name("model").as_str());
            event.set(attr::GEN_AI_TOOL_NAME, name("tool").as_str());
            event.set(attr::ERROR_TYPE, name("error").as_str());
            event.set(attr::DETECTION_TITLE, name("title").as_str());
            event.set(attr::DETECTION_RULE, name("rule").as_str());
        });
        journal.push(event);
    }
    let store = indexed(&journal);
    let reader = &store.reader;
    let (found, count) = pages(|at| reader.events(&EventFilter::default(), 500, at).unwrap(), |row| row.event_id.clone());
    assert!(found.len() == 1_000 && count > 2, "{} {count}", found.len());
    let (found, count) = pages(|at| reader.sessions(&SessionFilter::default(), 500, at).unwrap(), |row| row.session_id.clone());
    assert!(found.len() == 500 && count > 0, "{} {count}", found.len());
    let filter = DetectionFilter::default();
    let (found, count) =
        pages(|at| reader.detections(&filter, &Nothing, 500, at).unwrap(), |row| row.detection.detection_id.clone());
    assert!(found.len() == 500 && count > 1, "{} {count}", found.len());
    // What is shown of a name finds it.
    let one = reader.detections(&filter, &Nothing, 1, None).unwrap().rows.remove(0).detection;
    assert!(one.correlation.ends_with('…') && one.correlation.chars().count() == 1_037);
    let of_it = DetectionFilter { correlation: Some(one.correlation), ..filter };
    assert_eq!(reader.detections(&of_it, &Nothing, 9, None).unwrap().rows.len(), 1);

    let (mut from, mut batches) = (0, 0);
    loop {
        let (rows, is_whole) = reader.events_from(from, 1_000, 1_000).unwrap();
        assert!(serde_json::to_vec(&rows).unwrap().len() < 1_100 * 1_024 && rows[0].seq == from);
        from += rows.len() as u64;
        batches += 1;
        if is_whole {
            break;
        }
    }
    assert!(from == 1_000 && batches > 4, "{from} {batches}");
    // The detail has all of it.
    assert!(reader.event(&journal.records[0].event().unwrap().id.to_string()).unwrap().row.name.len() > 1_200);
}
