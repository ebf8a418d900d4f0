//! Sets of rules from several places, filters, budgets of correlations, and why a rule says what it says.

use std::path::PathBuf;

use serde_json::json;
use watchkeeper_detect::{RuleSet, RuleSources, Runner, match_json};

const BASE: &str = "title: Base\nid: 11111111-1111-4111-8111-111111111111\nname: base\nlogsource: {product: ai, category: tool}\n\
                    detection:\n  tool: {gen_ai.tool.name: shell}\n  words:\n    - text|contains: alpha\n    - text|contains: beta\n  \
                    condition: tool and words\n";

fn set(yaml: &str) -> RuleSet {
    RuleSet::of_files(vec![("r.yml".into(), yaml.to_owned())]).unwrap()
}

/// Whether each filter keeps the event, and the field of the problem that it has.
#[test]
fn filters_take_out_what_they_say_and_nothing_else() {
    let event = json!({ "gen_ai.tool.name": "shell", "text": "alpha", "user": "admin", "host": "ci-1" });
    for (name, filter, fires, problem) in [
        ("by name", "rules: [base]\n  who: {user: admin}\n  condition: not who", false, None),
        ("by id", "rules: [11111111-1111-4111-8111-111111111111]\n  who: {user: admin}\n  condition: not who", false, None),
        ("of another user", "rules: [base]\n  who: {user: eve}\n  condition: not who", true, None),
        ("of any rule", "rules: any\n  who: {user: admin}\n  condition: not who", false, None),
        // The filter's own selections are meant, and not the rule's.
        ("one of them", "rules: [base]\n  a: {user: eve}\n  b: {user: mallory}\n  condition: not 1 of them", true, None),
        (
            "one of them, that holds",
            "rules: [base]\n  a: {user: eve}\n  b: {host: ci-1}\n  condition: not 1 of them",
            false,
            None,
        ),
        (
            "of names alike",
            "rules: [base]\n  tool: {user: admin}\n  words: {host: ci-1}\n  condition: not (tool and words)",
            false,
            None,
        ),
        (
            "a rule that is not there, too",
            "rules: [base, nobody]\n  who: {user: admin}\n  condition: not who",
            false,
            Some("filter.rules"),
        ),
        ("no rule that is there", "rules: [nobody]\n  who: {user: admin}\n  condition: not who", true, Some("filter.rules")),
        ("a selection that is not there", "rules: [base]\n  who: {user: admin}\n  condition: not what", true, Some("")),
    ] {
        for condition in ["tool and words", "all of *", "1 of *", "2 of *"] {
            let base = BASE.replace("tool and words", condition);
            let set = set(&format!("{base}---\ntitle: F\nid: 22222222-2222-4222-8222-222222222222\nfilter:\n  {filter}\n"));
            let problems: Vec<_> = set.problems().iter().map(|problem| problem.field.clone()).collect();
            assert_eq!(!problems.is_empty(), problem.is_some(), "{name}: {problems:?}");
            assert!(problem.is_none_or(|field| problems[0].contains(field)), "{name}: {problems:?}");
            assert_eq!(!match_json(&set, &event).is_empty(), fires, "{name}, {condition}");
        }
    }
    let elsewhere = "title: F\nid: 22222222-2222-4222-8222-222222222222\nlogsource: {category: llm}\nfilter:\n  rules: any\n  who: {user: admin}\n  condition: not who\n";
    let text = format!("{BASE}---\n{elsewhere}");
    assert_eq!(match_json(&set(&text), &event).len(), 1);
    let (problems, _) =
        RuleSet::check_files(vec![("r.yml".into(), format!("{}---\n{}", BASE, elsewhere.replace("any", "[base]")))], false);
    assert!(problems.iter().any(|problem| problem.rule == "F" && problem.field == "logsource"), "{problems:?}");
}

const CORRELATED: &str = "title: Base\nid: 11111111-1111-4111-8111-111111111111\nname: base\nlogsource: {product: ai}\ndetection:\n  s: {k: a}\n  \
                          condition: s\n---\ntitle: Other\nid: 11111111-1111-4111-8111-111111111112\nname: other\nlogsource: {product: ai}\n\
                          detection:\n  s: {k: b}\n  condition: s\n---\ntitle: C\nid: 11111111-1111-4111-8111-111111111113\ncorrelation:\n  \
                          rules: [base, other]\n  timespan: 1m\n  group-by: [u]\n  ";

