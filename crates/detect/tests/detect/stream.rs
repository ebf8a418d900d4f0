//! Streams of recorded events, made by hand.

use std::collections::BTreeMap;

use event::{
    ContentId, ContentRef, Direction, Event, EventId, Finding, Key, Kind, Part, Piece, PieceMeta, RecordedEvent, Risk, Role,
    RuleId, Source, SourcePath, SubjectId, Timestamp,
};
use journal::Seq;
use sanitize::Clean;
use watchkeeper_detect::{Detection, Engine, Grade, RuleSet};

/// A conversation under construction.
#[derive(Default)]
pub(crate) struct Stream {
    pub(crate) events: Vec<RecordedEvent<Clean>>,
    pub(crate) contents: BTreeMap<ContentId, Clean>,
}

impl Stream {
    pub(crate) fn event(&mut self, kind: Kind, session: &str) -> &mut Self {
        let mut event: RecordedEvent<Clean> =
            Event::new(kind, Clean::literal("op"), Source::new(SourcePath::Api, Key::of("test")));
        let count = self.events.len() as u64;
        event.time = Timestamp::from_unix_ns((1_700_000_000 + count) * 1_000_000_000);
        event.observed = event.time;
        event.id = EventId::derived(event.time, &[count as u8 + 1; 32]);
        event.session = Some(Clean::recorded(session));
        self.events.push(event);
        self
    }

    pub(crate) fn last(&mut self) -> &mut RecordedEvent<Clean> {
        self.events.last_mut().unwrap()
    }

    pub(crate) fn piece(&mut self, direction: Direction, role: Role, part: Part, text: &str) -> &mut Self {
        let digest = aws_lc_rs::digest::digest(&aws_lc_rs::digest::SHA256, text.as_bytes());
        let id = ContentId::from_slice(digest.as_ref()).unwrap();
        self.contents.insert(id, Clean::recorded(text));
        let content = ContentRef { id, subject: SubjectId::from_bytes([1; 16]).unwrap(), bytes: text.len() as u32 };
        self.last().pieces.push(Piece { meta: PieceMeta::new(direction, role, part), content, findings: Vec::new() });
        self
    }

    pub(crate) fn user(&mut self, text: &str) -> &mut Self {
        self.piece(Direction::Input, Role::User, Part::Text, text)
    }

    pub(crate) fn call(&mut self, tool: &str, arguments: &str) -> &mut Self {
        self.piece(Direction::Output, Role::Assistant, Part::ToolCall, arguments).name(tool)
    }

    pub(crate) fn result(&mut self, tool: &str, text: &str) -> &mut Self {
        self.piece(Direction::Input, Role::Tool, Part::ToolResult, text).name(tool)
    }

    pub(crate) fn name(&mut self, name: &str) -> &mut Self {
        self.last().pieces.last_mut().unwrap().meta.name = Some(Clean::recorded(name));
        self
    }

    pub(crate) fn finding(&mut self, risk: Risk, score: f32) -> &mut Self {
        let finding = Finding { risk, technique: None, rule: RuleId::new("test"), score, start: 0, end: 4, view: None };
        self.last().pieces.last_mut().unwrap().findings.push(finding);
        self
    }

    pub(crate) fn run(&self) -> Vec<Detection> {
        self.run_on(&mut Engine::new(RuleSet::builtin().unwrap()))
    }

    pub(crate) fn run_on(&self, engine: &mut Engine) -> Vec<Detection> {
        let mut out = Vec::new();
        for (index, event) in self.events.iter().enumerate() {
            out.extend(engine.observe(Seq(index as u64), event, &mut |content| self.contents.get(&content.id).cloned()));
        }
        out
    }
}

pub(crate) fn titles(detections: &[Detection]) -> Vec<&str> {
    detections.iter().map(|one| one.title.as_str()).collect()
}

pub(crate) fn grades(detections: &[Detection]) -> Vec<Grade> {
    detections.iter().filter_map(|one| one.grade).collect()
}
