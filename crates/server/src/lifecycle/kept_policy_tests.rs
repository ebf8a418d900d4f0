use std::path::Path;

use event::{Kind, Source, SourcePath, attr};
use journal::Seq;

use super::super::archiver::Swept;
use super::super::cold::Step;
use super::*;
use crate::lifecycle::Erasure;
use crate::node::{Node, NodeError, NodeSettings, internal};
use crate::root_key::RootKeyPlace;

const DAY: Duration = Duration::from_secs(86_400);

fn settings(toml: &str) -> Settings {
    toml::from_str(toml).unwrap()
}

fn open_with(dir: &Path, retention: Option<&str>) -> Result<Node, NodeError> {
    let root = RootKeyPlace::new(Some(&dir.join("root.key"))).unwrap();
    let settings = NodeSettings { retention: retention.map(settings), ..NodeSettings::default() };
    Node::open(&dir.join("data"), &root, &settings)
}

fn open(dir: &Path, retention: Option<&str>) -> Node {
    open_with(dir, retention).unwrap()
}

/// Records something and has everything archived.
fn archived(node: &Node) {
    node.pipeline().record_blocking(vec![internal(Kind::ModelCall, "said")], &|| true).unwrap();
    let nobody = Erasure { subject: "nobody-at-all".to_owned(), ..Erasure::default() };
    node.erase(&Asker::of_process(), &nobody).unwrap();
}

/// The program's own events of a name, oldest first.
fn told(node: &Node, name: &str) -> Vec<Event<String>> {
    let mut reader = node.spine().reader(Seq(0));
    let mut told = Vec::new();
    while let Some(step) = reader.next().unwrap() {
        if let Step::Record(record) = step {
            let event: Event<String> = serde_json::from_slice::<serde_json::Value>(&record.event_json)
                .map(|event| {
                    let source = Source::new(SourcePath::Internal, Key::of("watchkeeper"));
                    let mut found = Event::new(Kind::Admin, event["name"].as_str().unwrap(), source);
                    found.identity.user = serde_json::from_value(event["identity"]["user"].clone()).ok();
                    let attributes = event["attributes"].as_object().cloned().unwrap_or_default();
                    for (key, value) in attributes {
                        found.attributes.insert(Key::parse(&key).unwrap(), serde_json::from_value(value).unwrap());
                    }
                    found
                })
                .unwrap();
            told.extend((event.name == name).then_some(event));
        }
    }
    told
}

fn list(event: &Event<String>, key: &str) -> Vec<String> {
    let Some(Value::List(lines)) = event.attributes.get(&Key::parse(key).unwrap()) else { panic!("no {key} in {event:?}") };
    lines.iter().map(|line| serde_json::to_value(line).unwrap().as_str().unwrap().to_owned()).collect()
}

fn sweep(node: &Node, now: Timestamp) -> Swept {
    node.lifecycle().archiver().sweep(node.pipeline(), now, Some(&Asker::of_process())).unwrap()
}

fn classes(swept: &Swept) -> (Vec<&str>, Vec<&str>) {
    (swept.dropped.iter().map(|span| span.class.as_str()).collect(), swept.stay.iter().map(|stay| stay.why.as_str()).collect())
}

#[test]
fn a_command_without_a_configuration_goes_by_the_policy_that_stands() {
    let dir = tempfile::tempdir().unwrap();
    open(dir.path(), Some("default = \"hipaa\"")).close().unwrap();
    let node = open(dir.path(), None);
    archived(&node);
    assert!(node.segments().iter().any(|segment| segment.class == "hipaa"), "{:?}", node.segments());
    assert_eq!(node.retention().default_class(), "hipaa");
    // It is said once, and not with each start.
    node.close().unwrap();
    let node = open(dir.path(), Some("default = \"hipaa\""));
    assert_eq!(told(&node, POLICY_EVENT).len(), 1);
    node.close().unwrap();
}

