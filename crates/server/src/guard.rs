//! Who judges for the gateway: the pipeline's own sanitiser and inspector, so that what is decided on is what is recorded, and a text that
//! was judged is not scanned again for its record.

use std::sync::Arc;

use capture::Raw;
use capture::gateway::guard::{Edit, Guard, Judgement};
use event::Piece;

use crate::pipeline::Pipeline;

/// Findings that a decision names at the most; the record of the call has all of them.
const FINDINGS_MAX: usize = 16;

/// The pipeline as a guard.
pub(crate) struct PipelineGuard(pub(crate) Arc<Pipeline>);

impl Guard for PipelineGuard {
    fn judge(&self, pieces: &[Piece<Raw>]) -> Judgement {
        let mut judgement = Judgement::default();
        for piece in pieces {
            let meta = event::PieceMeta::new(piece.meta.direction, piece.meta.role, piece.meta.part);
            let seen = self.0.process(&meta, piece.content.expose());
            judgement.score = judgement.score.max(seen.report.score);
            judgement.findings.extend(seen.report.findings.iter().cloned());
            judgement.scanned_bytes += seen.report.scanned_bytes;
            judgement.unscanned_bytes += seen.report.unscanned_bytes;
            for (kind, count) in &seen.counts {
                judgement.sensitive.insert(kind.to_string());
                judgement.sensitive_values = judgement.sensitive_values.saturating_add(*count);
            }
        }
        judgement.findings.sort_by(|a, b| b.score.total_cmp(&a.score));
        judgement.findings.truncate(FINDINGS_MAX);
        judgement
    }

    fn text_edits(&self, text: &str) -> Vec<Edit> {
        self.0.sanitizer().text_edits(text).into_iter().map(edit).collect()
    }

    fn json_edits(&self, json: &str, is_left: &dyn Fn(Option<&str>, &str) -> bool) -> Option<Vec<Edit>> {
        Some(self.0.sanitizer().json_edits(json, is_left)?.into_iter().map(edit).collect())
    }
}

fn edit(edit: sanitize::Edit) -> Edit {
    Edit { start: edit.start, end: edit.end, text: edit.text }
}
