//! Follows a command line to what it installs.

use std::collections::BTreeMap;

use super::Installation;
use super::shell::{self, Piece, Pipeline, Script, Simple, Word};
use super::spec::{self, Syntax};
use super::table::{Installer, Table, Then, fits};
use super::words::{Arg, Words, behind, host, is_url, joined, last_segment, prints, program};

/// Longest command line that is read, in bytes: far beyond what the system takes (128 KiB a word on Linux). The rest is not read.
const COMMAND_BYTES_MAX: usize = 256 * 1024;

/// How many times its own length is read of a command line, with everything that `bash -c`, `eval` and variables make of it, and what
/// a short one gets at least: the work must stay in proportion to what was sent.
const BUDGET_TIMES: usize = 4;
/// See [`BUDGET_TIMES`].
const BUDGET_BYTES_MIN: usize = 16 * 1024;

/// Most addresses that are remembered of what is fetched into one word or one pipe.
const FETCHED_MAX: usize = 16;

/// Deepest nesting of texts that are commands themselves (`bash -c "bash -c …"`).
const DEPTH_MAX: usize = 8;

/// Most commands that stand around one (`sudo env nice …`).
const WRAPPERS_MAX: usize = 16;

/// Most variables that are remembered, and the longest value of one, in bytes.
const VARIABLES_MAX: usize = 64;
/// See [`VARIABLES_MAX`].
const VALUE_BYTES_MAX: usize = 4 * 1024;

/// Most files that are known to come from the network.
const DOWNLOADS_MAX: usize = 64;

/// Most installations of one command line.
const INSTALLATIONS_MAX: usize = 256;

/// Longest text that says where something comes from, in bytes.
const SOURCE_BYTES_MAX: usize = 1024;

/// What installs a script from the network is called in the record.
const SCRIPT: &str = "script";

/// What a shell's command line installs, in order, each once.
#[must_use]
pub fn installations(command: &str) -> Vec<Installation> {
    installations_by(Table::shipped(), command)
}

/// What a program with its arguments installs.
#[must_use]
pub fn installations_of(argv: &[String]) -> Vec<Installation> {
    let length = argv.iter().map(String::len).sum();
    let mut walk = Walk::new(Table::shipped(), length);
    let mut budget = COMMAND_BYTES_MAX;
    let fits = |text: &&String| {
        budget = budget.saturating_sub(text.len());
        budget > 0
    };
    let args: Vec<Arg> = argv.iter().take_while(fits).map(|text| Arg::from(text.as_str())).collect();
    walk.command(args, &Around::default(), 0);
    walk.found
}

pub(super) fn installations_by(table: &Table, command: &str) -> Vec<Installation> {
    let mut walk = Walk::new(table, command.len().min(COMMAND_BYTES_MAX));
    walk.text(&command[..command.floor_char_boundary(COMMAND_BYTES_MAX)], 0);
    walk.found
}

struct Walk<'t> {
    table: &'t Table,
    variables: BTreeMap<String, String>,
    /// Files that came from the network, and from where.
    downloads: Vec<(String, String)>,
    budget: usize,
    found: Vec<Installation>,
}

/// What stands around a command.
#[derive(Debug, Clone, Default)]
struct Around {
    /// What the commands before it in the pipeline fetch from the network.
    piped: Vec<String>,
    /// What the command before it prints, where that is known.
    printed: Option<Vec<String>>,
    /// What it reads.
    input: Option<String>,
    /// The files that it writes to.
    outputs: Vec<String>,
}

impl<'t> Walk<'t> {
    fn new(table: &'t Table, length: usize) -> Self {
        let budget = length.min(COMMAND_BYTES_MAX) * BUDGET_TIMES + BUDGET_BYTES_MIN;
        Self { table, variables: BTreeMap::new(), downloads: Vec::new(), budget, found: Vec::new() }
    }

    /// Reads a text that a shell runs. Gives what it fetches from the network and prints.
    fn text(&mut self, text: &str, depth: usize) -> Vec<String> {
        if depth > DEPTH_MAX || text.len() > self.budget {
            return Vec::new();
        }
        self.budget -= text.len();
        self.script(&shell::parse(text), depth)
    }

    fn script(&mut self, script: &Script, depth: usize) -> Vec<String> {
        let mut fetched = Vec::new();
        for pipeline in script {
            fetched.extend(self.pipeline(pipeline, depth));
            fetched.truncate(FETCHED_MAX);
        }
        fetched
    }