#[test]
fn a_change_of_the_policy_is_recorded_with_old_and_new_before_it_holds() {
    let dir = tempfile::tempdir().unwrap();
    open(dir.path(), None).close().unwrap();
    let weaker = "[[class]]\nname = \"hipaa\"\nmax_days = 0\nhot_days = 0\n[[rule]]\nkind = \"admin\"\nclass = \"ops\"";
    let node = open(dir.path(), Some(weaker));
    let events = told(&node, POLICY_EVENT);
    let [event] = events.as_slice() else { panic!("{events:?}") };
    let user = event.identity.user.as_ref().unwrap();
    let asker = Asker::of_process();
    assert_eq!((user.id.clone(), user.name.as_deref()), (asker.id(), asker.name()));
    let (old, new) = (list(event, "watchkeeper.retention.old"), list(event, "watchkeeper.retention.new"));
    assert_eq!((old.len(), new.len()), (1, 2), "{old:?} {new:?}");
    assert!(old[0].starts_with("class {\"name\":\"hipaa\"") && old[0].contains("\"min_days\":2192"), "{old:?}");
    assert!(new[0].contains("\"max_days\":0") && new[1].starts_with("rule 0 "), "{new:?}");
    node.close().unwrap();
    // What is recorded of the policy outlives every record that it speaks of.
    let node = open(dir.path(), None);
    archived(&node);
    assert_eq!(told(&node, POLICY_EVENT).len(), 1);
    assert!(node.segments().iter().any(|segment| segment.class == "record" && segment.until.is_none()));
    node.close().unwrap();
}

#[test]
fn what_was_sealed_before_a_change_stays_a_day_and_what_was_promised_stays_longer() {
    let dir = tempfile::tempdir().unwrap();
    let node = open(dir.path(), Some("default = \"gdpr-default\"\n[[rule]]\nkind = \"admin\"\nclass = \"hipaa\""));
    archived(&node);
    assert!(sweep(&node, Timestamp::now()).dropped.is_empty());
    node.close().unwrap();
    let weaker = "default = \"gdpr-default\"\n[[rule]]\nkind = \"admin\"\nclass = \"hipaa\"\n\
                  [[class]]\nname = \"gdpr-default\"\nmax_days = 0\nhot_days = 0\n\
                  [[class]]\nname = \"hipaa\"\nmax_days = 0\nhot_days = 0";
    let node = open(dir.path(), Some(weaker));
    let now = Timestamp::now();
    let swept = sweep(&node, now);
    let (dropped, stay) = classes(&swept);
    assert_eq!((dropped.len(), stay.len()), (0, 1), "{swept:?}");
    assert!(stay[0].starts_with("the policy was changed behind it"), "{stay:?}");
    let swept = sweep(&node, later(now, GRACE + Duration::from_secs(60)));
    assert_eq!(classes(&swept), (vec!["gdpr-default"], vec![]), "what was sealed under a law is not over");
    let events = told(&node, "retention.drop");
    let [event] = events.as_slice() else { panic!("{events:?}") };
    assert_eq!(event.identity.user.as_ref().unwrap().id, Asker::of_process().id());
    let attribute = |key: &'static str| serde_json::to_value(&event.attributes[&Key::of(key)]).unwrap();
    assert_eq!(attribute("watchkeeper.retention.asked"), "request");
    assert_eq!(attribute("watchkeeper.retention.class"), "gdpr-default");
    assert!(event.attributes.contains_key(&attr::ADMIN_OBJECT));
    node.close().unwrap();
}

#[test]
fn a_clock_that_jumped_drops_nothing_until_somebody_vouches_for_it() {
    let dir = tempfile::tempdir().unwrap();
    let node = open(dir.path(), Some("default = \"gdpr-default\""));
    archived(&node);
    let then = later(Timestamp::now(), 3 * 365 * DAY);
    let swept = sweep(&node, then);
    assert!(swept.dropped.is_empty() && swept.stay.iter().all(|stay| stay.why.starts_with("the clock says ")), "{swept:?}");
    assert!(!swept.stay.is_empty());
    sweep(&node, then);
    assert_eq!(told(&node, "retention.waits").len(), 1, "it is recorded once");
    let vouched = node.lifecycle().policy.vouched_event(&Asker::of_process(), then).unwrap();
    assert!(vouched.identity.user.is_some());
    node.vouch(&Asker::of_process(), then).unwrap();
    assert_eq!(told(&node, CLOCK_EVENT).len(), 1);
    let swept = sweep(&node, then);
    assert!(swept.dropped.iter().any(|span| span.class == "gdpr-default"), "{swept:?}");
    node.close().unwrap();
    // It is known at the next start: by then the clock is far behind.
    let node = open(dir.path(), None);
    assert!(node.lifecycle().policy.sealing_time(Timestamp::now()) >= then);
    node.close().unwrap();
}

