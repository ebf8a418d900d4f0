//! Behaviour in a made-up company: what is found, how fast, and what else is said. `cargo xtask behaviour` runs it long.

#![allow(clippy::unwrap_used, clippy::print_stdout, reason = "a test may fail, and says what it measures")]

mod cases;
mod company;
mod hostile;
mod midnight;
mod serving;

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;

use cases::Case;
use company::{Company, DAY_S, FIRST_DAY};
use journal::Seq;
use serving::Serving;
use watchkeeper_detect::behaviour::Behaviour;
use watchkeeper_detect::{Detection, Engine, RuleSet, Severity};

/// Something that was said.
struct Alarm {
    time_s: i64,
    insights: Vec<String>,
    who: Vec<String>,
    severity: Severity,
}

/// A run.
struct Run {
    alarms: Vec<Alarm>,
    cases: Vec<Case>,
    /// The first event of each case.
    begun: BTreeMap<usize, i64>,
    user_days: usize,
    events: u64,
    late: u64,
    state_bytes: usize,
    entities: usize,
}

/// The rules that rest on behaviour, as they come with the program.
fn rules() -> RuleSet {
    let dir = tempfile::tempdir().unwrap();
    let from = concat!(env!("CARGO_MANIFEST_DIR"), "/../../content/rules");
    for entry in std::fs::read_dir(from).unwrap() {
        let path = entry.unwrap().path();
        if std::fs::read_to_string(&path).unwrap().contains("watchkeeper.insight.") {
            std::fs::copy(&path, dir.path().join(path.file_name().unwrap())).unwrap();
        }
    }
    let rules = RuleSet::load(dir.path(), true).unwrap();
    assert!(rules.rules().len() >= 20 && rules.problems().is_empty(), "{:?}", rules.problems());
    rules
}

fn run(seed: u64, people: usize, days: u32, first_case: u32, rounds: u32) -> Run {
    let mut company = Company::new(seed, people, days);
    let cases = cases::all(&mut company, first_case, rounds);
    let mut serving = Serving::new(seed, days);
    let mut engine = Engine::new(rules());
    let mut run =
        Run { alarms: Vec::new(), cases, begun: BTreeMap::new(), user_days: 0, events: 0, late: 0, state_bytes: 0, entities: 0 };
    let mut waiting = Vec::new();
    for day in 0..days {
        let mut happenings = company.day(day);
        cases::inject(&mut company, &run.cases, day, &mut happenings);
        serving.serve(&mut happenings);
        cases::serve(&run.cases, day, &mut happenings);
        run.user_days += happenings.iter().filter_map(|one| one.user.as_ref()).collect::<BTreeSet<_>>().len();
        for (index, case) in run.cases.iter().enumerate() {
            // What is missing, or changed, has no event of its own: the day begins the case.
            if case.days.0 == day {
                let own = happenings.iter().filter(|one| one.case == Some(index)).map(|one| one.time_s).min();
                run.begun.insert(index, own.unwrap_or(i64::from(FIRST_DAY + day) * DAY_S));
            }
        }
        waiting.append(&mut happenings);
        waiting.sort_by_key(|happening| happening.time_s);
        // In Japan the next day begins before this one is over elsewhere.
        let over = i64::from(FIRST_DAY + day) * DAY_S + DAY_S / 2;
        let later = waiting.partition_point(|happening| happening.time_s < over);
        for happening in waiting.drain(..later) {
            let (event, text) = happening.event(run.events);
            let found = engine.observe(Seq(run.events), &event, &mut |_| text.clone());
            run.events += 1;
            run.alarms.extend(found.iter().map(|detection| alarm(detection, happening.time_s)));
        }
    }
    let behaviour = engine.behaviour().unwrap();
    run.late = behaviour.late();
    run.entities = behaviour.entities();
    run.state_bytes = behaviour.to_bytes().unwrap().len();
    run
}

fn alarm(detection: &Detection, time_s: i64) -> Alarm {
    let insights =
        detection.evidence.iter().filter(|item| item.what == "insight").filter_map(|item| item.field.clone()).collect();
    let identity = &detection.identity;
    let who = [&identity.user, &identity.agent, &identity.application, &identity.credential];
    let who = who.into_iter().flatten().map(|one| one.id.clone()).collect();
    Alarm { time_s, insights, who, severity: detection.severity }
}

/// What came of a case: how long after its first event it was told.
fn outcomes(run: &Run) -> Vec<Option<i64>> {
    let of_case = |(index, case): (usize, &Case)| {
        let begun = run.begun[&index];
        let end = i64::from(FIRST_DAY + case.days.1) * DAY_S;
        run.alarms
            .iter()
            .find(|alarm| is_find(case, alarm) && (begun..end).contains(&alarm.time_s))
            .map(|alarm| alarm.time_s - begun)
    };
    run.cases.iter().enumerate().map(of_case).collect()
}

