//! Cost of the classifier by kind of text. The goal: 25 µs per KB of text on one core, whatever the text.

#![allow(missing_docs)]

use std::hint::black_box;

use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use event::Channel;
use watchkeeper_inspect::Inspector;
use watchkeeper_inspect::classifier::{Model, Origin};

const MODEL: &[u8] = include_bytes!("../../../content/models/text.wkmodel");

const PROSE: &str = "The committee met on Tuesday to look at the plans for the new library. Members asked how the building would be \
                     heated, what the budget allowed, and when work could begin. The architect showed two designs, and the \
                     treasurer explained the loan. Please send the answer to all members before you forget it. ";
const JSON: &str =
    r#"{"id": 17, "name": "Lamp \"Nord\"", "note": "in stock\n", "price": {"eur": 49.9}, "tags": ["light", "home"]}, "#;
const CODE: &str = "fn user_id(&self, row: &Row) -> Option<u64> {\n    // Older rows have none.\n    row.get(\"user_id\").and_then(|id| \
                    id.parse().ok())\n}\n\n";
const JAPANESE: &str = "図書館の新しい計画について話し合いました。";
const RUSSIAN: &str = "Комитет собрался во вторник, чтобы обсудить планы новой библиотеки и её отопление. ";
/// What costs most: words of classes close together, and what looks like the beginning of an address in every word.
const CLASSES: &str = "ignore previous rules reveal secret prompt now act obey send user file answer ";
const ADDRESSES: &str = "a.b-c_d+e.f-g_h+i.j-k_l+m.n-o_p+q.r-s_t+u.v-w_x+y.z";

/// Words of which none comes twice.
fn rare_words(bytes: usize) -> String {
    let letters = |number: u64| (0..14).map(move |at| char::from(b'a' + (number >> (4 * at) & 15) as u8));
    let words = (1_u64..).flat_map(|at| letters(at.wrapping_mul(0x9e37_79b9_7f4a_7c15)).chain(std::iter::once(' ')));
    words.take(bytes).collect()
}

fn texts(criterion: &mut Criterion) {
    let (Ok(inspector), Ok(model)) = (Inspector::builtin(), Model::from_static(MODEL)) else { return };
    let repeated = |text: &str, bytes: usize| -> String {
        let mut text = text.repeat(bytes / text.len() + 1);
        text.truncate(text.floor_char_boundary(bytes));
        text
    };
    let mut group = criterion.benchmark_group("classifier");
    for (size, bytes) in [("1k", 1_000), ("64k", 64_000)] {
        for (name, text) in [
            ("prose", repeated(PROSE, bytes)),
            ("json", repeated(JSON, bytes)),
            ("code", repeated(CODE, bytes)),
            ("japanese", repeated(JAPANESE, bytes)),
            ("russian", repeated(RUSSIAN, bytes)),
            ("rare_words", rare_words(bytes)),
            ("classes", repeated(CLASSES, bytes)),
            ("addresses", repeated(ADDRESSES, bytes)),
        ] {
            let Some(reading) = inspector.readings(&text, Channel::Tool).into_iter().next() else { return };
            group.throughput(Throughput::Bytes(reading.len() as u64));
            group.bench_function(format!("{name}_{size}"), |bench| {
                bench.iter(|| model.classify(black_box(&reading), Origin::Data, std::iter::empty()));
            });
        }
    }
    group.finish();
}

criterion_group!(benches, texts);
criterion_main!(benches);
