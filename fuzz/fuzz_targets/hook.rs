//! What a coding agent tells its hook, from bytes to events and an answer.
#![no_main]

use hook::{Agent, Call, Context, Decision, Verdict};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    for agent in [Agent::ClaudeCode, Agent::Codex, Agent::Gemini, Agent::Cursor, Agent::Generic] {
        if let Ok(call) = Call::read(agent, bytes) {
            let decision = Decision { verdict: Verdict::Deny, reason: "no".to_owned() };
            let _ = call.subject();
            let _ = call.events(&Context::default(), None, &decision, &call.answer(&decision));
        }
    }
});