#[test]
fn small_steps_of_the_clock_within_a_process_are_one_large_one() {
    let start = Timestamp::from_unix_ns(1_000_000_000_000_000_000);
    let clock = Clock::new(Some(start), later(start, 6 * DAY));
    assert_eq!(clock.believed, later(start, 6 * DAY), "a week of rest is believed");
    let at = |days: u32, passed: Duration| clock.check(later(clock.believed, days * DAY), clock.at + passed);
    assert_eq!(at(7, Duration::ZERO), Ok(()));
    assert!(at(8, Duration::ZERO).is_err());
    assert_eq!(at(8, DAY), Ok(()), "what passed counts");
    assert!(at(15, 7 * DAY).is_err());
    // At a start that is too far ahead nothing is believed but what was.
    let jumped = Clock::new(Some(start), later(start, 8 * DAY));
    assert_eq!(jumped.believed, start);
    // A clock that went back is no reason to believe less.
    assert_eq!(Clock::new(Some(start), Timestamp::from_unix_ns(0)).believed, start);
}

#[test]
fn what_was_dropped_leaves_the_hot_store_and_what_is_left_stays_there() {
    let dir = tempfile::tempdir().unwrap();
    let short = "[[rule]]\nkind = \"tool_call\"\nclass = \"short\"\n[[class]]\nname = \"short\"\nmax_days = 0\nhot_days = 0";
    let node = open(dir.path(), Some(short));
    let say = |node: &Node, kind: Kind| {
        node.pipeline().record_blocking(vec![internal(kind, "said")], &|| true).unwrap();
    };
    let kinds = |node: &Node| {
        assert!(node.flush(Duration::from_secs(60)));
        let sql = "SELECT kind FROM events WHERE kind IN ('tool_call', 'model_call') ORDER BY seq";
        let table = node.reader().unwrap().sql(sql, &store::QueryLimits::default()).unwrap();
        let text = |row: &Vec<store::Cell>| match &row[0] {
            store::Cell::Text(kind) => kind.clone(),
            other => format!("{other:?}"),
        };
        table.rows.iter().map(text).collect::<Vec<_>>()
    };
    say(&node, Kind::ToolCall);
    archived(&node);
    say(&node, Kind::ToolCall);
    assert_eq!(kinds(&node), ["tool_call", "model_call", "tool_call"]);
    let swept = node.sweep(&Asker::of_process(), false).unwrap();
    assert!(swept.dropped.iter().all(|span| span.class == "short") && !swept.dropped.is_empty(), "{swept:?}");
    // The second one is still in the journal.
    assert_eq!(kinds(&node), ["model_call", "tool_call"]);
    assert!(super::super::stale::due(node.keyring(), later(Timestamp::now(), 2 * DAY), false).unwrap().is_empty());
    say(&node, Kind::ModelCall);
    assert_eq!(kinds(&node), ["model_call", "tool_call", "model_call"]);
    node.close().unwrap();
    let node = open(dir.path(), None);
    assert_eq!(kinds(&node), ["model_call", "tool_call", "model_call"]);
    node.close().unwrap();
}

#[test]
fn days_of_dropped_records_wait_for_the_rest_of_their_segments() {
    let dir = tempfile::tempdir().unwrap();
    let node =
        open(dir.path(), Some("default = \"gdpr-default\"\n[[class]]\nname = \"gdpr-default\"\nmax_days = 0\nhot_days = 0"));
    archived(&node);
    let now = Timestamp::now();
    // As the server does it every hour.
    let swept = node.lifecycle().archiver().sweep(node.pipeline(), now, None).unwrap();
    assert!(!swept.dropped.is_empty());
    let due = |after: Duration, all: bool| super::super::stale::due(node.keyring(), later(now, after), all).unwrap();
    assert_eq!((due(DAY / 2, false).len(), due(DAY, false).len(), due(Duration::ZERO, true).len()), (0, 1, 1));
    let events = told(&node, "retention.drop");
    assert!(events.iter().all(|event| event.identity.user.is_none()));
    node.close().unwrap();
}
