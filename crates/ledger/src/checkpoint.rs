//! Checkpoints: the signed heads of the tree, as C2SP tlog-checkpoint, and the file that keeps all of them.

use std::io::{self, BufRead, Read as _};
use std::path::Path;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

use crate::key_chain::history_form;
use crate::ledger::HISTORY;
use crate::note::{NoteError, SIGNATURE_PREFIX, SignedNote};
use crate::tree::Hash;
use crate::vkey::VerifierKey;

/// Longest checkpoint of a log by its own hand: a size, a root, and for each of two pairs of keys an Ed25519 and an ML-DSA-44
/// signature, all with names of 255 bytes.
pub(crate) const CHECKPOINT_BYTES_MAX: usize = 9 * 1024;

/// Longest checkpoint in the history, which keeps Ed25519 signatures alone.
pub(crate) const HISTORY_NOTE_BYTES_MAX: usize = 1536;

/// Lines of a checkpoint in the history: origin, size, root, blank, signature, blank; in a rotation two signatures.
const HISTORY_LINES: usize = 6;

/// The head of the tree at one size.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Checkpoint {
    /// The log's name.
    pub origin: String,
    /// How many leaves the tree has.
    pub size: u64,
    /// The root over them.
    pub root: Hash,
}

/// Why a note is not a checkpoint of the log.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum CheckpointError {
    /// It is no note, or not signed.
    #[error(transparent)]
    Note(#[from] NoteError),
    /// The text of the note.
    #[error("checkpoint must have three lines: the origin, the size in decimal, the root in base64")]
    Form,
    /// It is another log's.
    #[error("checkpoint is of the log {got}, not of {expected}")]
    Origin {
        /// This log.
        expected: String,
        /// The one it names.
        got: String,
    },
    /// In the log's own files nothing may stand that nobody verifies.
    #[error("checkpoint has bytes beside the log's own signatures")]
    NotExact,
    /// Signed by a key of the log that does not sign at this size.
    #[error("checkpoint of {size} records is signed by the log's key {key}, which signs other sizes alone (ledger/keys)")]
    Retired {
        /// The id of the key.
        key: String,
        /// The size.
        size: u64,
    },
}

impl Checkpoint {
    /// The text that is signed.
    #[must_use]
    pub fn text(&self) -> String {
        format!("{}\n{}\n{}\n", self.origin, self.size, STANDARD.encode(self.root))
    }

    /// Reads the text of a checkpoint. Extension lines, which the specification advises against, are refused.
    pub fn parse(text: &str) -> Result<Self, CheckpointError> {
        let checkpoint = Self::parse_extended(text)?;
        if checkpoint.text() == text { Ok(checkpoint) } else { Err(CheckpointError::Form) }
    }

    /// Reads the text of any log's checkpoint, which may have extension lines: opaque, not empty, and passed over.
    pub fn parse_extended(text: &str) -> Result<Self, CheckpointError> {
        let mut lines = text.strip_suffix('\n').ok_or(CheckpointError::Form)?.split('\n');
        let (Some(origin), Some(size), Some(root)) = (lines.next(), lines.next(), lines.next()) else {
            return Err(CheckpointError::Form);
        };
        let root = STANDARD.decode(root).ok().and_then(|root| root.try_into().ok()).ok_or(CheckpointError::Form)?;
        let number = size.parse().map_err(|_| CheckpointError::Form)?;
        let checkpoint = Self { origin: origin.to_owned(), size: number, root };
        // The same text written again: no second way to write a number or a root.
        if origin.is_empty() || !text.starts_with(&checkpoint.text()) || lines.any(str::is_empty) {
            return Err(CheckpointError::Form);
        }
        Ok(checkpoint)
    }

    /// Reads and verifies a checkpoint that may carry signatures of others, too.
    pub fn open(note: &[u8], key: &VerifierKey) -> Result<Self, CheckpointError> {
        let note = SignedNote::parse(note)?;
        note.verify(key)?;
        let checkpoint = Self::parse(note.text())?;
        if checkpoint.origin == key.name() {
            Ok(checkpoint)
        } else {
            Err(CheckpointError::Origin { expected: key.name().to_owned(), got: checkpoint.origin })
        }
    }
}

