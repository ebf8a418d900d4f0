//! Lists and rollups: each is held against SQL over the views, over two days whose midnight sessions cross.

use std::collections::BTreeSet;

use event::{Kind, Phase, Principal, Risk, Status, Timestamp, Trace, TraceId, attr};
use store::{
    Buckets, Cell, DetectionFilter, DetectionRecord, EntityKind, EventFilter, Marked, Marks, QueryLimits, SessionFilter, State,
    Totals, UsageBy,
};

use crate::fixture::{Ev, Indexed, Journal, NOON, With as _, answer, event, finding, indexed, inspected, said};

/// Twelve hours and a bit: the next day.
const NEXT_DAY: u64 = 13 * 3_600;

/// Nobody has decided anything.
pub(crate) struct Nothing;

impl Marks for Nothing {
    fn of(&self, _: &str) -> Marked {
        Marked::default()
    }

    fn suppression(&self, _: &DetectionRecord) -> Option<std::sync::Arc<str>> {
        None
    }
}

/// Events of three users, two agents and two models over two days; many at one time.
fn events() -> Vec<Ev> {
    let kinds = [Kind::ModelCall, Kind::ToolCall, Kind::Retrieval, Kind::ModelCall, Kind::ModelCall];
    let mut events: Vec<Ev> = (0..600_u64)
        .map(|n| {
            let seconds = if n < 400 { n / 4 * 60 } else { NEXT_DAY + (n - 400) * 7 };
            let kind = kinds[(n % 5) as usize];
            event(kind, seconds).with(|event| {
                event.session = Some(format!("s{}", n % 11));
                event.identity.user = (n % 3 < 2).then(|| Principal::asserted(format!("u{}", n % 3)));
                event.identity.application = Some(Principal::asserted("shop"));
                event.identity.agent = Some(Principal::asserted(format!("agent{}", n % 2)));
                event.duration_ns = Some((n % 100) * 10_000_000);
                event.status = if n.is_multiple_of(17) { Status::Error } else { Status::Ok };
                if kind == Kind::ModelCall {
                    event.phase = if n % 20 == 3 { Phase::Request } else { Phase::Complete };
                    event.set(attr::GEN_AI_PROVIDER_NAME, "lab");
                    event.set(attr::GEN_AI_REQUEST_MODEL, format!("m{}", n % 2).as_str());
                    event.set(attr::GEN_AI_USAGE_INPUT_TOKENS, 10);
                    event.set(attr::GEN_AI_USAGE_OUTPUT_TOKENS, i64::try_from(n % 7).unwrap());
                    event.pieces = vec![said(&format!("question {n}")), answer("yes")];
                    let (risk, score) = [(Risk::PromptInjection, 0.2), (Risk::Jailbreak, 0.7)][usize::from(n % 3 == 0)];
                    if n.is_multiple_of(2) {
                        event.pieces[0].findings = vec![finding(risk, score, 0, 3)];
                        event.inspection = inspected(score);
                    }
                } else if kind == Kind::ToolCall {
                    event.set(attr::GEN_AI_TOOL_NAME, if n.is_multiple_of(2) { "mail" } else { "read" });
                }
            })
        })
        .collect();
    for n in 0..40_u64 {
        events.push(event(Kind::Detection, n * 300 + if n < 20 { 0 } else { NEXT_DAY }).with(|event| {
            event.session = Some(format!("s{}", n % 5));
            event.identity.user = Some(Principal::asserted(format!("u{}", n % 2)));
            event.identity.agent = Some(Principal::asserted("agent0"));
            event.set(attr::DETECTION_RULE, format!("rule-{}", n % 4).as_str());
            event.set(attr::DETECTION_TITLE, format!("Title {}", n % 4).as_str());
            event.set(attr::DETECTION_SEVERITY, ["low", "medium", "high", "critical"][(n % 4) as usize]);
            event.set(attr::DETECTION_CONFIDENCE, event::Value::double(0.5));
            event.set(attr::DETECTION_TECHNIQUE, if n.is_multiple_of(2) { "AML.T0051.000" } else { "AML.T0057" });
        }));
    }
    events.sort_by_key(|event| event.observed);
    events
}

fn fixture() -> Indexed {
    let mut journal = Journal::new();
    journal.extend(events());
    indexed(&journal)
}