fn is_find(case: &Case, alarm: &Alarm) -> bool {
    let is_about = case.is_of_model() || alarm.who.iter().any(|who| case.is_about(who));
    is_about && alarm.insights.iter().any(|insight| case.finds.contains(&insight.as_str()))
}

/// Whether an alarm is about somebody with whom something is wrong on that day.
fn is_true(run: &Run, alarm: &Alarm) -> bool {
    let day = u32::try_from(alarm.time_s / DAY_S).unwrap() - FIRST_DAY;
    run.cases.iter().any(|case| {
        let is_about = alarm.who.iter().any(|who| case.is_about(who));
        (case.days.0..case.days.1).contains(&day) && (is_about || is_find(case, alarm) || case.leads_to(&alarm.insights))
    })
}

fn report(runs: &[Run]) -> (String, f64, f64) {
    let mut by_case: BTreeMap<&str, (u32, Vec<i64>)> = BTreeMap::new();
    for run in runs {
        for (case, outcome) in run.cases.iter().zip(outcomes(run)) {
            let entry = by_case.entry(case.name).or_default();
            entry.0 += 1;
            entry.1.extend(outcome);
        }
    }
    let mut out = String::from("| case | told | delay, median | delay, longest |\n| --- | --- | --- | --- |\n");
    let (mut cases, mut told) = (0, 0);
    for (name, (count, delays)) in &mut by_case {
        delays.sort_unstable();
        cases += *count;
        told += u32::try_from(delays.len()).unwrap();
        let time = |at: usize| delays.get(at).map_or("-".to_owned(), |delay| span(*delay));
        writeln!(
            out,
            "| {name} | {} of {count} | {} | {} |",
            delays.len(),
            time(delays.len() / 2),
            time(delays.len().wrapping_sub(1))
        )
        .unwrap();
    }
    let user_days: usize = runs.iter().map(|run| run.user_days).sum();
    let mut by_insight: BTreeMap<(&str, &str), u32> = BTreeMap::new();
    let mut weighty = 0;
    for run in runs {
        for alarm in run.alarms.iter().filter(|alarm| !is_true(run, alarm)) {
            weighty += u32::from(alarm.severity >= Severity::Medium);
            for insight in &alarm.insights {
                *by_insight.entry((insight, alarm.severity.as_str())).or_default() += 1;
            }
        }
    }
    let per_1000 = |count: u32| f64::from(count) * 1_000.0 / user_days as f64;
    out.push_str("\n| insight | severity | false alarms | per 1,000 user-days |\n| --- | --- | --- | --- |\n");
    for ((insight, severity), count) in &by_insight {
        writeln!(out, "| `{insight}` | {severity} | {count} | {:.3} |", per_1000(*count)).unwrap();
    }
    let all = by_insight.iter().filter(|((_, severity), _)| *severity != "informational").map(|(_, count)| *count).sum();
    writeln!(
        out,
        "| all that are not informational | | {all} | {:.2} |\n| all from medium on | | {weighty} | {:.2} |",
        per_1000(all),
        per_1000(weighty)
    )
    .unwrap();
    let events: u64 = runs.iter().map(|run| run.events).sum();
    let last = &runs[runs.len() - 1];
    write!(
        out,
        "\n{} user-days, {events} events, {told} of {cases} cases told. At the end the state of the last company: {} entities, {} KiB stored, {} events too late.\n",
        user_days,
        last.entities,
        last.state_bytes / 1024,
        last.late
    )
    .unwrap();
    (out, f64::from(told) / f64::from(cases), per_1000(weighty))
}

fn span(seconds: i64) -> String {
    match seconds {
        ..3_600 => format!("{} min", seconds / 60),
        3_600..172_800 => format!("{:.1} h", seconds as f64 / 3_600.0),
        _ => format!("{:.1} days", seconds as f64 / 86_400.0),
    }
}

/// Which companies, and how large they are: small in every run of the tests, larger in `cargo xtask behaviour`.
fn size() -> (std::ops::Range<u64>, usize, u32, u32) {
    let of = |name: &str, default: u32| std::env::var(name).ok().and_then(|value| value.parse().ok()).unwrap_or(default);
    let people = of("WATCHKEEPER_BEHAVIOUR_PEOPLE", 36) as usize;
    let first = u64::from(of("WATCHKEEPER_BEHAVIOUR_SEED", 1));
    (
        first..first + u64::from(of("WATCHKEEPER_BEHAVIOUR_COMPANIES", 1)),
        people,
        of("WATCHKEEPER_BEHAVIOUR_DAYS", 75),
        of("WATCHKEEPER_BEHAVIOUR_ROUNDS", 1),
    )
}