/// One step through the history.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum HistoryItem {
    /// The bytes of a note (without the blank line behind it), and where it begins.
    Note {
        /// Its first byte in the file.
        offset: u64,
        /// The note.
        note: Vec<u8>,
    },
    /// The file ends inside a note.
    Torn {
        /// Where the torn note begins.
        offset: u64,
        /// What there is of it.
        note: Vec<u8>,
    },
    /// What stands there is too long for a note or has no blank line where one must be.
    Malformed {
        /// Where it begins.
        offset: u64,
    },
}

/// Whether bytes can be what a torn write leaves of a checkpoint of the log: its beginning, and perhaps zeros where the
/// file had grown and its bytes had not come.
pub(crate) fn can_be_torn(bytes: &[u8], origin: &str) -> bool {
    let written = bytes.iter().rposition(|byte| *byte != 0).map_or(0, |last| last + 1);
    let (written, first_line) = (&bytes[..written], format!("{origin}\n").into_bytes());
    written.starts_with(&first_line) || first_line.starts_with(written)
}

/// Reads the file of all checkpoints, one after the other, in bounded memory.
pub(crate) struct History<R> {
    reader: R,
    offset: u64,
}

impl<R: BufRead> History<R> {
    pub(crate) fn new(reader: R) -> Self {
        Self { reader, offset: 0 }
    }

    /// The next note; `None` at the end. After anything but a note there is nothing more to read.
    pub(crate) fn next(&mut self) -> io::Result<Option<HistoryItem>> {
        let offset = self.offset;
        let mut note = Vec::new();
        for line in 0..=HISTORY_LINES {
            if line == HISTORY_LINES && (note.ends_with(b"\n\n") || !is_signature_line(last_line(&note))) {
                break;
            }
            let room = (HISTORY_NOTE_BYTES_MAX + 1).saturating_sub(note.len());
            let read = self.reader.by_ref().take(room as u64).read_until(b'\n', &mut note)?;
            if read == room && note.last() != Some(&b'\n') || read == 0 && room == 0 {
                return Ok(Some(HistoryItem::Malformed { offset }));
            }
            if note.last() != Some(&b'\n') || read == 0 {
                return Ok((!note.is_empty()).then_some(HistoryItem::Torn { offset, note }));
            }
        }
        self.offset += note.len() as u64;
        if note.ends_with(b"\n\n") {
            note.pop();
            Ok(Some(HistoryItem::Note { offset, note }))
        } else {
            Ok(Some(HistoryItem::Malformed { offset }))
        }
    }
}

/// Whether the history of a data directory's ledger holds a checkpoint, which may carry more signatures than the history keeps.
///
/// # Errors
/// When the history cannot be read.
pub fn history_holds(data_dir: &Path, note: &[u8]) -> io::Result<bool> {
    let Some(kept) = history_form(note) else { return Ok(false) };
    let file = match files::open_regular(&data_dir.join("ledger").join(HISTORY)) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(false),
        file => file?,
    };
    let mut history = History::new(io::BufReader::new(file));
    while let Some(HistoryItem::Note { note, .. }) = history.next()? {
        if note == kept.as_bytes() {
            return Ok(true);
        }
    }
    Ok(false)
}

/// The last line, with its newline.
fn last_line(note: &[u8]) -> &[u8] {
    let end = note.len().saturating_sub(1);
    let start = note[..end].iter().rposition(|byte| *byte == b'\n').map_or(0, |newline| newline + 1);
    &note[start..]
}