fn texts(fixture: &Indexed, sql: &str) -> Vec<String> {
    let table = fixture.reader.sql(sql, &QueryLimits::default()).unwrap();
    table.rows.into_iter().map(|row| row[0].to_string()).collect()
}

fn number(fixture: &Indexed, sql: &str) -> u64 {
    match fixture.reader.sql(sql, &QueryLimits::default()).unwrap().rows[0][0] {
        Cell::Int(number) => number.unsigned_abs(),
        _ => 0,
    }
}

#[test]
fn every_filter_of_events_gives_what_sql_gives_from_page_to_page() {
    let fixture = fixture();
    let text = |text: &str| Some(text.to_owned());
    let any = EventFilter::default;
    let noon_ns = i64::try_from(NOON).unwrap() * 1_000_000_000;
    for (filter, condition) in [
        (any(), "1"),
        (EventFilter { kind: text("tool_call"), ..any() }, "kind = 'tool_call'"),
        (EventFilter { user: text("u1"), ..any() }, "user_id = 'u1'"),
        (EventFilter { user: text("u1"), kind: text("model_call"), ..any() }, "user_id = 'u1' AND kind = 'model_call'"),
        (EventFilter { agent: text("agent1"), status: text("error"), ..any() }, "agent = 'agent1' AND status = 'error'"),
        (EventFilter { status: text("ok"), ..any() }, "status = 'ok'"),
        (EventFilter { model: text("m1"), ..any() }, "model = 'm1'"),
        (EventFilter { tool: text("mail"), session: text("s2"), ..any() }, "tool = 'mail' AND session_id = 's2'"),
        (EventFilter { application: text("shop"), ..any() }, "application = 'shop'"),
        (EventFilter { session: text("none"), ..any() }, "0"),
        (EventFilter { risk: text("jailbreak"), ..any() }, "risks LIKE '%jailbreak%'"),
        (EventFilter { risk: text("jail"), ..any() }, "0"),
        (
            EventFilter { risk: text("prompt_injection"), user: text("u1"), ..any() },
            "risks LIKE '%injection%' AND user_id = 'u1'",
        ),
        (EventFilter { score: Some(0.5), ..any() }, "score >= 0.5"),
        (
            EventFilter { since_ns: Some(noon_ns + 600_000_000_000), until_ns: Some(noon_ns + 1_200_000_000_000), ..any() },
            "time_ns >= 1763640600000000000 AND time_ns < 1763641200000000000",
        ),
        (
            EventFilter { since_ns: Some(noon_ns + 600_000_000_000), user: text("u0"), ..any() },
            "user_id = 'u0' AND time_ns >= 1763640600000000000",
        ),
    ] {
        let mut found = Vec::new();
        let mut cursor = None;
        loop {
            let page = fixture.reader.events(&filter, 37, cursor.as_deref()).unwrap();
            assert!(page.rows.len() <= 37 && page.rows.iter().all(|row| filter.passes(row)), "{filter:?}");
            found.extend(page.rows.into_iter().map(|row| row.event_id));
            cursor = page.next;
            if cursor.is_none() {
                break;
            }
        }
        let expected = texts(&fixture, &format!("SELECT event_id FROM events WHERE {condition} ORDER BY time_ns DESC, seq DESC"));
        assert_eq!(found, expected, "{filter:?}");
        assert_eq!(expected.is_empty(), condition == "0", "the filter finds something: {filter:?}");
    }
    let all = fixture.reader.events_from(0, u64::MAX, 10_000).unwrap().0;
    assert_eq!(all.len() as u64, number(&fixture, "SELECT count(*) FROM events"));
    assert!(all.windows(2).all(|pair| pair[0].seq < pair[1].seq));
    let last = all.last().unwrap().seq;
    assert_eq!(fixture.reader.events_from(last, last + 1, 10).unwrap().0.len(), 1);
    assert!(fixture.reader.events_from(last, last, 10).unwrap().0.is_empty());
    assert!(fixture.reader.events_from(last + 1, u64::MAX, 10).unwrap().0.is_empty());
    // In steps of any length, over midnight too, each comes once, and nothing from `end` on.
    let (mut seqs, mut from, end) = (Vec::new(), 0, last - 9);
    while from < end {
        let rows = fixture.reader.events_from(from, end, 7).unwrap().0;
        from = rows.last().map_or(end, |row| row.seq + 1);
        seqs.extend(rows.into_iter().map(|row| row.seq));
    }
    assert_eq!(seqs, all.iter().map(|row| row.seq).filter(|seq| *seq < end).collect::<Vec<_>>());
    assert!(fixture.reader.events(&any(), 10, Some("nonsense")).is_err());
}

