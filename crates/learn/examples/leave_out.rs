//! Measures the classifier on sources that are left out, without the whole program: `cargo run --release -p watchkeeper-learn --example
//! leave_out -- product|classifier|signatures|words TRAIN.jsonl DEV.jsonl OWN_DIRECTORY`.

#![allow(missing_docs, clippy::unwrap_used, clippy::print_stdout, clippy::print_stderr)]

use std::fs::File;
use std::io::BufReader;

use inspect::Inspector;
use watchkeeper_learn::{Report, Setting, Split, evaluate, read};

fn main() {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [setting, train, dev, own] = arguments.as_slice() else { panic!("four arguments") };
    let setting = match setting.as_str() {
        "product" => Setting::Product,
        "classifier" => Setting::ClassifierAlone,
        "signatures" => Setting::SignaturesAlone,
        _ => Setting::BagOfWords,
    };
    let mut rows = read(BufReader::new(File::open(train).unwrap()), Split::Train).unwrap();
    rows.extend(read(BufReader::new(File::open(dev).unwrap()), Split::Dev).unwrap());
    let mut files: Vec<_> = std::fs::read_dir(own).unwrap().map(|entry| entry.unwrap().path()).collect();
    files.retain(|file| file.extension().is_some_and(|extension| extension == "jsonl"));
    files.sort();
    for file in files {
        rows.extend(read(BufReader::new(File::open(file).unwrap()), Split::Always).unwrap());
    }
    let inspector = Inspector::builtin().unwrap().with_model(None);
    println!("{}", Report::of("left out", &rows, &evaluate(&rows, &inspector, setting, &|_, _| {})).markdown());
}
