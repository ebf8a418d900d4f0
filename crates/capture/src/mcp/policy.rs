//! What a client may ask a server for.

use crate::gateway::OnRecordFailure;
use crate::pattern::fits;

/// What a client may ask a server for, and what must be on disk before a message goes on.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Policy {
    /// Tools that may be called; empty: all. A name, or its beginning and `*`.
    pub allow: Vec<String>,
    /// Tools that may not be called, whatever `allow` says.
    pub deny: Vec<String>,
    /// What happens to a call that is not allowed.
    pub mode: Mode,
    /// What happens when a server changes the definition of a tool.
    pub on_drift: OnDrift,
    /// Whether a result waits until it is recorded. Requests always do.
    pub hold_results: bool,
    /// What happens to a message that cannot be recorded.
    pub on_record_failure: OnRecordFailure,
    /// Whether requests without a trace context get one. Their bytes are not what they were then.
    pub adds_trace: bool,
}

/// What happens to a call that is not allowed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Mode {
    /// It passes; the record says that it would not have.
    #[default]
    Observe,
    /// It is answered with an error and goes no further, and so is what cannot be read.
    Block,
}

/// What happens when a server changes the definition of a tool, or has a new tool.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum OnDrift {
    /// It is recorded, and the new definition is the pinned one.
    #[default]
    Record,
    /// The list is answered with an error and the tool is not called until an operator approves the new definition. What cannot be
    /// compared is treated as changed.
    Block,
}

impl Policy {
    /// Whether the lists allow a tool.
    #[must_use]
    pub fn allows(&self, tool: &str) -> bool {
        let names = |patterns: &[String]| patterns.iter().any(|pattern| fits(pattern, tool));
        !names(&self.deny) && (self.allow.is_empty() || names(&self.allow))
    }

    /// Whether tools that are not allowed are blocked.
    pub(super) fn blocks_tools(&self) -> bool {
        self.mode == Mode::Block
    }

    /// Whether anything is ever refused, so that what cannot be read must be, too.
    pub(super) fn is_enforced(&self) -> bool {
        (self.mode == Mode::Block && !(self.allow.is_empty() && self.deny.is_empty())) || self.on_drift == OnDrift::Block
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn deny_goes_before_allow_and_stars_stand_at_the_end() {
        let names = |names: &[&str]| names.iter().map(|name| (*name).to_owned()).collect::<Vec<_>>();
        let cases: [(&[&str], &[&str], &str, bool); 8] = [
            (&[], &[], "any", true),
            (&[], &["rm"], "rm", false),
            (&[], &["rm"], "rmdir", true),
            (&[], &["rm"], "Rm", false),
            (&[], &["write_*"], "write_file", false),
            (&["read_*"], &[], "read_file", true),
            (&["read_*"], &[], "write_file", false),
            (&["*"], &["read_secret"], "read_secret", false),
        ];
        for (allow, deny, tool, expected) in cases {
            let policy = Policy { allow: names(allow), deny: names(deny), ..Policy::default() };
            assert_eq!(policy.allows(tool), expected, "{allow:?} {deny:?} {tool}");
        }
    }
}