#[test]
fn what_comes_in_is_read_in_the_order_of_the_journal_whatever_its_days() {
    let mut journal = Journal::new();
    // Two sources, one of which sends what it kept since yesterday.
    journal.extend(
        (0..40_u64).map(|n| event(Kind::ToolCall, n + if n.is_multiple_of(2) { NEXT_DAY } else { 0 })).collect::<Vec<_>>(),
    );
    let fixture = indexed(&journal);
    let (mut found, mut from) = (Vec::new(), 0);
    loop {
        let rows = fixture.reader.events_from(from, u64::MAX, 7).unwrap().0;
        let Some(last) = rows.last() else { break };
        from = last.seq + 1;
        found.extend(rows.iter().map(|row| row.seq));
    }
    assert_eq!(found.len(), 40);
    assert!(found.windows(2).all(|pair| pair[0] < pair[1]), "{found:?}");
}

#[test]
fn a_session_that_goes_on_over_midnight_is_told_once_and_whole() {
    let fixture = fixture();
    let mut found = Vec::new();
    let mut cursor = None;
    loop {
        let page = fixture.reader.sessions(&SessionFilter::default(), 4, cursor.as_deref()).unwrap();
        found.extend(page.rows);
        cursor = page.next;
        if cursor.is_none() {
            break;
        }
    }
    let expected = texts(
        &fixture,
        "SELECT session_id FROM events WHERE kind <> 'detection' AND session_id IS NOT NULL GROUP BY 1 ORDER BY max(time_ns) DESC",
    );
    let ids: Vec<String> = found.iter().map(|row| row.session_id.clone()).collect();
    assert_eq!(ids.iter().collect::<BTreeSet<_>>().len(), ids.len(), "each once");
    assert_eq!(ids, expected);
    for row in &found {
        let of = |what: &str, more: &str| {
            number(&fixture, &format!("SELECT {what} FROM events WHERE session_id = '{}' {more}", row.session_id))
        };
        assert_eq!(row.events.unsigned_abs(), of("count(*)", "AND kind <> 'detection'"), "{row:?}");
        assert_eq!(row.tool_calls.unsigned_abs(), of("count(*)", "AND kind = 'tool_call'"));
        assert_eq!(row.detections.unsigned_abs(), of("count(*)", "AND kind = 'detection'"));
        assert_eq!(row.agents.len() as u64, of("count(DISTINCT agent)", "AND kind <> 'detection'"));
        assert_eq!(row.severity.is_some(), row.detections > 0);
    }
    let critical = SessionFilter { severity: Some("critical".to_owned()), ..SessionFilter::default() };
    let found: BTreeSet<String> =
        fixture.reader.sessions(&critical, 100, None).unwrap().rows.into_iter().map(|row| row.session_id).collect();
    let expected =
        texts(&fixture, "SELECT DISTINCT session_id FROM detections WHERE severity = 'critical'").into_iter().collect();
    assert_eq!(found, expected);
    assert!(
        fixture
            .reader
            .sessions(&SessionFilter { severity: Some("bad".to_owned()), ..SessionFilter::default() }, 1, None)
            .is_err()
    );
}

#[test]
fn a_session_of_two_days_is_on_one_page_whatever_is_asked_for() {
    let fixture = fixture();
    let any = SessionFilter::default;
    let text = |text: &str| Some(text.to_owned());
    let next_day_ns = i64::try_from(NOON + NEXT_DAY).unwrap() * 1_000_000_000;
    for filter in [
        any(),
        SessionFilter { agent: text("agent0"), ..any() },
        SessionFilter { application: text("shop"), ..any() },
        SessionFilter { severity: text("low"), ..any() },
        SessionFilter { until_ns: Some(next_day_ns + 3_600_000_000_000), ..any() },
        // Begun before midnight: of each session the older row alone passes.
        SessionFilter { until_ns: Some(next_day_ns), ..any() },
        SessionFilter { q: text("S1"), ..any() },
        SessionFilter { without_own: true, ..any() },
    ] {
        let whole: Vec<String> =
            fixture.reader.sessions(&filter, 100, None).unwrap().rows.into_iter().map(|row| row.session_id).collect();
        assert!(!whole.is_empty(), "{filter:?}");
        for limit in 1..5 {
            let (mut found, mut cursor) = (Vec::new(), None);
            loop {
                let page = fixture.reader.sessions(&filter, limit, cursor.as_deref()).unwrap();
                found.extend(page.rows.into_iter().map(|row| row.session_id));
                cursor = page.next;
                if cursor.is_none() {
                    break;
                }
            }
            assert_eq!(found, whole, "{limit} a page: {filter:?}");
        }
    }
}

