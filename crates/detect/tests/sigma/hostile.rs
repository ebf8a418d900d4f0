//! Rules of people who mean harm, and of people who err: nothing overflows, takes the memory, or takes a good rule along.

use std::path::PathBuf;
use std::time::{Duration, Instant};

use serde_json::json;
use watchkeeper_detect::coverage::Coverage;
use watchkeeper_detect::{Explanation, RuleError, RuleSet, RuleSources, Runner};

const GOOD: &str = "title: Good\nid: 11111111-1111-4111-8111-111111111111\nname: good\nlogsource: {product: ai}\ndetection:\n  s: {k: a}\n  \
                    condition: s\n";

fn files(texts: &[&str]) -> Vec<(PathBuf, String)> {
    texts.iter().enumerate().map(|(number, text)| (format!("{number}.yml").into(), (*text).to_owned())).collect()
}

fn condition(condition: &str) -> String {
    format!("title: Bad\nlogsource: {{product: ai}}\ndetection:\n  s: {{k: a}}\n  condition: {condition}\n")
}

fn selection(selection: &str) -> String {
    format!("title: Bad\nsigma-version: 3\nlogsource: {{product: ai}}\ndetection:\n  s: {selection}\n  condition: s\n")
}

fn correlation(name: &str, rules: &str) -> String {
    format!(
        "title: {name}\nname: {name}\ncorrelation:\n  type: event_count\n  rules: [{rules}]\n  timespan: 1m\n  generate: true\n  condition: {{gte: 1}}\n"
    )
}

/// On a stack as small as that of the threads that answer requests, with the frames of a build that is not optimised.
#[test]
fn what_would_overflow_the_stack_or_the_memory_is_named_and_takes_nobody_along() {
    let list = |count: usize, item: &str| (0..count).map(|_| item).collect::<Vec<_>>().join(",");
    let chain: Vec<String> = (0..500)
        .map(|n| correlation(&format!("c{n}"), &if n == 0 { "good".to_owned() } else { format!("c{}", n - 1) }))
        .collect();
    let ring: Vec<String> = (0..500).map(|n| correlation(&format!("c{n}"), &format!("c{}", (n + 1) % 500))).collect();
    let cases = [
        ("parentheses", condition(&format!("{}s{}", "(".repeat(60_000), ")".repeat(60_000)))),
        ("parentheses that stay open", condition(&"(".repeat(60_000))),
        ("not", condition(&format!("{}s", "not ".repeat(15_000)))),
        ("conditions of a correlation", format!("{}  condition: {}\n", correlation("x", "good"), "not ".repeat(15_000))),
        (
            "a condition of array members",
            selection(&format!("{{'a[any]': {{x: {{b: 1}}, condition: '{}x'}}}}", "not ".repeat(15_000))),
        ),
        ("a path of array members", selection(&format!("{{? '{}b' : 1}}", "a[any].".repeat(100_000)))),
        ("lists in lists", selection(&format!("{}1{}", "[".repeat(100_000), "]".repeat(100_000)))),
        ("blocks in blocks", selection(&format!("\n    {}1", "- ".repeat(100_000)))),
        ("aliases of aliases", format!("a: &a [{}]\nb: &b [{}]\n{}", list(5_000, "x"), list(5_000, "*a"), selection("{k: a}"))),
        ("a pattern of millions of states", selection("{k|re: '((\\pL{100}){100}){100}'}")),
        ("very many large patterns", selection(&format!("{{k|re: [{}]}}", list(50_000, "'\\w{9}'")))),
        ("dashes", selection(&format!("{{k|windash: [{}]}}", list(20_000, "'--------'")))),
        ("very many patterns of wildcards", selection(&format!("{{k: [{}]}}", list(60_000, "'a?b*c'")))),
        ("correlations on correlations", chain.join("---\n")),
        ("a ring of correlations", ring.join("---\n")),
    ];
    let tried = std::thread::Builder::new().stack_size(2 * 1024 * 1024).spawn(move || {
        for (what, text) in cases {
            let set = RuleSet::of_files(files(&[GOOD, &text])).unwrap();
            assert!(set.rules().any(|rule| rule.title == "Good"), "{what}");
            assert!(!set.problems().is_empty(), "{what}");
            assert!(set.rules().all(|rule| rule.title != "Bad"), "{what}");
            let told: usize = set.problems().iter().map(|problem| problem.to_string().len()).sum();
            assert!(told < 1024 * 1024, "{what}: {told} bytes are told");
        }
    });
    tried.unwrap().join().unwrap();
}

