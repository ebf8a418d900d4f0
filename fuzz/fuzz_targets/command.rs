//! A shell's command line, and a program's arguments: what they install.
#![no_main]

use libfuzzer_sys::fuzz_target;

fuzz_target!(|text: &str| {
    let found = capture::command::installations(text);
    let words: Vec<String> = text.split(' ').map(str::to_owned).collect();
    let of_words = capture::command::installations_of(&words);
    assert!(found.len() <= 256 && of_words.len() <= 256);
});
