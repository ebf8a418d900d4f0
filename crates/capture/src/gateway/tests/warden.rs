//! Who judges in tests: the real sanitiser and the real inspector, as the server puts them together.

use std::sync::{Arc, LazyLock};

use event::Piece;
use inspect::{Inspector, Prompt};
use sanitize::{Sanitizer, TokenKey};

use crate::Raw;
use crate::gateway::guard::{Edit, Guard, Judgement};

pub(crate) struct Warden {
    sanitizer: Sanitizer,
    inspector: Inspector,
}

impl Warden {
    /// The one of all tests: to read the signatures takes longer than most of them.
    pub(crate) fn guard() -> Arc<dyn Guard> {
        static WARDEN: LazyLock<Arc<Warden>> = LazyLock::new(|| {
            Arc::new(Warden { sanitizer: Sanitizer::new(TokenKey::new([7; 32], "t")), inspector: Inspector::builtin().unwrap() })
        });
        WARDEN.clone()
    }
}

fn edit(edit: sanitize::Edit) -> Edit {
    Edit { start: edit.start, end: edit.end, text: edit.text }
}

/// The same, beside it whether instructions are given away.
struct Told(Vec<Prompt>);

impl Guard for Told {
    fn judge(&self, pieces: &[Piece<Raw>]) -> Judgement {
        let mut judgement = Warden::guard().judge(pieces);
        for piece in pieces {
            let text = piece.content.expose();
            for leak in self.0.iter().filter_map(|prompt| prompt.overlap(text)) {
                judgement.score = judgement.score.max(leak.score());
                judgement.findings.push(leak.finding(text));
            }
        }
        judgement
    }

    fn text_edits(&self, text: &str) -> Vec<Edit> {
        Warden::guard().text_edits(text)
    }

    fn announcements(&self, text: &str) -> Vec<usize> {
        Warden::guard().announcements(text)
    }

    fn json_edits(&self, json: &str, is_left: &dyn Fn(Option<&str>, &str) -> bool) -> Option<Vec<Edit>> {
        Warden::guard().json_edits(json, is_left)
    }
}

impl Guard for Warden {
    fn instructed(&self, instructions: &[&str]) -> Option<Arc<dyn Guard>> {
        let prompts = instructions.iter().filter_map(|text| Prompt::new(text)).collect();
        Some(Arc::new(Told(prompts)))
    }

    fn judge(&self, pieces: &[Piece<Raw>]) -> Judgement {
        let mut judgement = Judgement::default();
        for piece in pieces {
            let text = piece.content.expose();
            let cleaned = self.sanitizer.text(text);
            let report = self.inspector.inspect(&cleaned.text, piece.meta.channel(), None);
            judgement.score = judgement.score.max(report.score);
            judgement.findings.extend(report.findings);
            judgement.sensitive_values += u32::try_from(cleaned.replacements.len()).unwrap();
            judgement.sensitive.extend(cleaned.replacements.iter().map(|one| one.kind.as_str().to_owned()));
            judgement.scanned_bytes += report.scanned_bytes;
            judgement.unscanned_bytes += report.unscanned_bytes;
        }
        judgement
    }

    fn text_edits(&self, text: &str) -> Vec<Edit> {
        self.sanitizer.text_edits(text).into_iter().map(edit).collect()
    }

    fn announcements(&self, text: &str) -> Vec<usize> {
        Sanitizer::announcements(text)
    }

    fn json_edits(&self, json: &str, is_left: &dyn Fn(Option<&str>, &str) -> bool) -> Option<Vec<Edit>> {
        self.sanitizer.json_edits(json, is_left).map(|edits| edits.into_iter().map(edit).collect())
    }
}
