//! Detection over conversations of any text: nothing panics, what evidence names lies in the text, and a replay says the same.
#![no_main]

use std::collections::BTreeMap;

use detect::{Detection, Engine, RuleSet};
use event::{
    ContentId, ContentRef, Direction, Event, EventId, Key, Kind, Part, Piece, PieceMeta, Principal, RecordedEvent, Role, Source,
    SourcePath, SubjectId, Timestamp,
};
use journal::Seq;
use libfuzzer_sys::fuzz_target;
use sanitize::Clean;

/// Content flow alone: the rules of Sigma have texts of their own to be tried on.
fn engine() -> Engine {
    let nothing = std::env::temp_dir().join("watchkeeper-fuzz-no-rules");
    std::fs::create_dir_all(&nothing).unwrap();
    Engine::new(RuleSet::load(&nothing, false).unwrap())
}

fuzz_target!(|input: &str| {
    // One text for each piece; its first letter says what it is of, and a line feed begins another session of the same agent.
    let mut events: Vec<RecordedEvent<Clean>> = Vec::new();
    let mut contents: BTreeMap<ContentId, Clean> = BTreeMap::new();
    let mut session = 0;
    for (number, text) in input.split('\0').take(64).enumerate() {
        let (direction, role, part) = match text.bytes().next() {
            Some(b'u') => (Direction::Input, Role::User, Part::Text),
            Some(b's') => (Direction::Input, Role::System, Part::Text),
            Some(b'a') => (Direction::Output, Role::Assistant, Part::Text),
            Some(b'c') => (Direction::Output, Role::Assistant, Part::ToolCall),
            Some(b'd') => (Direction::Input, Role::Document, Part::Document),
            _ => (Direction::Input, Role::Tool, Part::ToolResult),
        };
        let text = text.get(1..).unwrap_or_default();
        session += usize::from(text.starts_with('\n'));
        let digest = aws_lc_rs::digest::digest(&aws_lc_rs::digest::SHA256, text.as_bytes());
        let id = ContentId::from_slice(digest.as_ref()).unwrap();
        contents.insert(id, Clean::recorded(text));
        let content = ContentRef { id, subject: SubjectId::from_bytes([1; 16]).unwrap(), bytes: 0 };
        let mut meta = PieceMeta::new(direction, role, part);
        meta.name = Some(Clean::literal("save_note"));
        let mut event: RecordedEvent<Clean> =
            Event::new(Kind::ModelCall, Clean::literal("chat"), Source::new(SourcePath::Api, Key::of("fuzz")));
        event.time = Timestamp::from_unix_ns(1_700_000_000_000_000_000 + number as u64);
        event.observed = event.time;
        event.id = EventId::derived(event.time, &[7; 32]);
        event.session = Some(Clean::recorded(&format!("s{session}")));
        event.identity.agent = Some(Principal::asserted(Clean::literal("clerk")));
        event.pieces.push(Piece { meta, content, findings: Vec::new() });
        events.push(event);
    }
    let run = || -> Vec<Detection> {
        let mut engine = engine();
        let seen = events.iter().enumerate();
        seen.flat_map(|(seq, event)| engine.observe(Seq(seq as u64), event, &mut |content| contents.get(&content.id).cloned()))
            .collect()
    };
    let found = run();
    for evidence in found.iter().flat_map(|detection| &detection.evidence) {
        if let (Some(content), Some(end)) = (evidence.content, evidence.end) {
            assert!(evidence.start <= Some(end) && end as usize <= contents[&content].chars().count(), "{evidence:?}");
        }
    }
    assert_eq!(found, run());
});
