//! The only module that knows the Sigma engine (`rsigma`): parsing, compiling, matching. Correlations and filters are done here.
//!
//! Where Sigma's text leaves it open: keywords match as case-insensitive substrings of every text of the event; a field
//! with many values matches when any of them does; correlation windows slide; a rule that a correlation refers to does
//! not speak for itself unless the correlation says `generate: true`.

mod bounds;
pub(crate) mod correlation;
mod document;
pub(crate) mod evidence;
pub(crate) mod explain;
mod filter;
pub(crate) mod flatten;
pub(crate) mod runner;
mod weight;

use std::collections::{HashMap, HashSet};

use event::EventId;
use journal::Seq;
use rsigma_eval::{Engine, EvaluationResult, JsonEvent, MatchDetailLevel};
use rsigma_parser::{LogSource, SigmaRule};
use serde_json::Value as Json;

pub(crate) use self::correlation::Windows;
use self::correlation::{Correlations, Counted, Dropped};
pub(crate) use self::document::{Parsed, compile_error, correlation_error, parse};
pub(crate) use self::weight::weight;
use crate::detection::Evidence;
use crate::fields::PRODUCT;
use crate::rules::RuleKind;

/// Rules, compiled, with the windows of their correlations.
pub(crate) struct Sigma {
    engine: Engine,
    names: Names,
    silent: HashSet<usize>,
    correlations: Correlations,
    needles: evidence::Needles,
}

/// By what the rules of a set are referred to: their id, or their name (Sigma 2.1, correlation rules, "Related rules"). An id goes before a
/// name, and of several rules of one name the first is meant.
#[derive(Debug, Default)]
pub(crate) struct Names {
    ids: HashMap<String, usize>,
    names: HashMap<String, usize>,
    doubled: HashSet<String>,
}

impl Names {
    pub(crate) fn of<'a>(documents: impl Iterator<Item = &'a Parsed>) -> Self {
        let mut all = Self::default();
        for (position, document) in documents.enumerate() {
            if let Some(id) = document.id() {
                all.ids.entry(id.to_owned()).or_insert(position);
            }
            // Nothing refers to a filter.
            if let Some(name) = document.name().filter(|_| document.kind() != RuleKind::Filter) {
                if all.names.contains_key(name) {
                    all.doubled.insert(name.to_owned());
                } else {
                    all.names.insert(name.to_owned(), position);
                }
            }
        }
        all
    }

    /// The place in the set of the rule that is called so.
    pub(crate) fn position(&self, called: &str) -> Option<usize> {
        self.ids.get(called).or_else(|| self.names.get(called)).copied()
    }

    /// Whether several rules have that name, and none that id.
    pub(crate) fn is_doubled(&self, called: &str) -> bool {
        self.doubled.contains(called) && !self.ids.contains_key(called)
    }
}

/// Which rules are asked: those of our log source's category and service.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Place<'a> {
    pub(crate) category: &'a str,
    pub(crate) service: &'a str,
}

/// A rule that fired.
#[derive(Debug, Clone)]
pub(crate) struct Hit {
    /// Its place in the list that was compiled.
    pub(crate) rule: usize,
    /// What [`Sigma::evidence`] shows: not every hit is told of.
    found: Found,
}

#[derive(Debug, Clone)]
enum Found {
    Match(EvaluationResult),
    Count(Counted),
}

impl Hit {
    /// The events that a correlation counted, the newest.
    pub(crate) fn events(&self) -> &[(Seq, EventId)] {
        match &self.found {
            Found::Match(_) => &[],
            Found::Count(counted) => &counted.events,
        }
    }

    /// The group of a correlation, as text.
    pub(crate) fn group(&self) -> String {
        match &self.found {
            Found::Match(_) => String::new(),
            Found::Count(counted) => format!("{:?}", counted.group),
        }
    }
}

impl Sigma {
    /// No rules.
    pub(crate) fn empty() -> Self {
        Self {
            engine: Engine::new(),
            names: Names::default(),
            silent: HashSet::new(),
            correlations: Correlations::default(),
            needles: evidence::Needles::default(),
        }
    }