    fn pipeline(&mut self, pipeline: &Pipeline, depth: usize) -> Vec<String> {
        let mut piped = Vec::new();
        let mut printed = None;
        for simple in pipeline {
            for (name, value) in &simple.assignments {
                let value = self.expand(value, depth).into_iter().map(|arg| arg.text).collect::<Vec<_>>().join(" ");
                if value.len() <= VALUE_BYTES_MAX && (self.variables.len() < VARIABLES_MAX || self.variables.contains_key(name)) {
                    self.variables.insert(name.clone(), value);
                }
            }
            let args = self.args(simple, depth);
            let mut one = |word: &Word| self.expand(word, depth).into_iter().next();
            let input = simple.input.as_ref().and_then(&mut one);
            let outputs: Vec<String> = simple.outputs.iter().filter_map(&mut one).map(|arg| arg.text).collect();
            piped.extend(input.iter().flat_map(|input| input.fetched.clone()));
            let around = Around {
                piped: std::mem::take(&mut piped),
                printed: printed.take(),
                input: input.map(|input| input.text),
                outputs,
            };
            printed = prints(&args);
            // What a filter between the two does not change.
            piped = around.piped.clone();
            piped.extend(self.command(args, &around, depth));
            piped.truncate(FETCHED_MAX);
        }
        piped
    }

    fn args(&mut self, simple: &Simple, depth: usize) -> Vec<Arg> {
        simple.words.iter().flat_map(|word| self.expand(word, depth)).collect()
    }

    /// The words that a word becomes.
    fn expand(&mut self, word: &Word, depth: usize) -> Vec<Arg> {
        let mut arg = Arg::default();
        for piece in &word.pieces {
            match piece {
                Piece::Text(text) => arg.text.push_str(text),
                Piece::Variable { name, default } => match self.variables.get(name).or(default.as_ref()) {
                    Some(value) if value.len() <= self.budget => {
                        self.budget -= value.len();
                        arg.text.push_str(value);
                    }
                    _ => {
                        arg.text.push('$');
                        arg.text.push_str(name);
                    }
                },
                Piece::Command(script) => {
                    arg.text.push_str("$(…)");
                    arg.fetched.extend(self.script(script, depth + 1));
                    arg.fetched.truncate(FETCHED_MAX);
                }
            }
        }
        if !word.is_quoted && matches!(&word.pieces[..], [Piece::Variable { .. }]) {
            return arg.text.split_whitespace().map(Arg::from).collect();
        }
        vec![arg]
    }

    /// Looks at one command. Gives what it fetches from the network.
    fn command(&mut self, mut args: Vec<Arg>, around: &Around, depth: usize) -> Vec<String> {
        if depth > DEPTH_MAX {
            return Vec::new();
        }
        for _ in 0..WRAPPERS_MAX {
            let Some(first) = args.first() else { return Vec::new() };
            let program = program(&first.text);
            let wrapper = self.table.wrappers.iter().filter(|wrapper| fits(&wrapper.programs, &program));
            let Some((wrapper, at)) = wrapper.filter_map(|wrapper| Some((wrapper, behind(wrapper, &args)?))).next() else {
                break;
            };
            if wrapper.is_script {
                let length = if wrapper.behind.is_some() { 1 } else { usize::MAX };
                let parts: Vec<_> = args[at..].iter().take(length).map(|arg| arg.text.as_str()).collect();
                let fetched: Vec<String> = args[at..].iter().flat_map(|arg| arg.fetched.clone()).collect();
                self.scripts(&fetched);
                return self.text(&parts.join(" "), depth + 1);
            }
            args.drain(..at);
            if let Some(end) = args.iter().position(|arg| wrapper.behind.is_some() && matches!(arg.text.as_str(), ";" | "+")) {
                args.truncate(end);
            }
            if program == "xargs" {
                args.extend(around.printed.iter().flatten().map(|word| Arg::from(word.as_str())));
            }
        }
        let Some(first) = args.first() else { return Vec::new() };
        let name = program(&first.text);
        if fits(&self.table.downloaders, &name) {
            return self.download(&args, around);
        }
        if fits(&self.table.shells, &name) || fits(&self.table.interpreters, &name) {
            return self.interpreter(&name, &args, around, depth);
        }
        // A file that came from the network and is run.
        self.run_file(&first.text);
        let installer =
            self.table.installers.iter().filter(|rule| fits(&rule.programs, &name) || rule.programs.contains(&first.text));
        if let Some((rule, words)) = installer.filter_map(|rule| Some((rule, Words::read(rule, &args)?))).next() {
            self.install(rule, words, around, depth);
        }
        Vec::new()
    }

