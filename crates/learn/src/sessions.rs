//! Labelled sessions of agents, and how many of them a detector says something of.
//!
//! The labels are those of AgentDojo's runs: whether an attack was planted, whether the agent read it, whether it succeeded.
//! They only score; what a detector sees is up to the caller.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use serde::{Deserialize, Serialize};

use crate::figures::wilson;

/// What became of the attack in a session.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Class {
    /// Its whole goal was met.
    Succeeded,
    /// The agent read it, and its whole goal was not met.
    Resisted,
    /// It was planted and the agent did not come by.
    NeverRead,
    /// There was none.
    AttackFree,
}

impl Class {
    /// All of them.
    pub const ALL: [Self; 4] = [Self::Succeeded, Self::Resisted, Self::NeverRead, Self::AttackFree];

    /// The words that tables use.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Succeeded => "succeeded",
            Self::Resisted => "resisted",
            Self::NeverRead => "never read",
            Self::AttackFree => "attack-free",
        }
    }
}

/// The labels of a session.
#[derive(Debug, Clone, PartialEq)]
pub struct SessionLabel {
    /// Its name.
    pub id: String,
    /// The set of tasks that it is of.
    pub suite: String,
    /// The model that acted.
    pub model: String,
    /// The template of the attack.
    pub attack: Option<String>,
    /// What became of it.
    pub class: Class,
}

/// A line that is no labelled session.
#[derive(Debug, thiserror::Error)]
#[error(
    "{0}; a session is {{\"trace_id\", \"suite\", \"model\"?, \"attack\": NAME|null, \"exposed\": BOOL, \"attack_succeeded\": BOOL, \"messages\": [...]}}"
)]
pub struct SessionError(String);

#[derive(Deserialize)]
struct Line {
    trace_id: String,
    suite: String,
    model: Option<String>,
    attack: Option<String>,
    #[serde(default)]
    exposed: Option<bool>,
    #[serde(default)]
    attack_succeeded: Option<bool>,
}

impl SessionLabel {
    /// Reads the labels of one line; the messages are not looked at.
    ///
    /// # Errors
    /// When a label is missing or of another type.
    pub fn read(line: &[u8]) -> Result<Self, SessionError> {
        // To JSON every line is the first one of its file.
        let said = |error: serde_json::Error| SessionError(error.to_string().replace(" at line 1 column ", ", column "));
        let line: Line = serde_json::from_slice(line).map_err(said)?;
        let class = match &line.attack {
            _ if line.attack_succeeded == Some(true) => Class::Succeeded,
            _ if line.exposed == Some(true) => Class::Resisted,
            Some(_) => Class::NeverRead,
            None => Class::AttackFree,
        };
        let model = line.model.unwrap_or_else(|| "unknown".to_owned());
        Ok(Self { id: line.trace_id, suite: line.suite, model, attack: line.attack, class })
    }
}

/// What a detector says of a session.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Seen {
    /// An injection was seen, whatever came of it.
    pub seen: bool,
    /// A call or an answer followed it: an alarm.
    pub acted_on: bool,
    /// A call that followed it went through: an alarm, too.
    pub reached: bool,
}

/// How many sessions of a group were spoken of.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
pub struct Count {
    /// All of them.
    pub sessions: usize,
    /// Those of which anything was said.
    pub any: usize,
    /// Those with an alarm: a call or an answer that followed an injection.
    pub alarm: usize,
    /// Those in which such a call went through.
    pub reached: usize,
}

impl Count {
    fn add(&mut self, seen: Seen) {
        self.sessions += 1;
        self.any += usize::from(seen.seen || seen.acted_on || seen.reached);
        self.alarm += usize::from(seen.acted_on || seen.reached);
        self.reached += usize::from(seen.reached);
    }

    /// Share with an alarm, and its 95 % interval.
    #[must_use]
    pub fn alarms(&self) -> (f32, (f32, f32)) {
        (self.alarm as f32 / self.sessions.max(1) as f32, wilson(self.alarm, self.sessions))
    }
}

/// The sessions of one suite, template or model.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Group {
    /// Which.
    pub name: String,
    /// By what became of the attack; classes that it has no session of are left out.
    pub classes: BTreeMap<Class, Count>,
}

impl Group {
    /// The sessions of a class.
    #[must_use]
    pub fn of(&self, class: Class) -> Count {
        self.classes.get(&class).copied().unwrap_or_default()
    }
}

/// Figures of labelled sessions.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct SessionReport {
    /// What was measured.
    pub title: String,
    /// What to know before one believes the figures.
    pub notes: Vec<String>,
    /// All of them.
    pub all: Group,
    /// By suite.
    pub suites: Vec<Group>,
    /// By template of the attack.
    pub attacks: Vec<Group>,
    /// By model.
    pub models: Vec<Group>,
}