fn is_signature_line(line: &[u8]) -> bool {
    line.starts_with(SIGNATURE_PREFIX.as_bytes())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::key::LogKey;

    /// The example of the specification of checkpoints.
    const TEXT: &str = "example.com/behind-the-sofa\n20852163\nCsUYapGGPo4dkMgIAUqom/Xajj7h2fB2MPA3j2jxq2I=\n";

    fn key() -> LogKey {
        ["PRIVATE", "KEY", "PeterNeumann+c74f20a3+AYEKFALVFGyNhPJEMzD1QIDr+Y7hfZx09iUvxdXHKDFz"].join("+").parse().unwrap()
    }

    #[test]
    fn the_example_of_the_specification_round_trips() {
        let checkpoint = Checkpoint::parse(TEXT).unwrap();
        assert_eq!((checkpoint.origin.as_str(), checkpoint.size), ("example.com/behind-the-sofa", 20_852_163));
        assert_eq!(checkpoint.text(), TEXT);
    }

    #[test]
    fn other_texts_are_no_checkpoints() {
        let root = "CsUYapGGPo4dkMgIAUqom/Xajj7h2fB2MPA3j2jxq2I=";
        for bad in [
            String::new(),
            format!("a\n1\n{root}"),
            format!("\n1\n{root}\n"),
            format!("a\n01\n{root}\n"),
            format!("a\n+1\n{root}\n"),
            format!("a\n-1\n{root}\n"),
            format!("a\n18446744073709551616\n{root}\n"),
            "a\n1\nAAAA\n".to_owned(),
            format!("a\n1\n{root}\nextension\n"),
        ] {
            assert_eq!(Checkpoint::parse(&bad), Err(CheckpointError::Form), "{bad:?}");
        }
    }

    #[test]
    fn a_checkpoint_is_signed_and_opened_and_only_by_its_log() {
        let key = key();
        let checkpoint = Checkpoint { origin: "PeterNeumann".to_owned(), size: 7, root: [9; 32] };
        let sign = |checkpoint: &Checkpoint| key.sign(&checkpoint.text()).unwrap().encode();
        let note = sign(&checkpoint);
        assert_eq!(Checkpoint::open(note.as_bytes(), &key.verifier()), Ok(checkpoint.clone()));
        let other = LogKey::generate("PeterNeumann").unwrap();
        assert!(matches!(
            Checkpoint::open(note.as_bytes(), &other.verifier()),
            Err(CheckpointError::Note(NoteError::Unsigned(_)))
        ));
        let foreign = sign(&Checkpoint { origin: "other".to_owned(), ..checkpoint });
        assert!(matches!(Checkpoint::open(foreign.as_bytes(), &key.verifier()), Err(CheckpointError::Origin { .. })));
        let cosigned = format!("{note}\u{2014} witness AAAAAAAB\n");
        assert!(Checkpoint::open(cosigned.as_bytes(), &key.verifier()).is_ok());
    }

    #[test]
    fn the_history_is_cut_at_its_notes() {
        let note = "a\n1\nr\n\ns\n";
        let read = |bytes: &[u8]| {
            let mut history = History::new(bytes);
            (history.next().unwrap(), history.next().unwrap())
        };
        let first = Some(HistoryItem::Note { offset: 0, note: note.as_bytes().to_vec() });
        assert_eq!(read(b""), (None, None));
        assert_eq!(read(format!("{note}\n").as_bytes()), (first, None));
        for cut in 1..=note.len() {
            let text = format!("{note}\n{}", &note[..cut]);
            assert_eq!(
                read(text.as_bytes()).1,
                Some(HistoryItem::Torn { offset: 10, note: note.as_bytes()[..cut].to_vec() }),
                "{cut}"
            );
        }
        assert_eq!(read(format!("{note}x\n").as_bytes()).0, Some(HistoryItem::Malformed { offset: 0 }));
        // A second signature, in a rotation, and not a third line of anything else.
        let two = "a\n1\nr\n\n\u{2014} s\n\u{2014} t\n";
        let second = Some(HistoryItem::Note { offset: 0, note: two.as_bytes().to_vec() });
        assert_eq!(read(format!("{two}\n").as_bytes()), (second, None));
        assert_eq!(read(format!("{two}x\n").as_bytes()).0, Some(HistoryItem::Malformed { offset: 0 }));
        assert_eq!(read(&[b'a'; 5000]).0, Some(HistoryItem::Malformed { offset: 0 }));
        let long = format!("{}\n\n\n\n\n", "a".repeat(HISTORY_NOTE_BYTES_MAX - 3));
        assert_eq!(read(long.as_bytes()).0, Some(HistoryItem::Malformed { offset: 0 }));
    }
}
