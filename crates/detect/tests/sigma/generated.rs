//! Rules and events from a seed: every modifier, condition and correlation type, over few fields and values, so that much matches.

use serde_json::{Value, json};

/// A small generator of numbers (SplitMix64): the same seed gives the same rules and events everywhere.
pub(crate) struct Random(u64);

impl Random {
    pub(crate) fn new(seed: u64) -> Self {
        Self(seed.wrapping_mul(0x2545_F491_4F6C_DD1D) ^ 0x9E37_79B9_7F4A_7C15)
    }

    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        z ^ (z >> 31)
    }

    pub(crate) fn below(&mut self, most: u64) -> u64 {
        self.next() % most
    }

    pub(crate) fn one<'a, T: ?Sized>(&mut self, of: &[&'a T]) -> &'a T {
        of[usize::try_from(self.below(of.len() as u64)).unwrap()]
    }
}

const WORDS: [&str; 10] =
    ["delete", "Delete all", "rm -rf /srv", "read file", "10.1.2.3", "192.168.0.7", "a*b", "C:\\x\\y", "Überweisung", ""];

/// An event: texts, a number, a flag, a user, sometimes a list, sometimes nothing of them.
pub(crate) fn event(random: &mut Random, time_s: i64) -> Value {
    let mut event = json!({ "@timestamp": time_s });
    for field in ["tool", "text", "address"] {
        match random.below(8) {
            0 => {}
            1 => event[field] = Value::Null,
            2 => event[field] = json!([random.one(&WORDS), random.one(&WORDS)]),
            _ => event[field] = json!(random.one(&WORDS)),
        }
    }
    // Always there: an event that has not what is counted completes nothing with us, and with `rsigma` whatever the others come to.
    event["count"] = json!(random.below(10));
    event["cost"] = json!(random.below(1_000));
    if random.below(2) == 0 {
        event["note"] = json!(random.below(3));
    }
    if random.below(8) > 0 {
        event["user"] = json!(["ann", "bob", "eve"][usize::try_from(random.below(3)).unwrap()]);
    }
    if random.below(3) == 0 {
        event["actor"] = json!(["ann", "bob"][usize::try_from(random.below(2)).unwrap()]);
    }
    event["failed"] = json!(random.below(2) == 0);
    event
}

const ITEMS: [&str; 22] = [
    "tool: 'delete'",
    "tool: ['delete', 'read file']",
    "text|contains: 'rm -rf'",
    "text|contains|all: ['rm', '/srv']",
    "text|startswith: ['delete', '10.']",
    "text|endswith: 'all'",
    "text|cased: 'Delete all'",
    "text|re: '^(?:rm|read) .*'",
    "text|re|i: '^DELETE'",
    "text: 'r*f*'",
    "text: 'a\\*b'",
    "text: 'C:\\\\x\\\\?'",
    "address|cidr: ['10.0.0.0/8', '192.168.0.0/16']",
    "count|gte: 5",
    "count|lt: 3",
    "count: 7",
    "failed: true",
    "text: null",
    "tool|exists: true",
    "note|exists: false",
    "tool|fieldref: text",
    "text|contains: 'überw'",
];

const CONDITIONS: [&str; 9] = [
    "sel_a",
    "sel_a and sel_b",
    "sel_a or sel_b",
    "sel_a and not sel_b",
    "1 of sel_*",
    "all of them",
    "not sel_a and sel_b",
    "(sel_a or sel_b) and not flt",
    "1 of sel_* and not 1 of flt*",
];

const CORRELATIONS: [&str; 12] = [
    "type: event_count\n  condition: {gte: 3}",
    "type: event_count\n  condition: {gt: 1, lte: 4}",
    "type: event_count\n  condition: {eq: 2}",
    "type: value_count\n  condition: {field: count, gte: 3}",
    "type: value_count\n  condition: {field: [count, failed], gte: 4}",
    "type: value_sum\n  condition: {field: cost, gte: 1500}",
    "type: value_avg\n  condition: {field: cost, gt: 600}",
    "type: value_median\n  condition: {field: cost, lt: 300}",
    "type: temporal\n  condition: rule_0 and rule_1",
    "type: temporal\n  condition: rule_0 and not rule_1",
    "type: temporal_ordered\n  condition: rule_0 and rule_1",
    "type: event_count\n  condition: {neq: 3}",
];

/// A rule file: rules, correlations of them, a correlation of a correlation.
pub(crate) fn rules(random: &mut Random) -> String {
    let mut documents: Vec<String> = Vec::new();
    for rule in 0..3 {
        let mut selections = String::new();
        for name in ["sel_a", "sel_b", "flt"] {
            selections.push_str(&format!("  {name}:\n"));
            let first = random.one(&ITEMS);
            selections.push_str(&format!("    {first}\n"));
            let second = random.one(&ITEMS);
            let key = |item: &str| item.split(':').next().unwrap().to_owned();
            if random.below(3) == 0 && key(first) != key(second) {
                selections.push_str(&format!("    {second}\n"));
            }
        }
        let condition = random.one(&CONDITIONS);
        documents.push(format!(
            "title: Rule {rule}\nid: 00000000-0000-4000-8000-00000000000{rule}\nname: rule_{rule}\nlogsource: {{category: test}}\n\
             detection:\n{selections}  condition: {condition}\n"
        ));
    }
    for number in 0..3 {
        let kind = random.one(&CORRELATIONS);
        let timespan = random.one(&["20s", "1m", "5m"]);
        let group = random.one(&["", "  group-by: [user]\n", "  group-by: [user, failed]\n", ALIASED]);
        let generate = if random.below(3) == 0 { "generate: true\n" } else { "" };
        documents.push(format!(
            "title: Correlation {number}\nid: 00000000-0000-4000-8000-0000000000c{number}\nname: corr_{number}\n{generate}correlation:\n  \
             rules: [rule_0, rule_1]\n{group}  timespan: {timespan}\n  {kind}\n"
        ));
    }
    documents.push(
        "title: Above\nid: 00000000-0000-4000-8000-0000000000d0\ncorrelation:\n  rules: [corr_0]\n  group-by: [user]\n  timespan: 5m\n  \
         type: event_count\n  condition: {gte: 2}\n"
            .to_owned(),
    );
    documents.join("---\n")
}

const ALIASED: &str = "  group-by: [who]\n  aliases:\n    who:\n      rule_0: user\n      rule_1: actor\n";