#[test]
fn what_is_counted_over_time_is_what_sql_counts() {
    let fixture = fixture();
    let since = i64::try_from(NOON).unwrap() * 1_000_000_000 - 3_600_000_000_000;
    let buckets = Buckets::cover(since, since + 86_400_000_000_000, Some(1_800), 60);
    let over_time = fixture.reader.over_time(&buckets).unwrap();
    let totals = Totals::of(&over_time);
    assert_eq!(totals.events, number(&fixture, "SELECT count(*) FROM events"));
    assert_eq!(totals.errors, number(&fixture, "SELECT count(*) FROM events WHERE status = 'error'"));
    assert_eq!(
        totals.model_calls,
        number(&fixture, "SELECT count(*) FROM events WHERE kind = 'model_call' AND phase <> 'request'")
    );
    assert_eq!(totals.tool_calls, number(&fixture, "SELECT count(*) FROM events WHERE kind = 'tool_call'"));
    assert_eq!(totals.input_tokens, number(&fixture, "SELECT sum(input_tokens) FROM token_usage"));
    assert_eq!((totals.detections.low, totals.detections.critical), (10, 10));

    // Of half hours there are rows of their own.
    usage_and_models_are_what_sql_counts(&fixture, &buckets);
    usage_and_models_are_what_sql_counts(&fixture, &Buckets::cover(since, since + 86_400_000_000_000, Some(300), 300));
}

fn usage_and_models_are_what_sql_counts(fixture: &Indexed, buckets: &Buckets) {
    for by in [UsageBy::User, UsageBy::Model, UsageBy::Application, UsageBy::Agent] {
        let usage = fixture.reader.usage(by, buckets, 1).unwrap();
        assert_eq!(usage.total.total.output_tokens, number(fixture, "SELECT sum(output_tokens) FROM token_usage"), "{by:?}");
    }
    let usage = fixture.reader.usage(UsageBy::User, buckets, 1).unwrap();
    assert_eq!(usage.total.total.output_tokens, number(fixture, "SELECT sum(output_tokens) FROM token_usage"));
    let most = &usage.rows[0];
    let of_most =
        number(fixture, &format!("SELECT sum(output_tokens) FROM token_usage WHERE coalesce(user_id, '') = '{}'", most.name));
    assert_eq!(most.total.output_tokens, of_most);
    assert_eq!(most.over_time.iter().map(|point| point.output_tokens).sum::<u64>(), of_most);
    let others = usage.others.unwrap();
    assert_eq!(most.total.calls + others.total.calls, usage.total.total.calls);
    assert_eq!(usage.total.total.cost, None);

    let (first, is_whole) = fixture.reader.models(buckets, 1).unwrap();
    let (models, _) = fixture.reader.models(buckets, 10).unwrap();
    assert!(is_whole && first[0] == models[0] && first.len() == 1);
    assert_eq!(models.iter().map(|model| model.model.as_str()).collect::<BTreeSet<_>>(), BTreeSet::from(["m0", "m1"]));
    for model in &models {
        let of = |what: &str| number(fixture, &format!("SELECT {what} FROM responses WHERE model = '{}'", model.model));
        assert_eq!(model.total.calls, of("count(*)"));
        assert_eq!(model.total.errors, of("sum(status = 'error')"));
        assert_eq!(model.categories.values().sum::<u64>(), model.total.calls);
        assert_eq!(model.providers, ["lab"]);
        let durations =
            texts(fixture, &format!("SELECT duration_ms FROM responses WHERE model = '{}' ORDER BY duration_ms", model.model));
        let real: f64 = durations[(durations.len() - 1) / 2].parse().unwrap();
        let told = model.total.latency_ms_p50.unwrap();
        assert!((told / real - 1.0).abs() < 0.1, "{told} ms is not {real} ms");
    }
}

