//! Rules of ATR as strangers write them: what is made of them loads, or they are dropped with a reason.

#![no_main]

use libfuzzer_sys::fuzz_target;
use rule_import::{Form, Standing, import};

fuzz_target!(|text: &str| {
    let files = [("rule.yaml".to_owned(), text.to_owned())];
    let Ok(import) = import(Form::Atr, &files, &[]) else { return };
    assert!(import.rules.iter().all(|rule| rule.standing == Standing::Enabled || rule.reason.is_some()));
    import.to_yaml().unwrap();
});
