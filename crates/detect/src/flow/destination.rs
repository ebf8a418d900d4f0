//! Where an agent's calls go: destinations that it never used before, once it has been watched long enough to say so.

use std::collections::HashSet;
use std::num::NonZeroUsize;

use lru::LruCache;
use serde::{Deserialize, Serialize};

use super::state::slots;
use super::{follow, text};
use crate::session::hash;

/// Most agents whose destinations are remembered.
const AGENTS_MAX: usize = 262_144;
/// Most memory for all of them together, in bytes; the least recently used go first.
const AGENTS_BYTES_MAX: usize = 64 * 1024 * 1024;
/// Most destinations of one agent. One that goes to more has no usual ones, and nothing is told of it.
const KNOWN_MAX: usize = 4_096;
/// Most destinations of one call that are looked at.
const CALL_DESTINATIONS_MAX: usize = 32;
/// An agent is learnt for so many sessions, and so many days, before a destination of it is told to be new.
const LEARNING_SESSIONS: usize = 20;
const LEARNING_S: i64 = 3 * 24 * 3_600;
/// Weight of a call in the share of calls that went to new places: the last forty count for most of it.
const SHARE_WEIGHT: f64 = 0.05;
/// Longest value that names a destination, in bytes.
const NAME_BYTES_MAX: usize = 200;
/// Entries of arguments that say where to, or to whom.
const NAMES: [&str; 24] = [
    "to",
    "cc",
    "bcc",
    "recipient",
    "recipients",
    "receiver",
    "payee",
    "channel",
    "chat_id",
    "room",
    "email",
    "iban",
    "account",
    "host",
    "hostname",
    "server",
    "endpoint",
    "webhook",
    "bucket",
    "repo",
    "repository",
    "remote",
    "destination",
    "target",
];
/// Hosts on which an address leads to the owner of a repository.
const FORGES: [&str; 5] = ["github.com", "gitlab.com", "bitbucket.org", "codeberg.org", "huggingface.co"];

/// Where a call goes.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Destination {
    /// `host`, `email`, `account`, `repository`, `ip`, `phone`, `wallet`, `name`.
    pub(crate) kind: &'static str,
    /// In normal form.
    pub(crate) value: String,
}

/// The agents.
pub(crate) struct Agents {
    agents: LruCache<u64, Agent>,
    bytes: usize,
    bytes_max: usize,
    /// Agents that the bounds drove out.
    pub(crate) forgotten: u64,
}

#[derive(Debug, Serialize, Deserialize)]
pub(super) struct Agent {
    /// Its first sessions.
    sessions: HashSet<u64>,
    since_s: i64,
    known: HashSet<u64>,
    /// Share of its last calls that went to a new destination.
    new_share: f64,
}

/// The agents, as they are handed on.
pub(super) type Handed = Vec<(u64, Agent)>;

/// What is new of a call's destinations.
#[derive(Debug, Default, PartialEq)]
pub(crate) struct New {
    /// Which of them the agent never used.
    pub(crate) indexes: Vec<usize>,
    /// Share of the agent's calls before that went to a new one.
    pub(crate) share: f64,
}

impl Agents {
    pub(crate) fn new() -> Self {
        Self::with_bytes(AGENTS_BYTES_MAX)
    }

    pub(crate) fn with_bytes(bytes_max: usize) -> Self {
        let agents = LruCache::new(NonZeroUsize::new(AGENTS_MAX).unwrap_or(NonZeroUsize::MIN));
        Self { agents, bytes: 0, bytes_max, forgotten: 0 }
    }

    pub(super) fn hand_on(mut self) -> Handed {
        super::drained(&mut self.agents)
    }

    pub(super) fn go_on(&mut self, handed: Handed) {
        self.agents.clear();
        self.bytes = handed.iter().map(|(_, agent)| agent.bytes()).sum();
        handed.into_iter().for_each(|(agent, known)| drop(self.agents.put(agent, known)));
    }

    /// What is new of the destinations of a call; nothing while the agent is being learnt. `learn`: they are usual from now on,
    /// which those of a call that follows a stranger's instruction must not become.
    pub(crate) fn observe(
        &mut self,
        agent: u64,
        session: u64,
        time_s: i64,
        destinations: &[Destination],
        learn: bool,
    ) -> Option<New> {
        let of_new = || Agent { sessions: HashSet::new(), since_s: time_s, known: HashSet::new(), new_share: 0.5 };
        let mut known = match self.agents.pop(&agent) {
            Some(agent) => {
                self.bytes -= agent.bytes();
                agent
            }
            None => of_new(),
        };
        let new = known.observe(session, time_s, destinations, learn);
        self.bytes += known.bytes();
        if let Some((_, old)) = self.agents.push(agent, known) {
            self.bytes -= old.bytes();
            self.forgotten += 1;
        }
        while self.bytes > self.bytes_max && self.agents.len() > 1 {
            let Some((_, old)) = self.agents.pop_lru() else { break };
            self.bytes -= old.bytes();
            self.forgotten += 1;
        }
        new
    }
}

impl Agent {
    fn observe(&mut self, session: u64, time_s: i64, destinations: &[Destination], learn: bool) -> Option<New> {
        let is_learnt = self.sessions.len() >= LEARNING_SESSIONS && time_s - self.since_s >= LEARNING_S;
        if self.sessions.len() < LEARNING_SESSIONS {
            self.sessions.insert(session);
        }
        let hashes: Vec<u64> = destinations.iter().map(|one| hash(&[one.kind.as_bytes(), one.value.as_bytes()])).collect();
        let indexes: Vec<usize> = (0..hashes.len()).filter(|index| !self.known.contains(&hashes[*index])).collect();
        let share = self.new_share;
        if learn {
            self.new_share += SHARE_WEIGHT * (if indexes.is_empty() { 0.0 } else { 1.0 } - share);
            for hash in hashes {
                if self.known.len() < KNOWN_MAX {
                    self.known.insert(hash);
                }
            }
        }
        (is_learnt && self.known.len() < KNOWN_MAX && !indexes.is_empty()).then_some(New { indexes, share })
    }

