//! Regexes that are compiled when they are first needed: most never are, start-up is quick, and memory is what the texts call for.

use std::sync::OnceLock;

use regex_automata::PatternSet;
use regex_automata::meta::{BuildError, Config, Regex};
use regex_automata::nfa::thompson::WhichCaptures;

/// Most bytes of a compiled pattern: bounded repeats make automata large, and rules may come from users.
const PATTERN_BYTES_MAX: usize = 4 * 1024 * 1024;
/// Most bytes of patterns that are compiled together: those without atoms.
const TOGETHER_BYTES_MAX: usize = 32 * 1024 * 1024;
/// Most bytes of a lazy DFA. There is one for each regex and thread that need it at once, so that with thousands of regexes the usual
/// 2 MiB are much; one that does not suffice is begun anew, and at last the regex goes on without.
const LAZY_DFA_BYTES_MAX: usize = 512 * 1024;

/// A regex that is compiled when it is first needed.
#[derive(Debug)]
pub(super) struct LazyRegex {
    source: String,
    compiled: OnceLock<Option<Regex>>,
}

impl LazyRegex {
    pub(super) fn new(source: String) -> Self {
        Self { source, compiled: OnceLock::new() }
    }

    /// The regex; `None` if it does not compile, which loading rules out (and a test for those built in).
    pub(super) fn get(&self) -> Option<&Regex> {
        self.compiled.get_or_init(|| self.compile().ok()).as_ref()
    }

    pub(super) fn compile(&self) -> Result<Regex, String> {
        Regex::builder().configure(config(PATTERN_BYTES_MAX)).build(&self.source).map_err(|error| told(&error))
    }

    pub(super) fn source(&self) -> &str {
        &self.source
    }

    /// Bytes of the regex, if it is compiled, without what searches add.
    pub(super) fn compiled_bytes(&self) -> usize {
        self.compiled.get().and_then(Option::as_ref).map_or(0, Regex::memory_usage)
    }

    pub(super) fn forget(&mut self) {
        self.compiled.take();
    }
}

/// Regexes that are asked together which of them match.
#[derive(Debug)]
pub(super) struct LazySet {
    sources: Vec<String>,
    compiled: OnceLock<Option<Regex>>,
}

impl LazySet {
    pub(super) fn new(sources: Vec<String>) -> Self {
        Self { sources, compiled: OnceLock::new() }
    }

    /// Which of them match in a text. All of them where they cannot be compiled together: then each is tried.
    pub(super) fn matching(&self, text: &str) -> Vec<usize> {
        if self.sources.is_empty() {
            return Vec::new();
        }
        let compile = || Regex::builder().configure(config(TOGETHER_BYTES_MAX)).build_many(&self.sources).ok();
        let Some(regex) = self.compiled.get_or_init(compile) else { return (0..self.sources.len()).collect() };
        let mut matching = PatternSet::new(regex.pattern_len());
        regex.which_overlapping_matches(&regex_automata::Input::new(text), &mut matching);
        matching.iter().map(|pattern| pattern.as_usize()).collect()
    }
}

fn config(bytes_max: usize) -> Config {
    // Nobody asks for groups, which is what a one-pass DFA is for.
    Regex::config()
        .nfa_size_limit(Some(bytes_max))
        .hybrid_cache_capacity(LAZY_DFA_BYTES_MAX)
        .onepass(false)
        .which_captures(WhichCaptures::Implicit)
}

fn told(error: &BuildError) -> String {
    in_a_line(&error.syntax_error().map_or_else(|| error.to_string(), ToString::to_string))
}

/// What is wrong with a regex without the picture of it, which takes several lines, and shows what was made of the one that was written.
pub(super) fn in_a_line(problem: &str) -> String {
    problem.rsplit("error: ").next().unwrap_or(problem).trim().to_owned()
}
