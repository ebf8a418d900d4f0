//! The words of a command: which of them are options, packages, places, and a command of its own.

use super::table::{Installer, Then, Wrapper};

/// A word as the command gets it.
#[derive(Debug, Clone, Default)]
pub(super) struct Arg {
    pub(super) text: String,
    /// What was fetched from the network to make it: `$(curl URL)`, `<(curl URL)`.
    pub(super) fetched: Vec<String>,
}

impl From<&str> for Arg {
    fn from(text: &str) -> Self {
        Self { text: text.to_owned(), fetched: Vec::new() }
    }
}

/// The words of a command, sorted by what a rule says of them.
pub(super) struct Words<'a> {
    pub(super) positionals: Vec<&'a str>,
    pub(super) packages: Vec<&'a str>,
    pub(super) places: Vec<&'a str>,
    pub(super) lists: Vec<&'a str>,
    pub(super) version: Option<&'a str>,
    pub(super) source: Option<&'a str>,
    /// What is a command of its own.
    pub(super) rest: Vec<Arg>,
}

impl<'a> Words<'a> {
    /// `None` when the command is none of the rule's.
    pub(super) fn read(rule: &Installer, args: &'a [Arg]) -> Option<Self> {
        let mut words = Self {
            positionals: Vec::new(),
            packages: Vec::new(),
            places: Vec::new(),
            lists: Vec::new(),
            version: None,
            source: None,
            rest: Vec::new(),
        };
        let longest = rule.commands.iter().map(|command| command.split_whitespace().count()).max().unwrap_or(0);
        // Behind how many words the rest is a command of its own.
        let own = |path: usize| path + usize::from(rule.then != Then::Nothing);
        let path_of = |positionals: &[&str]| {
            let paths = rule.commands.iter().map(|command| command.split_whitespace().collect::<Vec<_>>());
            paths.filter(|path| positionals.starts_with(path)).map(|path| path.len()).max()
        };
        let mut has_flag = rule.flags.is_empty();
        let mut at = 1;
        while let Some(arg) = args.get(at) {
            at += 1;
            let text = arg.text.as_str();
            if text == "--" {
                if rule.then != Then::Nothing {
                    words.rest = args[at..].to_vec();
                } else {
                    words.positionals.extend(args[at..].iter().map(|arg| arg.text.as_str()));
                }
                break;
            }
            if text.len() > 1 && text.starts_with('-') {
                let (name, inline) = text.split_once('=').map_or((text, None), |(name, value)| (name, Some(value)));
                has_flag |= rule.flags.iter().any(|flag| flag == name);
                let is_in = |names: &[String]| names.iter().any(|known| known == name);
                let takes = [&rule.values, &rule.package, &rule.version, &rule.source, &rule.list, &rule.place];
                if !takes.iter().any(|names| is_in(names)) {
                    continue;
                }
                let value = inline.or_else(|| {
                    let next = args.get(at).map(|arg| arg.text.as_str());
                    at += 1;
                    next
                });
                let Some(value) = value else { break };
                if is_in(&rule.package) {
                    // `uvx --with a,b`
                    words.packages.extend(value.split(',').filter(|word| !word.is_empty()));
                } else if is_in(&rule.version) {
                    words.version = Some(value);
                } else if is_in(&rule.source) {
                    words.source = words.source.or(Some(value));
                } else if is_in(&rule.list) {
                    words.lists.push(value);
                } else if is_in(&rule.place) {
                    words.places.push(value);
                }
                continue;
            }
            let path = path_of(&words.positionals);
            if path.is_some_and(|path| words.positionals.len() >= own(path) && own(path) > path) {
                words.rest = args[at - 1..].to_vec();
                break;
            }
            words.positionals.push(text);
            // A command that is none of the rule's is seen early.
            if words.positionals.len() >= longest && path_of(&words.positionals).is_none() {
                return None;
            }
        }
        let path = path_of(&words.positionals).filter(|_| has_flag)?;
        words.positionals.drain(..path);
        Some(words)
    }
}

/// Where the command begins that a wrapper runs; `None` when it runs none.
pub(super) fn behind(wrapper: &Wrapper, args: &[Arg]) -> Option<usize> {
    let mut own = wrapper.command.iter();
    let mut skip = wrapper.skip;
    let mut at = 1;
    if wrapper.command.is_empty()
        && let Some(option) = &wrapper.behind
    {
        return args.iter().position(|arg| arg.text == *option).map(|at| at + 1).filter(|at| *at < args.len());
    }
    let mut wanted = own.next();
    while let Some(arg) = args.get(at) {
        let text = arg.text.as_str();
        if text == "--" && wanted.is_none() {
            at += 1;
            break;
        }
        if text.len() > 1 && text.starts_with('-') {
            at += if wrapper.values.iter().any(|value| value == text) { 2 } else { 1 };
            continue;
        }
        match wanted {
            Some(word) if word == text => wanted = own.next(),
            Some(_) => return None,
            None if wrapper.behind.is_some() => {}
            None if is_assignment(text) => {}
            None if skip > 0 => skip -= 1,
            None => break,
        }
        at += 1;
    }
    if let Some(option) = &wrapper.behind {
        at = args.iter().position(|arg| arg.text == *option)? + 1;
    }
    (wanted.is_none() && at < args.len()).then_some(at)
}

/// The words that a command prints, as far as they are its own.
pub(super) fn prints(args: &[Arg]) -> Option<Vec<String>> {
    let first = args.first()?;
    if !matches!(program(&first.text).as_str(), "echo" | "printf") {
        return None;
    }
    let words = args[1..].iter().filter(|arg| !arg.text.starts_with('-'));
    Some(words.flat_map(|arg| arg.text.replace("\\n", "\n").split_whitespace().map(str::to_owned).collect::<Vec<_>>()).collect())
}

/// The name of a program, without its directory and what Windows puts behind it.
pub(super) fn program(word: &str) -> String {
    let name = word.rsplit(['/', '\\']).next().unwrap_or(word).to_lowercase();
    let name = name.strip_prefix('!').or_else(|| name.strip_prefix('%')).unwrap_or(&name);
    [".exe", ".cmd", ".bat"].iter().find_map(|end| name.strip_suffix(end)).unwrap_or(name).to_owned()
}

fn is_assignment(word: &str) -> bool {
    word.split_once('=').is_some_and(|(name, _)| {
        name.starts_with(|next: char| next.is_ascii_alphabetic() || next == '_')
            && name.chars().all(|next| next.is_ascii_alphanumeric() || next == '_')
    })
}

pub(super) fn is_url(word: &str) -> bool {
    ["http://", "https://", "ftp://"]
        .iter()
        .any(|scheme| word.get(..scheme.len()).is_some_and(|start| start.eq_ignore_ascii_case(scheme)))
}

pub(super) fn last_segment(place: &str) -> &str {
    let path = place.split(['?', '#']).next().unwrap_or(place);
    path.trim_end_matches('/').rsplit('/').next().unwrap_or(path)
}

pub(super) fn host(url: &str) -> &str {
    let rest = url.split_once("://").map_or(url, |(_, rest)| rest);
    rest.split(['/', '?', '#']).next().unwrap_or(rest)
}

/// A command as one text.
pub(super) fn joined(args: &[Arg]) -> Option<String> {
    (!args.is_empty()).then(|| args.iter().map(|arg| arg.text.as_str()).collect::<Vec<_>>().join(" "))
}