    fn bytes(&self) -> usize {
        160 + 10 * (slots(self.known.len()) + slots(self.sessions.len()))
    }
}

/// Where a call with such arguments goes.
pub(crate) fn destinations(arguments: &str) -> Vec<Destination> {
    let mut out: Vec<Destination> = Vec::new();
    for (name, leaf) in follow::leaves(arguments).0 {
        let before = out.len();
        for (address, range) in text::addresses(&leaf) {
            let kind = text::form(&address);
            // Bare numbers are dates and amounts as often as telephones.
            if kind == "phone" && !leaf.get(range).is_some_and(|number| number.starts_with(['+', '<'])) {
                continue;
            }
            out.push(Destination { kind, value: address.clone() }.shortened());
        }
        let says_where = NAMES.contains(&name.to_lowercase().as_str());
        if says_where && out.len() == before && !leaf.trim().is_empty() && leaf.len() <= NAME_BYTES_MAX {
            out.push(Destination { kind: "name", value: leaf.trim().to_lowercase() });
        }
    }
    out.sort_unstable();
    out.dedup();
    out.truncate(CALL_DESTINATIONS_MAX);
    out
}

impl Destination {
    /// A page is a place on its host, a file one in its repository.
    fn shortened(self) -> Self {
        if self.kind != "host" {
            return self;
        }
        let mut parts = self.value.split(['/', '?', '#']);
        let host = parts.next().unwrap_or_default();
        let host = host.split_once(':').map_or(host, |(host, _)| host);
        let path: Vec<&str> = parts.filter(|part| !part.is_empty()).take(2).collect();
        match path[..] {
            [owner, name] if FORGES.contains(&host) => {
                let name = name.strip_suffix(".git").unwrap_or(name);
                Self { kind: "repository", value: format!("{host}/{owner}/{name}") }
            }
            _ => Self { kind: "host", value: host.to_owned() },
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(arguments: &str) -> Vec<(&'static str, String)> {
        destinations(arguments).into_iter().map(|one| (one.kind, one.value)).collect()
    }

    #[test]
    fn calls_say_where_they_go() {
        for (arguments, expected) in [
            (r#"{"url":"https://www.Shop.example.com/a?b=1"}"#, vec![("host", "shop.example.com")]),
            (r#"{"to":"Bob","body":"see you"}"#, vec![("name", "bob")]),
            (r#"{"to":"bob@corp.com","cc":["eve@x.org"]}"#, vec![("email", "bob@corp.com"), ("email", "eve@x.org")]),
            (r#"{"cmd":"git push https://github.com/acme/site.git main"}"#, vec![("repository", "github.com/acme/site")]),
            (r#"{"recipient":"GB29NWBK60161331926819","date":"2025-01-31"}"#, vec![("account", "gb29nwbk60161331926819")]),
            (r#"{"path":"notes.txt"}"#, vec![]),
        ] {
            let expected: Vec<_> = expected.into_iter().map(|(kind, value)| (kind, value.to_owned())).collect();
            assert_eq!(of(arguments), expected, "{arguments}");
        }
    }

    #[test]
    fn nothing_is_new_before_an_agent_is_known() {
        let mut agents = Agents::new();
        let (home, away) = (destinations(r#"{"to":"bob@corp.com"}"#), destinations(r#"{"to":"eve@x.org"}"#));
        let day = 86_400;
        for session in 0..30 {
            // A day a session would do, and so would thirty sessions at once not.
            assert_eq!(agents.observe(1, session, 0, &home, true), None);
            assert_eq!(agents.observe(2, 0, i64::try_from(session).unwrap() * day, &home, true), None);
        }
        assert_eq!(agents.observe(1, 99, day, &away, false), None, "one day");
        assert_eq!(agents.observe(2, 0, 40 * day, &away, false), None, "one session");
        let new = agents.observe(1, 99, 4 * day, &away, false).unwrap();
        assert_eq!(new.indexes, [0]);
        assert!(new.share < 0.2, "{new:?}");
        assert!(agents.observe(1, 99, 4 * day, &away, true).is_some(), "what followed a stranger was not learnt");
        assert_eq!(agents.observe(1, 99, 4 * day, &away, true), None);
        assert_eq!(agents.observe(1, 99, 4 * day, &home, true), None);
    }

    #[test]
    fn an_agent_that_goes_everywhere_has_a_high_share() {
        let mut agents = Agents::new();
        let mut last = None;
        for call in 0..200_u64 {
            let away = destinations(&format!(r#"{{"url":"http://site{call}.com/"}}"#));
            last = agents.observe(1, call, i64::try_from(call).unwrap() * 7_200, &away, true).or(last);
        }
        assert!(last.unwrap().share > 0.9);
    }

    #[test]
    fn a_million_agents_are_bounded() {
        let mut agents = Agents::with_bytes(1024 * 1024);
        let home = destinations(r#"{"to":"bob@corp.com"}"#);
        for agent in 0..1_000_000 {
            agents.observe(agent, 1, 0, &home, true);
        }
        let counted: usize = agents.agents.iter().map(|(_, agent)| agent.bytes()).sum();
        assert_eq!(agents.bytes, counted);
        assert!(counted <= 1024 * 1024);
        assert_eq!(agents.forgotten + crate::skipped::count(agents.agents.len()), 1_000_000);
    }
}
