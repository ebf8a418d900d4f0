//! System prompts in the form in which answers are compared with them: applications send the same one with every call.

use std::sync::{Arc, Mutex, PoisonError};

use inspect::Prompt;
use lru::LruCache;
use sanitize::Clean;

/// Most memory for them, in bytes: some hundred of the usual length. The least recently used go first.
const BYTES_MAX: usize = 32 * 1024 * 1024;

/// What an entry takes beside the prompt.
const ENTRY_BYTES: usize = 160;

/// The prompts that were used last.
pub(crate) struct Prompts(Mutex<Inner>);

struct Inner {
    /// By SHA-256 of the text. `None`: too little of it is its own to be recognised.
    known: LruCache<[u8; 32], Option<Arc<Prompt>>>,
    bytes: usize,
}

impl Prompts {
    pub(crate) fn new() -> Self {
        Self(Mutex::new(Inner { known: LruCache::unbounded(), bytes: 0 }))
    }

    /// A prompt that answers can be compared with; `None` where too little of it is its own.
    pub(crate) fn of(&self, text: &Clean) -> Option<Arc<Prompt>> {
        let mut key = [0; 32];
        key.copy_from_slice(aws_lc_rs::digest::digest(&aws_lc_rs::digest::SHA256, text.as_bytes()).as_ref());
        let inner = || self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(known) = inner().known.get(&key) {
            return known.clone();
        }
        // Without the lock: others are not to wait for a long one.
        let prompt = Prompt::new(text).map(Arc::new);
        let mut inner = inner();
        inner.bytes += bytes(prompt.as_ref());
        if let Some(before) = inner.known.put(key, prompt.clone()) {
            inner.bytes = inner.bytes.saturating_sub(bytes(before.as_ref()));
        }
        while inner.bytes > BYTES_MAX {
            let Some((_, old)) = inner.known.pop_lru() else { break };
            inner.bytes = inner.bytes.saturating_sub(bytes(old.as_ref()));
        }
        prompt
    }
}

fn bytes(prompt: Option<&Arc<Prompt>>) -> usize {
    ENTRY_BYTES + prompt.map_or(0, |prompt| prompt.bytes())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_prompt_is_made_once_and_memory_is_bounded() {
        let prompts = Prompts::new();
        let text = |number: usize| -> Clean {
            let words: Vec<String> = (0..8_000).map(|word| format!("word{number}x{word}")).collect();
            Clean::recorded(&words.join(" "))
        };
        let (first, again) = (prompts.of(&text(0)).unwrap(), prompts.of(&text(0)).unwrap());
        assert!(Arc::ptr_eq(&first, &again));
        assert!(prompts.of(&Clean::literal("Be kind.")).is_none());
        let of_one = first.bytes();
        for number in 1..=BYTES_MAX / of_one + 2 {
            prompts.of(&text(number));
        }
        let inner = prompts.0.lock().unwrap();
        let held: usize = inner.known.iter().map(|(_, prompt)| bytes(prompt.as_ref())).sum();
        assert!(held == inner.bytes && held <= BYTES_MAX && held > BYTES_MAX / 2, "{held} {}", inner.bytes);
    }
}