    fn interpreter(&mut self, name: &str, args: &[Arg], around: &Around, depth: usize) -> Vec<String> {
        let is_shell = fits(&self.table.shells, name);
        let fetched: Vec<String> = args.iter().flat_map(|arg| arg.fetched.clone()).collect();
        self.scripts(&fetched);
        let is_code = |arg: &Arg| arg.text.starts_with('-') && !arg.text.starts_with("--") && arg.text.contains(['c', 'e']);
        if let Some(at) = args.iter().position(is_code) {
            return match args.get(at + 1) {
                Some(script) if is_shell => self.text(&script.text, depth + 1),
                _ => Vec::new(),
            };
        }
        let reads_input = args[1..].iter().take_while(|arg| arg.text != "--").any(|arg| matches!(arg.text.as_str(), "-" | "-s"));
        match args[1..].iter().find(|arg| !arg.text.starts_with('-')) {
            Some(file) if !reads_input => self.run_file(&file.text),
            _ => {
                self.scripts(&around.piped);
                if let Some(input) = around.input.as_ref().filter(|_| is_shell) {
                    return self.text(input, depth + 1);
                }
            }
        }
        Vec::new()
    }

    /// Remembers what a download makes, and gives what it fetches.
    fn download(&mut self, args: &[Arg], around: &Around) -> Vec<String> {
        let mut urls = Vec::new();
        let mut files = around.outputs.clone();
        let mut rest = args[1..].iter();
        while let Some(arg) = rest.next() {
            match arg.text.as_str() {
                "-o" | "--output" | "-O" | "--output-document" | "-OutFile" | "-outf" => {
                    // `curl -O URL` takes no name, `wget -O FILE URL` does.
                    match rest.clone().next() {
                        Some(next) if !is_url(&next.text) => files.extend(rest.next().map(|file| file.text.clone())),
                        _ => {}
                    }
                }
                url if is_url(url) => urls.push(url.to_owned()),
                _ => {}
            }
        }
        if urls.is_empty() {
            // `curl get.example.sh`: a host without a scheme.
            let host = args[1..].iter().rev().find(|arg| !arg.text.starts_with('-') && arg.text.contains('.'));
            urls.extend(host.map(|host| host.text.clone()));
        }
        for url in &urls {
            files.push(last_segment(url).to_owned());
        }
        for file in files.into_iter().filter(|file| !file.is_empty() && file != "-") {
            if let (Some(url), true) = (urls.last(), self.downloads.len() < DOWNLOADS_MAX) {
                self.downloads.push((last_segment(&file).to_owned(), url.clone()));
            }
        }
        urls
    }

    /// A file is run: if it came from the network, that installs it.
    fn run_file(&mut self, file: &str) {
        let name = last_segment(file);
        let url = self.downloads.iter().rev().find(|(known, _)| known == name).map(|(_, url)| url.clone());
        self.scripts(url.as_slice());
    }

    fn scripts(&mut self, urls: &[String]) {
        for url in urls {
            let name = Some(last_segment(url)).filter(|name| !name.is_empty() && *name != host(url)).map(str::to_owned);
            let package = name.or_else(|| Some(host(url).to_owned())).filter(|name| !name.is_empty());
            self.add(Installation { manager: SCRIPT.to_owned(), package, version: None, source: Some(url.clone()) });
        }
    }