#[test]
fn files_that_come_by_a_request_are_held_to_the_bounds_of_files() {
    let long = format!("{GOOD}# {}\n", "x".repeat(1024 * 1024));
    let Err(RuleError::TooMuch { what: "bytes", .. }) = RuleSet::of_files(files(&[&long])) else { panic!("it is too long") };
    let Err(RuleError::TooMuch { what: "bytes", .. }) = RuleSet::of_files(files(&[GOOD])).unwrap().with_files(files(&[&long]))
    else {
        panic!("it is too long")
    };
    let many = "---\na: b\n".repeat(21_000);
    assert!(matches!(RuleSet::of_files(files(&[&many])), Err(RuleError::TooMuch { .. })));
    let (problems, rules) = RuleSet::check_files(files(&[&many]), false);
    assert_eq!((problems.last().unwrap().file.to_str(), rules), (Some("0.yml"), 0));
}

/// Each correlation counts the two before it, twice: told by paths, that would be millions.
#[test]
fn an_explanation_of_nested_correlations_is_bounded() {
    let mut text = format!("{GOOD}---\n{}", GOOD.replace("Good", "Other").replace("good", "other").replace("111\n", "112\n"));
    let mut below = vec!["good".to_owned(), "other".to_owned()];
    for level in 0..7 {
        let names: Vec<String> = (0..20).map(|number| format!("c{level}n{number}")).collect();
        for name in &names {
            text.push_str(&format!("---\n{}", correlation(name, &below.join(", "))));
        }
        below = names;
    }
    let set = RuleSet::of_files(files(&[&text])).unwrap();
    assert_eq!(set.problems(), []);
    let top = set.find("c6n0").unwrap().id.clone();
    let mut runner = Runner::new(set);
    let event = json!({ "k": "a", "@timestamp": 1 });
    runner.next(&event);
    let started = Instant::now();
    let told = runner.explain(&top, &event).unwrap();
    assert!(started.elapsed() < Duration::from_secs(20), "{:?}", started.elapsed());
    assert!(told.matched && told.rules.len() == 20);
    fn count(told: &Explanation) -> usize {
        1 + told.rules.iter().map(count).sum::<usize>()
    }
    // Each of 122 rules is explained once, and named wherever else it is counted.
    assert!((122..=122 * 20).contains(&count(&told)), "{}", count(&told));
    let again = &told.rules[1].rules[0];
    assert!(again.matched && again.notes[0].contains("above"), "{again:?}");
    // Whoever asked reads it again.
    assert_eq!(serde_json::from_str::<Explanation>(&serde_json::to_string(&told).unwrap()).unwrap().rules.len(), 20);
}

#[test]
fn the_explanation_of_a_deep_condition_can_be_read_again() {
    let text = GOOD.replace("condition: s", &format!("condition: {}s{}", "not (".repeat(60), ")".repeat(60)));
    let set = RuleSet::of_files(files(&[&text])).unwrap();
    assert_eq!(set.problems(), []);
    let id = set.rules().next().unwrap().id.clone();
    let told = Runner::new(set).explain(&id, &json!({ "k": "a" })).unwrap();
    assert!(told.matched);
    serde_json::from_str::<Explanation>(&serde_json::to_string(&told).unwrap()).unwrap();
}

/// By id or name, as the standard says. A title is neither: it is told what to write.
#[test]
fn rules_are_referred_to_by_id_or_name() {
    for (called, counts, told) in [
        ("good", true, None),
        ("11111111-1111-4111-8111-111111111111", true, None),
        ("Good", false, Some("\"Good\" is a title, write the id 11111111-1111-4111-8111-111111111111")),
        ("nobody", false, Some("nobody")),
    ] {
        let set = RuleSet::of_files(files(&[GOOD, &correlation("above", called)])).unwrap();
        let problems: Vec<String> = set.problems().iter().map(ToString::to_string).collect();
        assert_eq!(problems.len(), usize::from(told.is_some()), "{problems:?}");
        assert!(told.is_none_or(|told| problems[0].contains(told)), "{problems:?}");
        let fired = Runner::new(set).next(&json!({ "k": "a", "@timestamp": 1 }));
        assert_eq!(fired.iter().any(|found| found.title == "above"), counts, "{called}");
    }
    // A filter that goes by a title does what is meant, and is told of: what it keeps away must not come in a flood.
    let filter = "title: Ours\nfilter:\n  rules: [Good]\n  who: {u: admin}\n  condition: not who\n";
    let set = RuleSet::of_files(files(&[GOOD, filter])).unwrap();
    assert!(set.problems()[0].message.contains("write the id"), "{:?}", set.problems());
    let mut runner = Runner::new(set);
    assert_eq!(runner.next(&json!({ "k": "a", "u": "admin" })), []);
    assert_eq!(runner.next(&json!({ "k": "a", "u": "eve" })).len(), 1);
    // Of two rules of one name the first is meant, and that there are two is told.
    let other = GOOD.replace("title: Good", "title: Other").replace("111\n", "112\n").replace("k: a", "k: b");
    let set = RuleSet::of_files(files(&[GOOD, &other, &correlation("above", "good")])).unwrap();
    assert!(set.problems()[0].message.contains("several rules"), "{:?}", set.problems());
    let mut runner = Runner::new(set);
    assert!(runner.next(&json!({ "k": "b", "@timestamp": 1 })).iter().all(|found| found.title != "above"));
    assert!(runner.next(&json!({ "k": "a", "@timestamp": 2 })).iter().any(|found| found.title == "above"));
}

