//! The schema of `content/installers.toml`, and its examples.

use std::sync::LazyLock;

use serde::Deserialize;

use super::spec::Syntax;
use super::{Installation, walk};

const SHIPPED: &str = include_str!("../../../../content/installers.toml");

/// Which commands install what.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Table {
    /// Commands that run the command behind them.
    #[serde(default, rename = "wrapper")]
    pub(super) wrappers: Vec<Wrapper>,
    /// Programs that run a shell's script: the text behind `-c`, a file, or what they read.
    #[serde(default)]
    pub(super) shells: Vec<String>,
    /// Programs that run a script of another language.
    #[serde(default)]
    pub(super) interpreters: Vec<String>,
    /// Programs that bring a file from the network.
    #[serde(default)]
    pub(super) downloaders: Vec<String>,
    /// Commands that install.
    #[serde(default, rename = "installer")]
    pub(super) installers: Vec<Installer>,
    /// What must be found in which command, and what must not.
    #[serde(default, rename = "example")]
    pub(super) examples: Vec<Example>,
}

/// A command that runs the command behind it.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Wrapper {
    pub(super) programs: Vec<String>,
    /// The words that must stand behind it for that, options left out: `tool run`.
    #[serde(default)]
    pub(super) command: Vec<String>,
    /// Its options that take a value.
    #[serde(default)]
    pub(super) values: Vec<String>,
    /// How many words of its own stand before the command.
    #[serde(default)]
    pub(super) skip: usize,
    /// Whether the rest is one text that a shell reads.
    #[serde(default)]
    pub(super) is_script: bool,
    /// The command stands behind this option.
    #[serde(default)]
    pub(super) behind: Option<String>,
}

/// A command that installs.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Installer {
    /// What it is called in the record.
    pub(super) manager: String,
    /// Names of the program; a `*` at the end stands for anything.
    pub(super) programs: Vec<String>,
    /// The words behind the program that make it install, options left out; an empty text where the program alone does.
    pub(super) commands: Vec<String>,
    /// How it writes a package.
    #[serde(default)]
    pub(super) syntax: Syntax,
    /// Options that take a value which says nothing of what is installed.
    #[serde(default)]
    pub(super) values: Vec<String>,
    /// Options whose value is a package.
    #[serde(default)]
    pub(super) package: Vec<String>,
    /// Options whose value is the version.
    #[serde(default)]
    pub(super) version: Vec<String>,
    /// Options whose value is where packages come from.
    #[serde(default)]
    pub(super) source: Vec<String>,
    /// Options whose value is a file that lists packages.
    #[serde(default)]
    pub(super) list: Vec<String>,
    /// Options whose value says where the package is: a URL or a directory.
    #[serde(default)]
    pub(super) place: Vec<String>,
    /// What a command without packages installs: the name of the file that lists them. Without it such a command installs nothing.
    #[serde(default)]
    pub(super) bare: Option<String>,
    /// Only the first word is a package.
    #[serde(default)]
    pub(super) first_only: bool,
    /// The first word is the name under which it is installed, the second says where it is.
    #[serde(default)]
    pub(super) named: bool,
    /// Nothing but options says what is installed.
    #[serde(default)]
    pub(super) only_options: bool,
    /// Options of which one must be there.
    #[serde(default)]
    pub(super) flags: Vec<String>,
    /// What stands behind the first word, or behind `--`.
    #[serde(default)]
    pub(super) then: Then,
    /// Words that are no packages: `latest`, `global` ...
    #[serde(default)]
    pub(super) ignore: Vec<String>,
}

/// What stands behind the package in a command.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum Then {
    /// Nothing that is run.
    #[default]
    Nothing,
    /// A command of its own.
    Rest,
    /// The arguments of the package, which is run.
    All,
}

/// A command, and what is to be found in it.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Example {
    pub(super) command: String,
    /// `manager package version source`, with `-` for what is not said. Empty: nothing.
    pub(super) found: Vec<String>,
}

/// A table is wrong.
#[derive(Debug, thiserror::Error)]
pub enum TableError {
    /// It cannot be read.
    #[error("the table of installers: {0}")]
    Parse(#[from] toml::de::Error),
    /// An installer has no example.
    #[error("the installer {manager:?} has no example; add an [[example]] with a command that it installs with")]
    Untested {
        /// Which.
        manager: String,
    },
    /// An example is not as it says.
    #[error("the example {command:?} gives {got:?} instead of {expected:?}")]
    Example {
        /// The command.
        command: String,
        /// What was found.
        got: Vec<String>,
        /// What should be.
        expected: Vec<String>,
    },
}

impl Table {
    /// The table that is part of the program.
    #[must_use]
    pub fn shipped() -> &'static Self {
        // That it is whole is held by a test.
        static TABLE: LazyLock<Table> = LazyLock::new(|| toml::from_str(SHIPPED).unwrap_or_default());
        &TABLE
    }

    /// Reads a table and runs its examples.
    ///
    /// # Errors
    /// The first thing that is wrong.
    pub fn parse(text: &str) -> Result<Self, TableError> {
        let table: Self = toml::from_str(text)?;
        let mut tested = Vec::new();
        for example in &table.examples {
            let got: Vec<String> = walk::installations_by(&table, &example.command).iter().map(line).collect();
            if got != example.found {
                let (command, expected) = (example.command.clone(), example.found.clone());
                return Err(TableError::Example { command, got, expected });
            }
            tested.extend(got.iter().filter_map(|line| line.split(' ').next().map(str::to_owned)));
        }
        match table.installers.iter().find(|installer| !tested.contains(&installer.manager)) {
            Some(installer) => Err(TableError::Untested { manager: installer.manager.clone() }),
            None => Ok(table),
        }
    }
}

/// An installation as the examples write it.
fn line(found: &Installation) -> String {
    let or_none = |part: &Option<String>| part.as_deref().unwrap_or("-").replace(' ', "_");
    format!("{} {} {} {}", found.manager, or_none(&found.package), or_none(&found.version), or_none(&found.source))
}

/// Whether a pattern of the table, with `*` at its end for anything, fits a program's name.
pub(super) fn fits(patterns: &[String], program: &str) -> bool {
    patterns.iter().any(|pattern| match pattern.strip_suffix('*') {
        Some(beginning) => {
            // `pip*` is pip, pip3 and pip3.12, and not pipx.
            program.strip_prefix(beginning).is_some_and(|rest| rest.chars().all(|next| next.is_ascii_digit() || next == '.'))
        }
        None => pattern == program,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_example_is_as_it_says_and_every_installer_has_one() {
        let table = Table::parse(SHIPPED).unwrap_or_else(|error| panic!("{error}"));
        assert_eq!(table.installers.len(), Table::shipped().installers.len());
        assert!(
            table.examples.iter().filter(|example| example.found.is_empty()).count() >= 20,
            "examples of what installs nothing"
        );
    }

    #[test]
    fn a_table_that_is_wrong_is_refused() {
        let untested = "[[installer]]\nmanager = \"x\"\nprograms = [\"x\"]\ncommands = [\"add\"]\n";
        assert!(matches!(Table::parse(untested), Err(TableError::Untested { .. })));
        let wrong = format!("{untested}[[example]]\ncommand = \"x add y\"\nfound = []\n");
        assert!(matches!(Table::parse(&wrong), Err(TableError::Example { .. })));
        let right = format!("{untested}[[example]]\ncommand = \"x add y\"\nfound = [\"x y - -\"]\n");
        assert!(Table::parse(&right).is_ok());
        assert!(matches!(Table::parse("installers = 1"), Err(TableError::Parse(_))));
    }
}