    fn install(&mut self, rule: &Installer, words: Words<'_>, around: &Around, depth: usize) {
        let read = |word: &str| spec::read(&rule.manager, rule.syntax, word);
        let mut packages: Vec<Installation> = Vec::new();
        let of_options = !words.packages.is_empty();
        packages.extend(words.packages.iter().map(|word| read(word)));
        if rule.named {
            if let Some(name) = words.positionals.first() {
                let mut named = spec::read(&rule.manager, Syntax::Name, name);
                named.package = Some((*name).to_owned());
                let place = words.places.first().or(words.positionals.get(1));
                named.source = place.map(|place| (*place).to_owned()).or_else(|| joined(&words.rest));
                packages.push(named);
            }
        } else if !(rule.only_options || of_options && rule.first_only) {
            let count = if rule.first_only { 1 } else { usize::MAX };
            let wanted = words.positionals.iter().filter(|word| !rule.ignore.iter().any(|ignored| ignored == *word));
            packages.extend(wanted.take(count).map(|word| read(word)));
        }
        if packages.is_empty() {
            packages.extend(words.places.iter().map(|place| read(place)));
        } else if let (Some(place), false) = (words.places.first(), rule.named) {
            packages.iter_mut().for_each(|package| package.source = Some((*place).to_owned()));
        }
        let list =
            |file: &str| Installation { manager: rule.manager.clone(), source: Some(file.to_owned()), ..Installation::default() };
        packages.extend(words.lists.iter().map(|file| list(file)));
        if packages.is_empty() && !rule.only_options {
            packages.extend(rule.bare.iter().map(|file| list(file)));
        }
        for mut package in packages {
            package.version = package.version.or_else(|| words.version.map(str::to_owned));
            package.source = package.source.or_else(|| words.source.map(str::to_owned));
            self.add(package);
        }
        match rule.then {
            Then::Nothing => {}
            Then::Rest => drop(self.command(words.rest, around, depth + 1)),
            Then::All => {
                let package = words.positionals.first().map(|word| spec::read(&rule.manager, rule.syntax, word));
                let program = package.and_then(|package| package.package);
                let args = program.iter().map(|program| Arg::from(program.as_str())).chain(words.rest).collect();
                self.command(args, around, depth + 1);
            }
        }
    }

    fn add(&mut self, mut found: Installation) {
        if let Some(source) = &mut found.source {
            source.truncate(source.floor_char_boundary(SOURCE_BYTES_MAX));
        }
        for text in [&mut found.package, &mut found.version].into_iter().flatten() {
            text.truncate(text.floor_char_boundary(SOURCE_BYTES_MAX));
        }
        if self.found.len() < INSTALLATIONS_MAX && !self.found.contains(&found) {
            self.found.push(found);
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn names(command: &str) -> Vec<String> {
        installations(command).into_iter().filter_map(|found| found.package).collect()
    }

    #[test]
    fn an_argument_vector_is_no_shell_text() {
        let argv = |words: &[&str]| words.iter().map(|word| (*word).to_owned()).collect::<Vec<_>>();
        assert_eq!(installations_of(&argv(&["pip", "install", "a;b"])).len(), 1);
        let found = installations_of(&argv(&["bash", "-lc", "cd /x && pip install requests==2.0"]));
        assert_eq!((found[0].package.as_deref(), found[0].version.as_deref()), (Some("requests"), Some("2.0")));
        assert!(installations_of(&[]).is_empty());
    }

    #[test]
    fn hostile_commands_cost_little_and_neither_loop_nor_overflow() {
        let doubling: String = (0..60).map(|n| format!("a{}=\"$a{n}$a{n}\";", n + 1)).collect();
        for command in [
            format!("a0=xxxxxxxxxxxxxxxx;{doubling} pip install $a60"),
            "sudo ".repeat(50_000) + "pip install x",
            "bash -c '".repeat(10_000),
            "eval ".repeat(50_000),
            "pip install ".to_owned() + &"x ".repeat(100_000),
            "npx ".repeat(50_000),
            "docker run a ".repeat(20_000),
            "curl http://h/x | sh;".repeat(20_000),
            "$(".repeat(50_000) + "pip install x",
            "pip install é".repeat(10_000),
        ] {
            let found = installations(&command);
            assert!(found.len() <= INSTALLATIONS_MAX);
        }
        assert_eq!(names("a=b; a=$a$a; pip install $a"), ["bb"]);
    }

    proptest! {
        #[test]
        fn no_text_makes_it_panic(text in any::<String>()) {
            let _ = installations(&text);
        }

        #[test]
        fn no_command_makes_it_panic(
            words in proptest::collection::vec(
                proptest::sample::select(vec![
                    "pip", "install", "npm", "i", "-r", "--", "sudo", "-u", "env", "A=1", "bash", "-c", "'pip install x'", "$A", "|", ";", "&&",
                    "curl", "https://h/x.sh", "sh", "-o", "xargs", "docker", "run", "exec", "claude", "mcp", "add", "n", "npx", "-p", "@s/p@1",
                    "\"$(curl -s h.sh)\"", "<(wget -qO- http://h)", "find", "-exec", "{}", "\\;", "go", "cargo", "--git", "=", "@", "x==1", "timeout", "5",
                    "python3", "-m", "eval", "<<E", "\n", "E", "uv", "tool", "--with", "a,b", "conda", "su", "-",
                ]),
                0..24,
            )
        ) {
            let _ = installations(&words.join(" "));
        }
    }
}