#[test]
fn detections_and_risk_are_those_of_the_views() {
    let fixture = fixture();
    let ids = |filter: &DetectionFilter| -> Vec<String> {
        let (mut found, mut cursor) = (Vec::new(), None);
        loop {
            let page = fixture.reader.detections(filter, &Nothing, 7, cursor.as_deref()).unwrap();
            found.extend(page.rows.into_iter().map(|row| row.detection.detection_id));
            cursor = page.next;
            if cursor.is_none() {
                return found;
            }
        }
    };
    let any = DetectionFilter::default;
    let text = |text: &str| Some(text.to_owned());
    for (filter, condition) in [
        (any(), "1"),
        (DetectionFilter { severity: text("high"), ..any() }, "severity IN ('high', 'critical')"),
        (DetectionFilter { rule: text("rule-2"), user: text("u0"), ..any() }, "rule = 'rule-2' AND user_id = 'u0'"),
        (DetectionFilter { technique: text("AML.T0051"), ..any() }, "technique LIKE 'AML.T0051%'"),
        (DetectionFilter { q: text("TITLE 3"), ..any() }, "title = 'Title 3'"),
        (DetectionFilter { states: vec![State::Closed], ..any() }, "0"),
        (DetectionFilter { assignee: Some(String::new()), ..any() }, "1"),
        (DetectionFilter { correlation: text("session:s3"), ..any() }, "session_id = 's3'"),
        (
            DetectionFilter { since_ns: Some(1_763_640_000_000_000_000), until_ns: Some(1_763_641_200_000_000_000), ..any() },
            "time_ns >= 1763640000000000000 AND time_ns < 1763641200000000000",
        ),
    ] {
        // All of them were recorded when they happened.
        let expected =
            texts(&fixture, &format!("SELECT detection_id FROM detections WHERE {condition} ORDER BY time_ns DESC, seq DESC"));
        assert_eq!(ids(&filter), expected, "{filter:?}");
    }
    let mut count = 0;
    let is_whole = fixture.reader.each_detection(&any(), &Nothing, &mut |_| {
        count += 1;
        count < 5
    });
    assert_eq!((count, is_whole.unwrap()), (5, false));

    // As of the newest detection of each, as the view has it.
    for name in ["u0", "u1"] {
        let newest = number(&fixture, &format!("SELECT max(time_ns) FROM detections WHERE user_id = '{name}'"));
        let entity = fixture.reader.entity(EntityKind::User, name, i64::try_from(newest).unwrap()).unwrap();
        let view = texts(&fixture, &format!("SELECT risk FROM entity_risk WHERE entity_kind = 'user' AND entity = '{name}'"));
        assert!((entity.row.risk - view[0].parse::<f64>().unwrap()).abs() < 0.11, "{} is not {}", entity.row.risk, view[0]);
        assert_eq!(entity.row.detections, 20);
        assert_eq!(
            entity.row.events,
            number(&fixture, &format!("SELECT count(*) FROM events WHERE user_id = '{name}' AND kind <> 'detection'"))
        );
        let last = entity.risk_over_time.last().unwrap();
        assert!((last.risk - entity.row.risk).abs() < f64::EPSILON);
    }
    let now = Timestamp::from_unix_ns((NOON + 2 * 86_400) * 1_000_000_000);
    let entities = fixture.reader.entities(i64::try_from(now.unix_ns()).unwrap()).unwrap();
    let (mut found, mut cursor) = (Vec::new(), None);
    loop {
        let page = entities.page(None, None, 3, cursor.as_deref()).unwrap();
        found.extend(page.rows);
        cursor = page.next;
        if cursor.is_none() {
            break;
        }
    }
    // 2 users, 2 agents, 1 application, 2 tools, 2 models.
    assert_eq!(found.len(), 9);
    assert!(found.windows(2).all(|pair| pair[0].risk >= pair[1].risk));
    assert_eq!(entities.page(Some(EntityKind::Tool), Some("AI"), 10, None).unwrap().rows[0].name, "mail");
    assert!(fixture.reader.entity(EntityKind::User, "nobody", 0).is_err());
}