    /// Compiles documents whose ids are unique and set.
    pub(crate) fn compile<'a>(documents: impl Iterator<Item = &'a Parsed> + Clone) -> Result<Self, String> {
        let names = Names::of(documents.clone());
        let mut needles = evidence::Needles::default();
        let mut engine = Engine::new();
        engine.set_match_detail(MatchDetailLevel::Full);
        let rules = filtered(documents.clone());
        for rule in &rules {
            needles.add(rule.id.as_deref().unwrap_or_default(), rule);
        }
        if let Some((_, error)) = engine.add_rules(&rules).into_iter().next() {
            return Err(error.to_string());
        }
        let correlations = documents.clone().enumerate().filter_map(|(position, document)| match document {
            Parsed::Correlation(rule) => Some((position, rule.as_ref())),
            _ => None,
        });
        let correlations = Correlations::compile(correlations, |name| names.position(name))?;
        let referred = |generate: bool| -> HashSet<usize> {
            let correlations = documents.clone().filter(|one| one.kind() == RuleKind::Correlation && one.generates() == generate);
            correlations.flat_map(|one| one.references().unwrap_or(&[])).filter_map(|name| names.position(name)).collect()
        };
        let silent = referred(false).difference(&referred(true)).copied().collect();
        Ok(Self { engine, names, silent, correlations, needles })
    }

    /// The rules that match, in their order; with a place, only those of our log source.
    pub(crate) fn matches(&self, event: &Json, place: Option<Place<'_>>) -> Matches {
        let event = JsonEvent::borrow(event);
        let mut results = match place {
            None => self.engine.evaluate(&event),
            Some(place) => self.engine.evaluate_pruned(&event, &log_source(place)),
        };
        // The engine promises no order, and two runs must give the same.
        results.sort_by_key(|result| self.position(result));
        Matches(results)
    }

    /// The place of each rule that matched.
    pub(crate) fn positions(&self, matches: &Matches) -> Vec<usize> {
        matches.0.iter().map(|result| self.position(result)).collect()
    }

    /// Whether the rule speaks for itself, and not only through a correlation.
    pub(crate) fn speaks(&self, position: usize) -> bool {
        !self.silent.contains(&position)
    }

    /// No matches.
    pub(crate) fn none(&self) -> Matches {
        Matches(Vec::new())
    }

    /// Takes out the rules for which `take` says so, and gives them.
    pub(crate) fn take_out(&self, matches: &mut Matches, mut take: impl FnMut(usize) -> bool) -> Matches {
        let (taken, rest) = std::mem::take(&mut matches.0).into_iter().partition(|result| take(self.position(result)));
        matches.0 = rest;
        Matches(taken)
    }

    /// Leaves the rules for which `keep` says so.
    pub(crate) fn retain(&self, matches: &mut Matches, mut keep: impl FnMut(usize) -> bool) {
        matches.0.retain(|result| keep(self.position(result)));
    }

    /// Feeds matches to the correlations at `time_s` and returns everything that speaks. `name` is that by which a
    /// correlation speaks of the event later.
    pub(crate) fn correlate(&mut self, event: &Json, name: Option<(Seq, EventId)>, matches: Matches, time_s: i64) -> Vec<Hit> {
        let counted: Vec<usize> = self.positions(&matches).into_iter().filter(|rule| self.correlations.count(*rule)).collect();
        let found = match counted.is_empty() {
            true => Vec::new(),
            false => self.correlations.observe(&JsonEvent::borrow(event), name, &counted, time_s),
        };
        self.hits(matches, found)
    }

    /// Everything that speaks of an event that correlations do not count.
    pub(crate) fn uncorrelated(&self, matches: Matches) -> Vec<Hit> {
        self.hits(matches, Vec::new())
    }

    fn hits(&self, matches: Matches, found: Vec<Counted>) -> Vec<Hit> {
        let of_rules = matches.0.into_iter().map(|result| Hit { rule: self.position(&result), found: Found::Match(result) });
        let of_correlations = found.into_iter().map(|counted| Hit { rule: counted.rule, found: Found::Count(counted) });
        let mut hits: Vec<Hit> =
            of_rules.chain(of_correlations).filter(|hit| hit.rule != usize::MAX && self.speaks(hit.rule)).collect();
        hits.sort_by_key(|hit| hit.rule);
        hits
    }

    /// Why the rule at a place is not asked about events of a log source, if that is so.
    pub(crate) fn not_asked(&self, id: &str, place: Place<'_>) -> Option<String> {
        let rule = self.engine.rules().iter().find(|rule| rule.id.as_deref() == Some(id))?;
        let wanted = &rule.logsource;
        let here = [
            ("product", &wanted.product, PRODUCT),
            ("category", &wanted.category, place.category),
            ("service", &wanted.service, place.service),
        ];
        let (name, theirs, ours) = here
            .into_iter()
            .find(|(_, theirs, ours)| theirs.as_ref().is_some_and(|theirs| !theirs.eq_ignore_ascii_case(ours)))?;
        let theirs = theirs.as_deref().unwrap_or_default();
        Some(format!("the rule is not asked: its log source has {name} {theirs}, the event has {ours}"))
    }

    /// The windows of correlations, and none are left.
    pub(crate) fn take_windows(&mut self) -> Windows {
        self.correlations.take_windows()
    }

    /// Goes on with windows that were taken; `place` gives the place of a correlation by the one that it had, where it is the same.
    pub(crate) fn go_on(&mut self, windows: Windows, place: impl Fn(usize) -> Option<usize>) {
        self.correlations.go_on(windows, place);
    }

    /// What the bounds of correlations left out so far.
    pub(crate) fn dropped(&self) -> Dropped {
        self.correlations.dropped()
    }

    /// About how much memory the windows of correlations take, and how many groups they are.
    pub(crate) fn held(&self) -> (usize, usize) {
        (self.correlations.bytes(), self.correlations.groups())
    }

    fn position(&self, result: &EvaluationResult) -> usize {
        result.header.rule_id.as_ref().and_then(|id| self.names.ids.get(id)).copied().unwrap_or(usize::MAX)
    }

    /// What shows a hit, as far as the event's searches allow.
    pub(crate) fn evidence(&self, hit: &Hit, search: &mut evidence::Search) -> Vec<Evidence> {
        match &hit.found {
            Found::Match(result) => {
                let id = result.header.rule_id.as_deref().unwrap_or_default();
                result
                    .as_detection()
                    .map_or_else(Vec::new, |body| evidence::of_matches(id, &body.matched_fields, &self.needles, search))
            }
            Found::Count(counted) => evidence::of_correlation(counted),
        }
    }
}

