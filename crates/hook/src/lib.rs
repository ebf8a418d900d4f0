//! Hook: the hook protocols of coding agents. What an agent tells its hook becomes events; what a policy decides becomes the answer
//! that the agent understands. Pure: no I/O, no clock but that of the events.
//!
//! Written after: Claude Code's hooks reference (code.claude.com/docs/en/hooks), Codex's generated schemas and its parser of answers
//! (openai/codex `codex-rs/hooks`), Gemini CLI's hooks reference (`docs/hooks/reference.md`), Cursor's hooks (cursor.com/docs/hooks).

#![forbid(unsafe_code)]

mod answer;
mod call;
mod record;

pub use answer::{Answer, Decision, Verdict};
pub use call::{Agent, BODY_BYTES_MAX, Call, HookError, Step, UnknownAgent};
pub use record::{Context, ModeChange};
