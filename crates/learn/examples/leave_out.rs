//! Measures the classifier on sources that are left out, or trains it, without building the whole program. It does what `watchkeeper
//! eval text --leave-one-source-out` and `watchkeeper train` do; the model's name is the one that is given.
//!
//! ```text
//! cargo run --release -p watchkeeper-learn --example leave_out -- product|classifier|signatures|words TRAIN.jsonl DEV.jsonl OWN_DIRECTORY
//! cargo run --release -p watchkeeper-learn --example leave_out -- product TRAIN.jsonl DEV.jsonl OWN_DIRECTORY OUT.wkmodel NAME
//! ```

#![allow(clippy::print_stdout)]

use std::error::Error;
use std::fs::File;
use std::io::BufReader;
use std::path::{Path, PathBuf};

use inspect::Inspector;
use watchkeeper_learn::{Report, Row, Setting, Split, evaluate, read, train};

fn main() -> Result<(), Box<dyn Error>> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [setting, train_file, dev, own, out @ ..] = arguments.as_slice() else {
        return Err("arguments: SETTING TRAIN.jsonl DEV.jsonl OWN_DIRECTORY [OUT.wkmodel NAME]".into());
    };
    let setting = match setting.as_str() {
        "product" => Setting::Product,
        "classifier" => Setting::ClassifierAlone,
        "signatures" => Setting::SignaturesAlone,
        "words" => Setting::BagOfWords,
        other => return Err(format!("setting {other:?}: product, classifier, signatures or words").into()),
    };
    let mut rows = rows_of(Path::new(train_file), Split::Train)?;
    rows.extend(rows_of(Path::new(dev), Split::Dev)?);
    let mut files: Vec<PathBuf> = std::fs::read_dir(own)?.map(|entry| Ok(entry?.path())).collect::<std::io::Result<_>>()?;
    files.retain(|file| file.extension().is_some_and(|extension| extension == "jsonl"));
    files.sort();
    for file in files {
        rows.extend(rows_of(&file, Split::Always)?);
    }
    let inspector = Inspector::builtin()?.with_model(None);
    let evaluation = evaluate(&rows, &inspector, setting, &|_, _| {});
    println!("{}", Report::of("On sources that were left out", &rows, &evaluation).markdown());
    if let [file, name] = out {
        std::fs::write(file, train(&rows, &inspector, name, &evaluation)?.to_bytes()?)?;
    }
    Ok(())
}

fn rows_of(file: &Path, split: Split) -> Result<Vec<Row>, Box<dyn Error>> {
    Ok(read(BufReader::new(File::open(file)?), split).map_err(|error| format!("{}: {error}", file.display()))?)
}
