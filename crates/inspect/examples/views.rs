#![allow(missing_docs, clippy::unwrap_used)]
fn main() {
    let corpus = std::fs::read_to_string(std::env::args().nth(1).unwrap()).unwrap();
    let i = watchkeeper_inspect::Inspector::builtin().unwrap();
    for line in corpus.lines() {
        let row: serde_json::Value = serde_json::from_str(line).unwrap();
        if row["label"] != "benign" { continue }
        i.inspect(row["text"].as_str().unwrap(), row["channel"].as_str().unwrap().parse().unwrap(), None);
    }
}
