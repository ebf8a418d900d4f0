//! Rules of several sources, one above the other.

use std::collections::{HashMap, HashSet};
use std::path::{Path, PathBuf};

use super::check::{self, Problem};
use super::load::ParsedFiles;
use super::settle::{Found, Out, settle};
use super::{Rule, RuleError, RuleSet, examples};

/// Rules of several sources, of which a later one goes before an earlier one.
#[derive(Default)]
pub(super) struct Overlay {
    /// The uppermost rule of each id.
    rules: Vec<Rule>,
    /// Those below it, the uppermost last.
    below: HashMap<String, Vec<Rule>>,
    /// Rules that must have examples of both kinds, which come out as they should.
    must_prove: HashSet<(String, PathBuf)>,
    pub(super) problems: Vec<Problem>,
    notes: Vec<String>,
}

impl Overlay {
    /// Rules whose problems are known already.
    pub(super) fn of(rules: Vec<Rule>, problems: Vec<Problem>) -> Self {
        Self { rules, problems, ..Self::default() }
    }

    /// Puts the rules of a source above all others.
    pub(super) fn put(&mut self, source: ParsedFiles, must_prove: bool) {
        let ParsedFiles { rules: own, refused } = source;
        let places: HashMap<&str, &Path> =
            self.rules.iter().map(|rule| (rule.info.id.as_str(), rule.info.file.as_path())).collect();
        for (id, problem) in refused {
            if let (Some(file), Some(problem)) = (places.get(id.as_str()), self.problems.get_mut(problem)) {
                tell_what_stays(problem, file);
            }
        }
        let above: HashSet<&str> = own.iter().map(|rule| rule.info.id.as_str()).collect();
        let rules = std::mem::take(&mut self.rules).into_iter();
        let (below, rest): (Vec<Rule>, Vec<Rule>) = rules.partition(|rule| above.contains(rule.info.id.as_str()));
        self.rules = rest;
        for rule in below {
            self.below.entry(rule.info.id.clone()).or_default().push(rule);
        }
        if must_prove {
            self.must_prove.extend(own.iter().map(key_of));
        }
        self.rules.extend(own);
    }

    /// Takes a rule out, and all below it.
    pub(super) fn disable(&mut self, id: &str) {
        let before = self.rules.len();
        self.rules.retain(|rule| rule.info.id != id);
        self.below.remove(id);
        self.notes.push(match self.rules.len() < before {
            true => format!("rule {id} is disabled by the configuration"),
            false => format!("rule {id} is to be disabled, and no rule has that id"),
        });
    }

    /// Leaves out what cannot be used. A rule that has another below it gives way to that, and then all are looked at again: what would
    /// have been left out because of it need not be.
    pub(super) fn settle(mut self, stopping: &dyn Fn() -> bool) -> Result<RuleSet, RuleError> {
        loop {
            let mut rules = self.rules.clone();
            let mut found = settle(&mut rules, stopping)?;
            let proven: Vec<&Rule> = rules.iter().filter(|rule| self.must_prove.contains(&key_of(rule))).collect();
            let lacking: Vec<Found> = proven
                .into_iter()
                .flat_map(|rule| {
                    let problems = check::unproven(rule).into_iter().chain(examples::problems_of(rule, &rules));
                    problems.map(move |problem| Found { problem, out: Some((rule.info.id.clone(), Out::Itself)) })
                })
                .collect();
            let lacks: HashSet<String> = lacking.iter().filter_map(|one| Some(one.out.as_ref()?.0.clone())).collect();
            found.extend(lacking);
            if self.give_way(&found) {
                continue;
            }
            if !lacks.is_empty() {
                rules.retain(|rule| !lacks.contains(&rule.info.id));
                found.extend(settle(&mut rules, stopping)?);
            }
            self.problems.extend(found.into_iter().map(|one| one.problem));
            let notes = self.replaced(&rules).into_iter().chain(self.notes).collect();
            return RuleSet::of(rules, self.problems, notes);
        }
    }

    /// Puts the rule below in the place of each that cannot be used. First of those that are wrong themselves: others may be left out
    /// because of these alone. Whether there was any.
    fn give_way(&mut self, found: &[Found]) -> bool {
        let of = |wanted: Out| -> HashSet<&str> {
            let out = found.iter().filter_map(|one| one.out.as_ref());
            let ids = out.filter(|(_, out)| *out == wanted).map(|(id, _)| id.as_str());
            ids.filter(|id| self.below.get(*id).is_some_and(|below| !below.is_empty())).collect()
        };
        let themselves = of(Out::Itself);
        let out = if themselves.is_empty() { of(Out::WithOthers) } else { themselves };
        let out: HashSet<String> = out.into_iter().map(str::to_owned).collect();
        for rule in &mut self.rules {
            let Some(below) = out.get(&rule.info.id).and_then(|id| self.below.get_mut(id)?.pop()) else { continue };
            for one in found.iter().filter(|one| one.out.as_ref().is_some_and(|(id, _)| *id == rule.info.id)) {
                let mut problem = one.problem.clone();
                tell_what_stays(&mut problem, &below.info.file);
                self.problems.push(problem);
            }
            *rule = below;
        }
        !out.is_empty()
    }

    /// Which rules took the place of others.
    fn replaced(&self, rules: &[Rule]) -> Vec<String> {
        let mut notes = Vec::new();
        for rule in rules {
            let below = self.below.get(&rule.info.id).into_iter().flatten();
            let files: Vec<&Path> = below.chain([rule]).map(|rule| rule.info.file.as_path()).collect();
            notes.extend(files.windows(2).map(|pair| {
                format!("rule {} of {} takes the place of that of {}", rule.info.id, pair[1].display(), pair[0].display())
            }));
        }
        notes
    }
}

fn key_of(rule: &Rule) -> (String, PathBuf) {
    (rule.info.id.clone(), rule.info.file.clone())
}

fn tell_what_stays(problem: &mut Problem, file: &Path) {
    problem.message.push_str(&format!("; the rule of that id in {} stays", file.display()));
}