/// The rules of a set, each with the filters that are meant for it.
fn filtered<'a>(documents: impl Iterator<Item = &'a Parsed> + Clone) -> Vec<SigmaRule> {
    let filters =
        || documents.clone().filter_map(|document| if let Parsed::Filter(filter) = document { Some(filter) } else { None });
    let rules = documents.clone().filter_map(|document| if let Parsed::Rule(rule) = document { Some(rule) } else { None });
    let with_filters = |rule: &SigmaRule| {
        let mut rule = rule.clone();
        for (number, filter) in filters().enumerate().filter(|(_, filter)| filter::is_for(filter, &rule)).collect::<Vec<_>>() {
            filter::apply(&mut rule, filter, number);
        }
        rule
    };
    rules.map(|rule| with_filters(rule)).collect()
}

/// Whether a filter is meant for a rule.
pub(crate) fn filters(filter: &Parsed, rule: &Parsed) -> bool {
    matches!((filter, rule), (Parsed::Filter(filter), Parsed::Rule(rule)) if filter::is_for(filter, rule))
}

fn log_source(place: Place<'_>) -> LogSource {
    LogSource {
        category: Some(place.category.to_owned()),
        product: Some(PRODUCT.to_owned()),
        service: Some(place.service.to_owned()),
        definition: None,
        custom: HashMap::new(),
    }
}

/// Rules that matched an event, before correlation.
pub(crate) struct Matches(Vec<EvaluationResult>);