#[test]
fn cases_in_a_company_are_told_and_ordinary_days_are_not() {
    let (seeds, people, days, rounds) = size();
    let runs: Vec<Run> = seeds.clone().map(|seed| run(seed, people, days, 35.min(days / 2), rounds)).collect();
    let (text, told, false_alarms) = report(&runs);
    println!("{text}");
    if std::env::var_os("WATCHKEEPER_BEHAVIOUR_VERBOSE").is_some() {
        for run in &runs {
            for (case, _) in run.cases.iter().zip(outcomes(run)).filter(|(_, outcome)| outcome.is_none()) {
                println!("not told: {} {:?} {}", case.name, case.days, case.who);
            }
            for alarm in run.alarms.iter().filter(|alarm| !is_true(run, alarm)) {
                println!("{} {:?} {:?}", (alarm.time_s / DAY_S) as u32 - FIRST_DAY, alarm.insights, alarm.who);
            }
        }
    }
    if let Some(path) = std::env::var_os("WATCHKEEPER_BEHAVIOUR_PAGE") {
        let page = std::fs::read_to_string(&path).unwrap();
        let (begin, end) = ("<!-- company: generated -->\n", "<!-- company: end -->\n");
        let (head, rest) = page.split_once(begin).unwrap();
        let (_, tail) = rest.split_once(end).unwrap();
        let (count, first, last) = (runs.len(), seeds.start, seeds.end - 1);
        let made = format!("{count} companies of {people} people, {days} days each, seeds {first} to {last}.\n\n{text}");
        std::fs::write(&path, format!("{head}{begin}{made}{end}{tail}")).unwrap();
    }
    assert!(told >= 0.8, "{told}");
    assert!(false_alarms <= 10.0, "{false_alarms}");
}

#[test]
fn a_stored_state_goes_on_as_if_it_had_not_been_stored() {
    let (mut company, mut serving) = (Company::new(7, 12, 30), Serving::new(7, 30));
    let mut whole = Behaviour::new();
    let mut number = 0;
    let mut insights = 0;
    for day in 0..30 {
        let mut happenings = company.day(day);
        serving.serve(&mut happenings);
        happenings.sort_by_key(|happening| happening.time_s);
        // A restart each day, in the middle of an hour.
        let bytes = whole.to_bytes().unwrap();
        let mut again = Behaviour::from_bytes(&bytes).unwrap();
        assert_eq!(again.to_bytes().unwrap(), bytes, "{day}");
        for happening in &mut happenings {
            // Something to speak of.
            if day == 25 && number % 3 == 0 {
                happening.country = Some("AQ");
            }
            let (event, text) = happening.event(number);
            number += 1;
            let said = whole.observe(&event, &mut |_| text.clone());
            insights += said.len();
            assert_eq!(said, again.observe(&event, &mut |_| text.clone()));
        }
    }
    assert!(insights > 5, "{insights}");
}

#[test]
fn a_flood_of_strangers_drives_out_nobody_who_is_known() {
    const STRANGERS: u64 = 150_000;
    let mut company = Company::new(9, 12, 40);
    let mut behaviour = Behaviour::new();
    let mut number = 0;
    let mut observe = |behaviour: &mut Behaviour, happening: &company::Happening| {
        let (event, text) = happening.event(number);
        number += 1;
        behaviour.observe(&event, &mut |_| text.clone())
    };
    for day in 0..30 {
        let mut happenings = company.day(day);
        happenings.sort_by_key(|happening| happening.time_s);
        happenings.iter().for_each(|happening| drop(observe(&mut behaviour, happening)));
    }
    let known = company.people.iter().find(|person| person.is_there(28, 33) && person.rate > 5.0).unwrap().clone();
    let time_s = known.at_work(31);
    for stranger in 0..STRANGERS {
        let happening = company::Happening {
            time_s,
            application: "assistant".to_owned(),
            user: Some(format!("stranger-{stranger}")),
            model: Some("model-1".to_owned()),
            ..company::Happening::default()
        };
        observe(&mut behaviour, &happening);
    }
    assert!(behaviour.entities() < 70_000, "{}", behaviour.entities());
    let mut from_elsewhere = company.call(&known, 31, time_s);
    from_elsewhere.country = Some("AQ");
    let said = observe(&mut behaviour, &from_elsewhere);
    assert!(said.iter().any(|insight| insight.name.as_str() == "user_new_place"), "{said:?}");
}
