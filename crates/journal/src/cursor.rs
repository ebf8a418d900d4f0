//! Where a consumer of the journal stands, kept in a small file of its own, with a tag: whoever could move a consumer on would make
//! it pass over records.

use std::io;
use std::path::PathBuf;
use std::sync::Arc;

use aws_lc_rs::constant_time::verify_slices_are_equal;

use crate::Seq;

/// Length of the file: name and version, seq, tag in hexadecimal digits, line feed.
const CURSOR_BYTES: usize = 107;
const PREFIX: &str = "watchkeeper-cursor 2 ";

/// Makes the tag of a position: only who has the key behind it can.
pub type CursorTag = Arc<dyn Fn(&[u8]) -> [u8; 32] + Send + Sync>;

/// The durable position of a consumer: the next record that it wants.
///
/// A consumer sets it after what it made of the records before is durable, so that it sees a record again after a
/// crash rather than never. Setting it costs two fsyncs: set it after a batch, not after each record.
pub struct Cursor {
    path: PathBuf,
    seq: Seq,
    tag: CursorTag,
}

/// Why a cursor cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum CursorError {
    /// The file cannot be read or written.
    #[error("cursor {}: {error}", path.display())]
    Io {
        /// The file.
        path: PathBuf,
        /// What the system says.
        #[source]
        error: io::Error,
    },
    /// The file holds something else.
    #[error(
        "cursor {}: this program has not written its content; delete it, and the consumer will read the journal from the start",
        path.display()
    )]
    Damaged {
        /// The file.
        path: PathBuf,
    },
}

impl Cursor {
    /// Opens the cursor. A file that is not there stands for the journal's start; it is made by the first
    /// [`set`](Self::set).
    pub fn open(path: impl Into<PathBuf>, tag: CursorTag) -> Result<Self, CursorError> {
        let path = path.into();
        let text = match files::read_at_most(&path, CURSOR_BYTES as u64) {
            Ok(Some(text)) => text,
            Ok(None) => return Ok(Self { path, seq: Seq(0), tag }),
            Err(error) if error.kind() == io::ErrorKind::FileTooLarge => return Err(CursorError::Damaged { path }),
            Err(error) => return Err(CursorError::Io { path, error }),
        };
        match parse(&text, &tag) {
            Some(seq) => Ok(Self { path, seq, tag }),
            None => Err(CursorError::Damaged { path }),
        }
    }

    /// The next record that the consumer wants.
    #[must_use]
    pub fn get(&self) -> Seq {
        self.seq
    }

    /// Moves the cursor, and returns when the new position is durable.
    pub fn set(&mut self, seq: Seq) -> Result<(), CursorError> {
        let written = files::write_atomic(&self.path, line(seq, &self.tag).as_bytes(), 0o600);
        written.map_err(|error| CursorError::Io { path: self.path.clone(), error })?;
        self.seq = seq;
        Ok(())
    }
}

impl std::fmt::Debug for Cursor {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Cursor").field("path", &self.path).field("seq", &self.seq).finish_non_exhaustive()
    }
}

fn line(seq: Seq, tag: &CursorTag) -> String {
    let text = format!("{PREFIX}{:020} ", seq.0);
    let digits = event::hex::encode(&tag(text.as_bytes()));
    format!("{text}{digits}\n")
}

fn parse(text: &[u8], tag: &CursorTag) -> Option<Seq> {
    let digits = std::str::from_utf8(text).ok()?.strip_prefix(PREFIX)?.get(..20)?;
    let seq = Seq(digits.parse().ok()?);
    // There is one way to write a position, so comparing checks the tag and everything else.
    verify_slices_are_equal(line(seq, tag).as_bytes(), text).ok().map(|()| seq)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tag() -> CursorTag {
        let key = aws_lc_rs::hmac::Key::new(aws_lc_rs::hmac::HMAC_SHA256, b"of the test");
        Arc::new(move |bytes| aws_lc_rs::hmac::sign(&key, bytes).as_ref().try_into().unwrap())
    }

    fn open(path: impl Into<PathBuf>) -> Result<Cursor, CursorError> {
        Cursor::open(path, tag())
    }

    #[test]
    fn a_position_under_another_key_is_not_believed() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("c");
        let foreign: CursorTag = Arc::new(|_| [7; 32]);
        Cursor::open(&path, foreign).unwrap().set(Seq(9_999)).unwrap();
        assert!(matches!(open(&path), Err(CursorError::Damaged { .. })));
    }

    #[test]
    fn a_cursor_is_there_again_and_begins_at_the_start() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("detect.cursor");
        let mut cursor = open(&path).unwrap();
        assert_eq!(cursor.get(), Seq(0));
        for seq in [Seq(7), Seq(u64::MAX), Seq(3)] {
            cursor.set(seq).unwrap();
            assert_eq!(cursor.get(), seq);
            assert_eq!(open(&path).unwrap().get(), seq);
        }
        assert_eq!(std::fs::read_dir(dir.path()).unwrap().count(), 1, "no temporary file stays");
    }

    #[test]
    fn a_crash_before_the_rename_leaves_the_old_position() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("c");
        open(&path).unwrap().set(Seq(5)).unwrap();
        std::fs::write(dir.path().join("c.tmp"), "half a li").unwrap();
        let mut cursor = open(&path).unwrap();
        assert_eq!(cursor.get(), Seq(5));
        cursor.set(Seq(6)).unwrap();
        assert_eq!(open(&path).unwrap().get(), Seq(6));
    }

    #[test]
    fn every_flip_and_every_cut_is_noticed() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("c");
        open(&path).unwrap().set(Seq(1_234)).unwrap();
        let good = std::fs::read(&path).unwrap();
        assert_eq!(good.len(), CURSOR_BYTES);
        for at in 0..good.len() {
            for bit in 0..8 {
                let mut bad = good.clone();
                bad[at] ^= 1 << bit;
                std::fs::write(&path, &bad).unwrap();
                assert!(matches!(open(&path), Err(CursorError::Damaged { .. })), "byte {at} bit {bit}");
            }
            std::fs::write(&path, &good[..at]).unwrap();
            assert!(open(&path).is_err(), "cut at {at}");
        }
        std::fs::write(&path, [&good[..], b"x"].concat()).unwrap();
        assert!(open(&path).is_err());
    }
}