/// Whoever sends events says when they happened. What they did is found where it was recorded.
#[test]
fn what_is_dated_back_or_ahead_stands_where_it_was_recorded() {
    const WEEK: i64 = 7 * 86_400;
    let mut journal = Journal::new();
    let recorded =
        [("now", 0, 0), ("back", 10, -WEEK), ("ahead", 20, WEEK), ("in time", 30, -590), ("late", 40, -601), ("last", 50, 0)];
    for (n, (title, seconds, apart)) in recorded.into_iter().enumerate() {
        journal.push(event(Kind::Detection, seconds).with(|event| {
            event.time = Timestamp::from_unix_ns(event.observed.unix_ns().saturating_add_signed(apart * 1_000_000_000));
            event.session = Some("s1".to_owned());
            event.identity.user = Some(Principal::asserted("mallory"));
            event.set(attr::DETECTION_RULE, format!("rule-{n}").as_str());
            event.set(attr::DETECTION_TITLE, title);
            event.set(attr::DETECTION_SEVERITY, "high");
            event.set(attr::DETECTION_CONFIDENCE, event::Value::double(0.5));
            event.set(attr::DETECTION_TECHNIQUE, format!("AML.T00{}", 10 + n).as_str());
        }));
    }
    let noon_ns = i64::try_from(NOON).unwrap() * 1_000_000_000;
    let check = |reader: &store::Reader| {
        let of_session = Some("s1".to_owned());
        for filter in [
            DetectionFilter { since_ns: Some(noon_ns), until_ns: Some(noon_ns + 60_000_000_000), ..DetectionFilter::default() },
            DetectionFilter { session: of_session, ..DetectionFilter::default() },
        ] {
            let (mut found, mut cursor) = (Vec::new(), None);
            loop {
                let page = reader.detections(&filter, &Nothing, 1, cursor.as_deref()).unwrap();
                found.extend(page.rows.into_iter().map(|row| (row.detection.title, row.detection.late_s)));
                cursor = page.next;
                if cursor.is_none() {
                    break;
                }
            }
            let found: Vec<(&str, Option<i64>)> = found.iter().map(|(title, late_s)| (title.as_str(), *late_s)).collect();
            let newest_first = [
                ("last", None),
                ("late", Some(601)),
                ("in time", None),
                ("ahead", Some(-WEEK)),
                ("back", Some(WEEK)),
                ("now", None),
            ];
            assert_eq!(found, newest_first);
        }
        let newest = DetectionFilter {
            since_ns: Some(noon_ns + 10_000_000_000),
            until_ns: Some(noon_ns + 20_000_000_000),
            ..Default::default()
        };
        assert_eq!(reader.detections(&newest, &Nothing, 10, None).unwrap().rows.len(), 1);
        let over_time = reader.over_time(&Buckets::cover(noon_ns, noon_ns + 60_000_000_000, None, 60)).unwrap();
        assert_eq!(over_time.iter().map(|bucket| bucket.totals.detections.high).collect::<Vec<_>>(), [6]);
        assert_eq!(reader.detections_by_rule(noon_ns).unwrap().0.len(), 6);
        // Six times 20, and nothing of it has faded.
        let entity = reader.entity(EntityKind::User, "mallory", noon_ns + 50_000_000_000).unwrap();
        assert!((entity.row.risk - 120.0).abs() < 0.2, "{}", entity.row.risk);
        assert_eq!(entity.row.last_detection.as_deref(), Some("2025-11-20T12:00:50.000000Z"));
        assert!(entity.risk_over_time.windows(2).all(|pair| pair[0].time < pair[1].time && pair[0].risk < pair[1].risk));
    };
    let fixture = indexed(&journal);
    check(&fixture.reader);
    let view = texts(&fixture, "SELECT risk FROM entity_risk WHERE entity_kind = 'user' AND entity = 'mallory'");
    assert!((view[0].parse::<f64>().unwrap() - 120.0).abs() < 0.2, "{view:?}");
    // What is built anew from the record was recorded when it was.
    let dir = fixture.dir.path();
    let mut rebuild = store::Rebuild::begin(dir, "2025-11-01", &fixture.keys).unwrap();
    rebuild.index(&journal.records).unwrap();
    drop(rebuild.finish(fixture.store).unwrap());
    check(&store::Reader::open(dir, &fixture.keys).unwrap());
}