/// What takes the place of a rule and cannot be used leaves that rule where it was.
#[test]
fn a_rule_stays_when_what_would_take_its_place_cannot_be_used() {
    let dir = tempfile::tempdir().unwrap();
    let write = |name: &str, text: &str| {
        std::fs::create_dir_all(dir.path().join(name)).unwrap();
        std::fs::write(dir.path().join(name).join("r.yml"), text).unwrap();
    };
    let above = correlation("above", "good").replace("title", "id: 22222222-2222-4222-8222-222222222222\ntitle");
    write("one", &format!("{GOOD}---\n{above}"));
    let dirs: Vec<PathBuf> = ["one", "two"].map(|name| dir.path().join(name)).to_vec();
    let event = json!({ "k": "a", "@timestamp": 1 });
    for (what, override_, strict) in [
        ("a pattern that is none", GOOD.replace("k: a", "k|re: '('"), false),
        ("a selection that is not there", GOOD.replace("condition: s", "condition: s and t"), false),
        ("too much", GOOD.replace("k: a", "k|windash: '--------'"), false),
        ("a correlation of nobody", above.replace("[good]", "[nobody]"), false),
        ("a correlation of a title", above.replace("[good]", "[Good]"), false),
        ("a correlation that makes no sense", above.replace("event_count", "value_count"), false),
        ("a rule without examples", GOOD.replace("k: a", "k: b"), true),
    ] {
        write("two", &override_);
        let proven = "watchkeeper:\n  examples:\n    positive: [{event: {k: a}}]\n    negative: [{event: {k: b}}]\n";
        write("one", &format!("{GOOD}{proven}---\n{above}{proven}"));
        let set = RuleSet::assemble(&RuleSources { dirs: &dirs, strict, ..RuleSources::default() }).unwrap();
        let told: Vec<String> = set.problems().iter().map(ToString::to_string).collect();
        assert!(told.iter().any(|problem| problem.contains("two") && problem.contains("stays")), "{what}: {told:?}");
        assert!(set.rules().all(|rule| rule.file.starts_with(&dirs[0])), "{what}");
        assert_eq!(set.notes(), Vec::<String>::new(), "{what}: nothing took the place of anything");
        let mut fired: Vec<String> = Runner::new(set).next(&event).into_iter().map(|found| found.title).collect();
        fired.sort();
        assert_eq!(fired, ["Good", "above"], "{what}");
    }
    // The same where rules are tried beside those in force.
    let in_force = RuleSet::assemble(&RuleSources { dirs: &dirs[..1], ..RuleSources::default() }).unwrap();
    let beside = in_force.with_files(files(&[&GOOD.replace("k: a", "k|re: '('")])).unwrap();
    assert!(beside.problems()[0].message.contains("stays"), "{:?}", beside.problems());
    assert_eq!(Runner::new(beside).next(&event).len(), 2);
}

#[test]
fn whoever_does_not_wait_ends_the_loading_of_rules_and_the_running_of_examples() {
    let asked = std::cell::Cell::new(0);
    let after = |times: usize| {
        asked.set(0);
        let asked = &asked;
        move || {
            asked.set(asked.get() + 1);
            asked.get() > times
        }
    };
    let many: Vec<String> = (0..50).map(|number| GOOD.replace("11111111-1111", &format!("1111{number:04}-1111"))).collect();
    let many = files(&many.iter().map(String::as_str).collect::<Vec<_>>());
    for times in [0, 10, 60] {
        assert!(matches!(RuleSet::of_request(many.clone(), &after(times)), Err(RuleError::Stopped)), "{times}");
        assert_eq!(asked.get(), times + 1);
    }
    let set = RuleSet::of_request(many, &after(1_000)).unwrap();
    assert!(matches!(set.into_uncompiled().with_request(files(&[GOOD]), &after(0)), Err(RuleError::Stopped)));
    let rules = RuleSet::builtin().unwrap();
    for times in [0, 10, 100] {
        assert_eq!(Coverage::of_until(&rules, None, &after(times)), None);
        assert_eq!(asked.get(), times + 1);
    }
}
