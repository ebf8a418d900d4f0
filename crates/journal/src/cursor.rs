//! Where a consumer of the journal stands, kept in a small file of its own.

use std::fs::File;
use std::io::{self, Read, Write};
use std::path::{Path, PathBuf};

use crate::Seq;

/// Length of the file: name and version, seq, checksum, line feed.
const CURSOR_BYTES: usize = 51;
const PREFIX: &str = "watchkeeper-cursor 1 ";

/// The durable position of a consumer: the next record that it wants.
///
/// A consumer sets it after what it made of the records before is durable, so that it sees a record again after a
/// crash rather than never. Setting it costs two fsyncs: set it after a batch, not after each record.
#[derive(Debug)]
pub struct Cursor {
    path: PathBuf,
    seq: Seq,
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
        "cursor {}: its content is damaged; delete it, and the consumer will read the journal from the start",
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
    pub fn open(path: impl Into<PathBuf>) -> Result<Self, CursorError> {
        let path = path.into();
        let mut text = Vec::new();
        match File::open(&path) {
            Ok(file) => {
                file.take(CURSOR_BYTES as u64 + 1)
                    .read_to_end(&mut text)
                    .map_err(|error| CursorError::Io { path: path.clone(), error })?;
            }
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Self { path, seq: Seq(0) }),
            Err(error) => return Err(CursorError::Io { path, error }),
        }
        match parse(&text) {
            Some(seq) => Ok(Self { path, seq }),
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
        write(&self.path, &line(seq)).map_err(|error| CursorError::Io { path: self.path.clone(), error })?;
        self.seq = seq;
        Ok(())
    }
}

fn line(seq: Seq) -> String {
    let text = format!("{PREFIX}{:020} ", seq.0);
    format!("{text}{:08x}\n", crc32c::crc32c(text.as_bytes()))
}

fn parse(text: &[u8]) -> Option<Seq> {
    let digits = std::str::from_utf8(text).ok()?.strip_prefix(PREFIX)?.get(..20)?;
    let seq = Seq(digits.parse().ok()?);
    // There is one way to write a position, so comparing checks the checksum and everything else.
    (line(seq).as_bytes() == text).then_some(seq)
}

fn write(path: &Path, text: &str) -> io::Result<()> {
    let mut temporary = path.as_os_str().to_owned();
    temporary.push(".tmp");
    let mut file = File::create(&temporary)?;
    file.write_all(text.as_bytes())?;
    file.sync_all()?;
    std::fs::rename(&temporary, path)?;
    let dir = path.parent().filter(|dir| !dir.as_os_str().is_empty()).unwrap_or(Path::new("."));
    File::open(dir)?.sync_all()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cursor_is_there_again_and_begins_at_the_start() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("detect.cursor");
        let mut cursor = Cursor::open(&path).unwrap();
        assert_eq!(cursor.get(), Seq(0));
        for seq in [Seq(7), Seq(u64::MAX), Seq(3)] {
            cursor.set(seq).unwrap();
            assert_eq!(cursor.get(), seq);
            assert_eq!(Cursor::open(&path).unwrap().get(), seq);
        }
        assert_eq!(std::fs::read_dir(dir.path()).unwrap().count(), 1, "no temporary file stays");
    }

    #[test]
    fn a_crash_before_the_rename_leaves_the_old_position() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("c");
        Cursor::open(&path).unwrap().set(Seq(5)).unwrap();
        std::fs::write(dir.path().join("c.tmp"), "half a li").unwrap();
        let mut cursor = Cursor::open(&path).unwrap();
        assert_eq!(cursor.get(), Seq(5));
        cursor.set(Seq(6)).unwrap();
        assert_eq!(Cursor::open(&path).unwrap().get(), Seq(6));
    }

    #[test]
    fn every_flip_and_every_cut_is_noticed() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("c");
        Cursor::open(&path).unwrap().set(Seq(1_234)).unwrap();
        let good = std::fs::read(&path).unwrap();
        assert_eq!(good.len(), CURSOR_BYTES);
        for at in 0..good.len() {
            for bit in 0..8 {
                let mut bad = good.clone();
                bad[at] ^= 1 << bit;
                std::fs::write(&path, &bad).unwrap();
                assert!(matches!(Cursor::open(&path), Err(CursorError::Damaged { .. })), "byte {at} bit {bit}");
            }
            std::fs::write(&path, &good[..at]).unwrap();
            assert!(Cursor::open(&path).is_err(), "cut at {at}");
        }
        std::fs::write(&path, [&good[..], b"x"].concat()).unwrap();
        assert!(Cursor::open(&path).is_err());
    }
}
