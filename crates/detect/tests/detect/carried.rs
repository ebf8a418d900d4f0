//! What outlives an engine, and what detection says of itself.

use event::{Kind, Principal, SourcePath, Value, attr};
use sanitize::Clean;
use watchkeeper_detect::{AlertBudget, Carried, Engine, RuleSet};

use crate::stream::{Stream, titles};

/// A rule on a tool, and one that is counted. Of the techniques no two are the same.
const TOOLS: &str = "title: Alpha\nid: 4d1f0c8a-7d6e-4c1b-9a53-0d5b2f6c7e01\nlogsource: {product: ai, category: tool}\ndetection:\n  \
                     s: {gen_ai.tool.name: alpha}\n  condition: s\nlevel: high\nwatchkeeper: {techniques: [AML.T0051], confidence: 0.9}\n---\n\
                     title: Gamma\nid: 4d1f0c8a-7d6e-4c1b-9a53-0d5b2f6c7e04\nlogsource: {product: ai, category: tool}\ndetection:\n  \
                     s: {gen_ai.tool.name: gamma}\n  condition: s\nlevel: high\nwatchkeeper: {techniques: [AML.T0057], confidence: 0.9}\n---\n\
                     title: Beta\nname: beta\nid: 4d1f0c8a-7d6e-4c1b-9a53-0d5b2f6c7e02\nlogsource: {product: ai, category: tool}\n\
                     detection:\n  s: {gen_ai.tool.name: beta}\n  condition: s\n";
const OFTEN: &str = "title: Often beta\nid: 4d1f0c8a-7d6e-4c1b-9a53-0d5b2f6c7e03\ncorrelation:\n  type: event_count\n  rules: [beta]\n  \
                     group-by: [user.id]\n  timespan: 1h\n  condition: {gte: 3}\n";
const GAPS: &str = "title: Gap\nname: gap\nid: 4d1f0c8a-7d6e-4c1b-9a53-0d5b2f6c7e05\nlogsource: {product: ai}\ndetection:\n  \
                    s: {event.kind: gap}\n  condition: s\n---\n\
                    title: Often gaps\nid: 4d1f0c8a-7d6e-4c1b-9a53-0d5b2f6c7e06\ncorrelation:\n  type: event_count\n  rules: [gap]\n  \
                    generate: true\n  timespan: 1h\n  condition: {gte: 3}\n";

fn engine(text: &str, budget: AlertBudget) -> Engine {
    let rules = RuleSet::of_files(vec![("own.yml".into(), text.to_owned())]).unwrap();
    assert_eq!(rules.problems(), []);
    Engine::new(rules.with_budget(budget))
}

/// Uses of tools by one user.
fn uses(tools: &[&str]) -> Stream {
    let mut stream = Stream::default();
    for tool in tools {
        stream.event(Kind::ToolCall, "s").last().identity.user = Some(Principal::asserted(Clean::literal("eve")));
        stream.last().set(attr::GEN_AI_TOOL_NAME, Value::Text(Clean::recorded(tool)));
    }
    stream
}

fn stored(engine: Engine) -> Option<Carried> {
    let bytes = engine.into_carried().to_bytes().unwrap();
    assert!(Carried::from_bytes(&bytes[1..]).is_err() && Carried::from_bytes(&bytes[..bytes.len() - 1]).is_err());
    Some(Carried::from_bytes(&bytes).unwrap())
}

#[test]
fn what_is_counted_over_hours_goes_on_in_the_next_engine() {
    let budget = AlertBudget { per_hour: 9, per_entity_hour: 1, per_entity_first: 1 };
    // Nobody is a risk by it.
    let tools = TOOLS.replace("0.9", "0.1");
    let text = format!("{tools}---\n{OFTEN}");
    let mut first = engine(&text, budget);
    assert_eq!(titles(&uses(&["alpha", "beta", "beta"]).run_on(&mut first)), ["Alpha"]);
    let mut second = engine(&text, budget);
    // What it saw to warm up is none of its own.
    uses(&["beta", "beta", "gamma"]).run_on(&mut second);
    second.carry(stored(first));
    let found = uses(&["alpha", "beta", "gamma"]).run_on(&mut second);
    assert_eq!(titles(&found), ["Alert budget spent: Alpha", "Often beta", "Gamma"]);
    // It has spoken of the group, and does not again within the window.
    let mut third = engine(&text, budget);
    third.carry(stored(second));
    assert_eq!(titles(&uses(&["beta", "gamma"]).run_on(&mut third)), ["Alert budget spent: Gamma"]);
    // A correlation that says something else today has its own windows, and others keep theirs.
    let other = format!("{OFTEN}---\n{tools}").replace("gte: 3", "gte: 2");
    let mut fourth = engine(&other, budget);
    uses(&["beta"]).run_on(&mut fourth);
    fourth.carry(stored(third));
    assert_eq!(
        titles(&uses(&["alpha", "beta"]).run_on(&mut fourth)),
        ["Alert budget spent: Alpha", "Alert budget spent: Often beta"]
    );
    // Where nothing is handed on nothing is spent.
    fourth.carry(None);
    assert_eq!(titles(&uses(&["alpha"]).run_on(&mut fourth)), ["Alpha"]);
}

#[test]
fn what_a_budget_keeps_silent_adds_to_the_risk() {
    let budget = AlertBudget { per_hour: 1, per_entity_hour: 1, per_entity_first: 0 };
    let found = uses(&["alpha", "alpha", "gamma"]).run_on(&mut engine(TOOLS, budget));
    assert_eq!(titles(&found), ["Alpha", "Alert budget spent: Alpha", "Gamma", "Risk threshold crossed"]);
    // What tells of a budget is no detection of anybody.
    let found = uses(&["alpha", "alpha", "alpha", "alpha"]).run_on(&mut engine(TOOLS, budget));
    assert_eq!(found.iter().filter(|one| one.title.starts_with("Risk")).count(), 0);
}

#[test]
fn a_gap_of_detections_own_is_told_of_and_counted_by_no_correlation() {
    for (reason, path, expected) in [
        ("detection_bounds", SourcePath::Internal, vec!["Gap"; 4]),
        // Others are counted, and so is what somebody else calls so.
        ("disk_full", SourcePath::Internal, vec!["Gap", "Gap", "Gap", "Often gaps", "Gap"]),
        ("detection_bounds", SourcePath::Api, vec!["Gap", "Gap", "Gap", "Often gaps", "Gap"]),
    ] {
        let mut stream = Stream::default();
        for _ in 0..4 {
            stream.event(Kind::Gap, "s").last().source.path = path;
            stream.last().set(attr::GAP_REASON, Value::Text(Clean::literal(reason)));
        }
        let found = stream.run_on(&mut engine(GAPS, AlertBudget::default()));
        assert_eq!(titles(&found), expected, "{reason} {path:?}");
    }
}