#[test]
fn a_rule_that_was_capped_days_before_counts_as_in_the_view() {
    let mut journal = Journal::new();
    let detection = |days: u64, rule: &str, technique: &str, severity: &str, confidence: f64| {
        event(Kind::Detection, days * 86_400).with(|event| {
            event.identity.user = Some(Principal::asserted("mallory"));
            event.set(attr::DETECTION_RULE, rule);
            event.set(attr::DETECTION_TITLE, rule);
            event.set(attr::DETECTION_SEVERITY, severity);
            event.set(attr::DETECTION_CONFIDENCE, event::Value::double(confidence));
            event.set(attr::DETECTION_TECHNIQUE, technique);
        })
    };
    let three = (0..3).map(|_| detection(0, "often", "AML.T0051.000", "critical", 0.9));
    journal.extend(three);
    journal.extend([
        detection(1, "often", "AML.T0051.000", "low", 0.4),
        detection(2, "other", "AML.T0057", "high", 0.5),
        detection(2, "risk-threshold", "AML.T0051", "high", 0.5),
        detection(2, "alert-budget", "AML.T0051", "high", 0.5),
    ]);
    let fixture = indexed(&journal);
    let day_ns = 86_400_000_000_000;
    let noon_ns = i64::try_from(NOON).unwrap() * 1_000_000_000;
    let risk = |days: i64| fixture.reader.entity(EntityKind::User, "mallory", noon_ns + days * day_ns).unwrap();
    let view = texts(&fixture, "SELECT risk FROM entity_risk WHERE entity_kind = 'user' AND entity = 'mallory'");
    // 60, then 30 + 2, then the half of that and 20 more.
    let found = risk(2);
    assert_eq!((found.row.risk, view[0].parse()), (36.0, Ok(36.0)));
    let line: Vec<f64> = found.risk_over_time.iter().map(|point| point.risk).collect();
    assert_eq!(line, [60.0, 60.0, 60.0, 32.0, 36.0]);
    assert_eq!(found.row.techniques, ["AML.T0051", "AML.T0057"]);
    assert_eq!((found.row.rules, found.row.detections, found.truncated), (2, 5, false));
    let all = fixture.reader.entities(noon_ns + 2 * day_ns).unwrap();
    assert_eq!(all.get(EntityKind::User, "mallory"), Some(&found.row));
    assert!(!all.page(None, None, 10, None).unwrap().truncated);

    let (counts, is_whole) = fixture.reader.detections_by_rule(noon_ns + day_ns).unwrap();
    assert_eq!((counts.get("often"), counts.get("other"), is_whole), (Some(&1), Some(&1), true));
    let rules = BTreeSet::from(["often".to_owned()]);
    let (drift, is_whole) = fixture.reader.detections_of_models(&rules, &Nothing, 2).unwrap();
    assert!(drift.is_empty() && is_whole, "they name no model");
}

#[test]
fn an_event_is_shown_without_what_was_said() {
    let mut journal = Journal::new();
    let id = journal.push(event(Kind::ModelCall, 0).with(|event| {
        event.trace = Some(Trace { trace_id: TraceId::from_bytes([1; 16]).unwrap(), span_id: None, parent_span_id: None });
        event.set(attr::GEN_AI_REQUEST_MODEL, "m0");
        event.set(event::Key::of("db.query.text"), "SELECT the secret");
        event.set(event::Key::of("gen_ai.response.id"), "x".repeat(300).as_str());
        event.pieces = vec![said("the secret")];
    }));
    let fixture = indexed(&journal);
    let detail = fixture.reader.event(&id).unwrap();
    assert_eq!(detail.attributes["gen_ai.request.model"], "m0");
    assert_eq!(detail.withheld, ["db.query.text", "gen_ai.response.id"]);
    assert_eq!((detail.pieces.len(), detail.pieces[0].role.as_str()), (1, "user"));
    assert!(!serde_json::to_string(&detail).unwrap().contains("secret"));
    let mut trace = fixture.reader.trace(&id).unwrap();
    assert!(serde_json::to_string(&trace).unwrap().contains("secret"));
    trace.withhold();
    assert!(trace.withheld && !serde_json::to_string(&trace).unwrap().contains("secret"));
    // It is not shown, and what would be shown is not cut.
    assert!(trace.events[0].pieces.iter().all(|piece| piece.text.is_none() && !piece.cut));
}