/// Where `rsigma` says otherwise, the standard's words: a temporal correlation without a condition means all of its rules, a percentile is
/// compared with its threshold, a list is each of its values.
#[test]
fn correlations_follow_the_standard_where_the_engine_does_not() {
    let of = |k: &str, extra: serde_json::Value, time_s: u64| {
        let mut event = json!({ "k": k, "u": "eve", "@timestamp": time_s });
        event.as_object_mut().unwrap().extend(extra.as_object().unwrap().clone());
        event
    };
    let plain = |k, time_s| of(k, json!({}), time_s);
    for (name, correlation, events, fires_at) in [
        ("all rules", "type: temporal\n", vec![plain("a", 1), plain("a", 2), plain("b", 3)], vec![2]),
        ("in order", "type: temporal_ordered\n", vec![plain("b", 1), plain("a", 2), plain("b", 3)], vec![2]),
        (
            "a percentile",
            "type: value_percentile\n  condition: {field: n, percentile: 90, gte: 8}\n",
            (0..10).map(|n| of("a", json!({ "n": n }), n)).collect(),
            vec![9],
        ),
        (
            "each of a list",
            "type: value_count\n  condition: {field: n, gte: 3}\n",
            vec![of("a", json!({ "n": ["x", "y"] }), 1), of("a", json!({ "n": ["y", "z"] }), 2)],
            vec![1],
        ),
        // What comes late is counted with what happened then.
        (
            "late",
            "type: event_count\n  condition: {gte: 3}\n",
            [1000, 1001, 10, 11, 12, 1002].into_iter().map(|time_s| plain("a", time_s)).collect(),
            vec![4, 5],
        ),
    ] {
        let set = set(&format!("{CORRELATED}{correlation}"));
        assert_eq!(set.problems(), [], "{name}");
        let mut runner = Runner::new(set);
        let fired: Vec<usize> = events
            .iter()
            .enumerate()
            .filter(|(_, event)| runner.next(event).iter().any(|found| found.title == "C"))
            .map(|(index, _)| index)
            .collect();
        assert_eq!(fired, fires_at, "{name}");
    }
}

#[test]
fn a_correlation_that_makes_no_sense_is_named_and_takes_nobody_along() {
    for (correlation, names) in [
        ("type: value_count\n  condition: {gte: 3}\n", "field"),
        ("type: value_count\n  condition: {field: x, gte: 20000}\n", "20000"),
        ("type: value_percentile\n  condition: {field: x, percentile: 101, gte: 1}\n", "percentile"),
        ("type: temporal\n  condition: base and nobody\n", "nobody"),
        ("type: event_count\n  condition: base and other\n", "temporal"),
        ("type: event_count\n  condition: {gte: 1}\n  aliases: {who: {nobody: x}}\n", "nobody"),
    ] {
        let above = "---\ntitle: Above\nid: 11111111-1111-4111-8111-111111111114\ncorrelation:\n  rules: [11111111-1111-4111-8111-111111111113]\n  timespan: 1m\n  type: event_count\n  condition: {gte: 2}\n";
        let set = set(&format!("{CORRELATED}{correlation}{above}"));
        assert!(set.problems()[0].message.contains(names), "{correlation}: {}", set.problems()[0]);
        let left: Vec<&str> = set.rules().map(|rule| rule.title.as_str()).collect();
        assert_eq!(left, ["Base", "Other"], "{correlation}");
    }
}

#[test]
fn a_search_for_an_order_takes_no_exponential_time() {
    let rules: Vec<String> = (0..6)
        .map(|n| format!("title: R{n}\nid: 11111111-1111-4111-8111-11111111111{n}\nname: r{n}\nlogsource: {{product: ai}}\ndetection:\n  s: {{k: {n}}}\n  condition: s\n"))
        .collect();
    let order = "title: C\nid: 11111111-1111-4111-8111-111111111119\ncorrelation:\n  rules: [r5, r4, r3, r2, r1, r0]\n  timespan: 1d\n  type: temporal_ordered\n";
    let mut runner = Runner::new(set(&format!("{}---\n{order}", rules.join("---\n"))));
    // Each rule many times, and in the wrong order.
    for (index, n) in (0..6).flat_map(|n| std::iter::repeat_n(n, 300)).enumerate() {
        assert!(runner.next(&json!({ "k": n, "@timestamp": 1_000_000 + index })).iter().all(|found| found.title != "C"));
    }
}