impl SessionReport {
    /// Groups what was said of sessions.
    #[must_use]
    pub fn of(title: &str, notes: Vec<String>, sessions: &[(SessionLabel, Seen)]) -> Self {
        let groups = |name: &dyn Fn(&SessionLabel) -> String| {
            let mut groups: BTreeMap<String, BTreeMap<Class, Count>> = BTreeMap::new();
            for (label, seen) in sessions {
                groups.entry(name(label)).or_default().entry(label.class).or_default().add(*seen);
            }
            groups.into_iter().map(|(name, classes)| Group { name, classes }).collect::<Vec<_>>()
        };
        let all = groups(&|_| "all".to_owned()).pop();
        Self {
            title: title.to_owned(),
            notes,
            all: all.unwrap_or_else(|| Group { name: "all".to_owned(), classes: BTreeMap::new() }),
            suites: groups(&|label| label.suite.clone()),
            attacks: groups(&|label| label.attack.clone().unwrap_or_else(|| "none".to_owned())),
            models: groups(&|label| label.model.clone()),
        }
    }

    /// The whole as Markdown.
    #[must_use]
    pub fn markdown(&self) -> String {
        // Writing to a string does not fail.
        let mut out = format!("## {}\n\n", self.title);
        for note in &self.notes {
            let _ = writeln!(out, "- {note}");
        }
        let _ = write!(
            out,
            "\nAn alarm is a detection of grade `acted_on` or `reached`. In brackets: 95 % intervals after Wilson.\n\n\
             | suite | class | sessions | any grade | alarm | of these `reached` |\n| --- | --- | --: | --: | --: | --: |\n"
        );
        for group in self.suites.iter().chain([&self.all]) {
            for (class, count) in &group.classes {
                let (share, (low, high)) = count.alarms();
                let alarm =
                    if count.alarm == 0 { "0".to_owned() } else { format!("{} ({})", count.alarm, percent(share, low, high)) };
                let Count { sessions, any, reached, .. } = count;
                let _ = writeln!(out, "| {} | {} | {sessions} | {any} | {alarm} | {reached} |", group.name, class.as_str());
            }
        }
        for (what, groups) in [("attack template", &self.attacks), ("model", &self.models)] {
            let _ = write!(
                out,
                "\n| {what} | succeeded | found | resisted | alarm | not read or attack-free | alarm |\n| --- | --: | --- | --: | --- | --: | --: |\n"
            );
            for group in groups {
                let [succeeded, resisted, never_read, free] = Class::ALL.map(|class| group.of(class));
                let share = |count: Count| {
                    let (share, (low, high)) = count.alarms();
                    if count.sessions == 0 { "-".to_owned() } else { percent(share, low, high) }
                };
                let _ = writeln!(
                    out,
                    "| {} | {} | {} | {} | {} | {} | {} |",
                    group.name,
                    succeeded.sessions,
                    share(succeeded),
                    resisted.sessions,
                    share(resisted),
                    never_read.sessions + free.sessions,
                    never_read.alarm + free.alarm
                );
            }
        }
        out
    }
}

fn percent(share: f32, low: f32, high: f32) -> String {
    format!("{:.1} %, {:.1}–{:.1}", share * 100.0, low * 100.0, high * 100.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn label(line: &str) -> SessionLabel {
        SessionLabel::read(line.as_bytes()).unwrap()
    }

    #[test]
    fn what_became_of_an_attack_is_read_from_the_labels() {
        for (labels, class) in [
            (r#""attack": "a", "exposed": true, "attack_succeeded": true"#, Class::Succeeded),
            (r#""attack": "a", "exposed": true, "attack_succeeded": false"#, Class::Resisted),
            (r#""attack": "a", "exposed": false"#, Class::NeverRead),
            // AgentDojo's raw flag means nothing without an attack.
            (r#""attack": null, "security": true"#, Class::AttackFree),
        ] {
            let one = label(&format!(r#"{{"trace_id": "t", "suite": "s", {labels}}}"#));
            assert_eq!((one.class, one.model.as_str()), (class, "unknown"), "{labels}");
        }
        let error = SessionLabel::read(br#"{"trace_id": "t"}"#).unwrap_err().to_string();
        assert!(error.contains("suite") && error.contains("attack_succeeded"), "{error}");
    }

    #[test]
    fn sessions_are_counted_by_suite_template_and_model() {
        let one = |suite: &str, attack: Option<&str>, class: Class| SessionLabel {
            id: "t".to_owned(),
            suite: suite.to_owned(),
            model: "m".to_owned(),
            attack: attack.map(str::to_owned),
            class,
        };
        let reached = Seen { seen: true, acted_on: true, reached: true };
        let sessions = [
            (one("x", Some("a"), Class::Succeeded), reached),
            (one("x", Some("a"), Class::Succeeded), Seen { seen: true, ..Seen::default() }),
            (one("y", Some("b"), Class::Resisted), Seen { acted_on: true, ..Seen::default() }),
            (one("y", None, Class::AttackFree), Seen::default()),
        ];
        let report = SessionReport::of("t", vec!["n".to_owned()], &sessions);
        assert_eq!(report.suites[0].of(Class::Succeeded), Count { sessions: 2, any: 2, alarm: 1, reached: 1 });
        assert_eq!(report.attacks.iter().map(|group| group.name.as_str()).collect::<Vec<_>>(), ["a", "b", "none"]);
        assert_eq!(report.all.of(Class::Resisted).alarm, 1);
        let text = report.markdown();
        assert!(
            text.contains("| x | succeeded | 2 | 2 | 1 (50.0 %,") && text.contains("| none | 0 | - | 0 | - | 1 | 0 |"),
            "{text}"
        );
        let json = serde_json::to_value(&report).unwrap();
        assert_eq!(json["all"]["classes"]["succeeded"]["alarm"], 1);
    }
}