#[test]
fn later_places_go_before_earlier_ones_and_a_broken_rule_takes_nobody_along() {
    let dir = tempfile::tempdir().unwrap();
    let write = |name: &str, text: &str| {
        let path = dir.path().join(name);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, text).unwrap();
    };
    write("one/base.yml", BASE);
    write("one/deep/er/broken.yml", "title: Broken\nlogsource: {product: ai}\ndetection:\n  s: {a|re: '('}\n  condition: s\n");
    write("two/own.yml", &BASE.replace("title: Base", "title: Base of two").replace("shell", "bash"));
    let dirs: Vec<PathBuf> = ["one", "two"].map(|name| dir.path().join(name)).to_vec();
    let sources = RuleSources { dirs: &dirs, ..RuleSources::default() };
    let both = RuleSet::assemble(&sources).unwrap();
    assert_eq!(both.rules().map(|rule| rule.title.as_str()).collect::<Vec<_>>(), ["Base of two"]);
    assert_eq!((both.problems().len(), both.problems()[0].rule.as_str(), both.notes().len()), (1, "Broken", 1));
    // The program's rules are there, too, and can be taken the place of, and disabled.
    let builtin = RuleSet::builtin().unwrap();
    let shipped = builtin.rules().find(|rule| rule.category.as_deref() == Some("tool")).unwrap();
    write("two/shipped.yml", &BASE.replace("11111111-1111-4111-8111-111111111111", &shipped.id).replace("name: base\n", ""));
    let disable = [builtin.rules().last().unwrap().id.clone()];
    let all = RuleSet::assemble(&RuleSources { builtin: true, disable: &disable, ..sources.clone() }).unwrap();
    assert_eq!(all.find(&shipped.id).unwrap().title, "Base");
    assert!(all.find(&disable[0]).is_none());
    assert!(all.notes().iter().any(|note| note.contains("disabled")), "{:?}", all.notes());
    assert_ne!(all.digest(), both.digest());
    // In strict mode a rule proves itself, or is left out.
    let proven = "watchkeeper:\n  examples:\n    positive: [{event: {gen_ai.tool.name: bash, text: beta}}]\n    negative: [{event: {gen_ai.tool.name: cat}}]\n";
    write("two/own.yml", &format!("{}{proven}", BASE.replace("shell", "bash")));
    let strict = RuleSet::assemble(&RuleSources { strict: true, ..sources.clone() }).unwrap();
    assert_eq!(strict.rules().len(), 1, "{:?}", strict.problems());
    for (examples, field) in [
        (proven.replace("beta", "gamma"), "examples.positive"),
        (proven.replace("{gen_ai.tool.name: cat}", "{gen_ai.tool.name: bash, text: alpha}"), "examples.negative"),
        (proven.split("    negative").next().unwrap().to_owned(), "examples.negative"),
        (String::new(), "examples.positive"),
    ] {
        write("two/own.yml", &format!("{}{examples}", BASE.replace("shell", "bash")));
        let strict = RuleSet::assemble(&RuleSources { strict: true, ..sources.clone() }).unwrap();
        assert!(strict.rules().all(|rule| !rule.file.ends_with("own.yml")), "{examples}");
        assert!(strict.problems().iter().any(|problem| problem.field.contains(field)), "{examples}: {:?}", strict.problems());
        // Without it the rule is used all the same.
        let used = RuleSet::assemble(&sources).unwrap();
        assert!(used.rules().any(|rule| rule.title == "Base" && rule.file.ends_with("own.yml")), "{examples}");
    }
}

#[test]
fn an_explanation_says_what_is_in_the_way() {
    let filter = "---\ntitle: Ours\nid: 22222222-2222-4222-8222-222222222222\nfilter:\n  rules: [base]\n  who: {user: admin}\n  condition: not who\n";
    let text = format!("{BASE}{filter}");
    for (event, matched, missing) in [
        (json!({ "gen_ai.tool.name": "shell", "text": "beta" }), true, vec![]),
        (json!({ "gen_ai.tool.name": "shell", "text": "gamma" }), false, vec!["text contains alpha"]),
        (json!({ "text": "alpha" }), false, vec!["gen_ai.tool.name exact shell: the event has no such field"]),
        (
            json!({ "gen_ai.tool.name": "shell", "text": "alpha", "user": "admin" }),
            false,
            vec!["not (user exact admin): it is \"admin\""],
        ),
    ] {
        let mut runner = Runner::new(set(&text));
        runner.next(&event);
        let told = runner.explain("11111111-1111-4111-8111-111111111111", &event).unwrap();
        assert_eq!(told.matched, matched, "{event}");
        assert_eq!(told.near_miss.len(), missing.len(), "{event}: {:?}", told.near_miss);
        for (told, missing) in told.near_miss.iter().zip(missing) {
            assert!(told.contains(missing), "{told}");
        }
        assert!(told.place.ends_with("r.yml:1"), "{}", told.place);
        // Its verdict is the engine's.
        assert_eq!(!match_json(&set(&text), &event).is_empty(), matched, "{event}");
    }
    let mut runner = Runner::new(set(&format!("{CORRELATED}type: event_count\n  condition: {{gte: 3}}\n")));
    let event = |time_s: u64| json!({ "k": "a", "u": "eve", "@timestamp": time_s });
    (0..2).for_each(|time_s| drop(runner.next(&event(time_s))));
    let told = runner.explain("11111111-1111-4111-8111-111111111113", &event(1)).unwrap();
    let window = told.window.as_ref().unwrap();
    assert_eq!((told.matched, window.value, window.holds, told.rules.len()), (false, Some(2.0), false, 2));
    assert_eq!(window.group, [("u".to_owned(), "eve".to_owned())]);
    assert!(told.near_miss[0].contains("asked for is gte 3"), "{:?}", told.near_miss);
    runner.next(&event(2));
    assert!(runner.explain("11111111-1111-4111-8111-111111111113", &event(2)).unwrap().matched);
    // Without a condition a temporal one asks for all of its rules.
    let mut runner = Runner::new(set(&format!("{CORRELATED}type: temporal_ordered\n")));
    runner.next(&event(1));
    let told = runner.explain("11111111-1111-4111-8111-111111111113", &event(1)).unwrap();
    assert_eq!(told.window.unwrap().condition, "each of its 2 rules, in their order");
    assert!(!told.matched && told.near_miss[0].starts_with("temporal_ordered is 1 in"), "{:?}", told.near_miss);
}
