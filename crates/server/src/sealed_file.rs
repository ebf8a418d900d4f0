//! Sealed files: what the server keeps beside the record, and nobody who only has the disk may read or exchange.
//!
//! ```text
//! magic ‖ what is in the clear (none, or a few bytes) ‖ nonce, 12 bytes ‖ AES-256-GCM of the content ‖ tag, 16 bytes
//! ```
//!
//! The cipher is bound to the file's name, or to all that stands before the nonce: a file in the place of another is not believed. The keys
//! are the keyring's.

use std::io::{self, Read as _, Write};
use std::ops::Range;
use std::path::Path;

use aws_lc_rs::aead::{AES_256_GCM, Aad, NONCE_LEN, Nonce, RandomizedNonceKey};
use keys::{Keyring, KeysError};

/// Bytes of the cipher's tag.
const TAG_BYTES: usize = 16;

/// One kind of sealed files.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct SealedFile {
    /// The first bytes: the kind, and the version of its form.
    pub(crate) magic: &'static [u8],
    /// Bytes behind them that are in the clear.
    pub(crate) clear: usize,
    /// Largest file that is written and read.
    pub(crate) bytes_max: u64,
}

/// What a file's cipher is bound to.
#[derive(Debug, Clone, Copy)]
pub(crate) enum BoundTo<'a> {
    /// The name.
    Name(&'a str),
    /// All that stands before the nonce.
    Head,
}

/// A file that was read.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Sealed {
    bytes: Vec<u8>,
    form: SealedFile,
}

/// A file that was opened.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Opened {
    bytes: Vec<u8>,
    clear: Range<usize>,
    content: Range<usize>,
}

/// Why a file is not read or written.
#[derive(Debug, thiserror::Error)]
pub(crate) enum SealedFileError {
    #[error(transparent)]
    Io(#[from] io::Error),
    #[error("{bytes} bytes are more than the {bytes_max} that such a file can have")]
    TooLarge { bytes: u64, bytes_max: u64 },
    #[error("is no such file")]
    Form,
    #[error("was written under another key, or changed")]
    Seal,
    #[error("cannot be encrypted")]
    Cipher,
}

/// The key of a name in the keyring; made where there is none.
pub(crate) fn key(keyring: &Keyring, name: &str) -> Result<RandomizedNonceKey, KeyError> {
    let key = keyring.named_or_create::<32>(name)?;
    RandomizedNonceKey::new(&AES_256_GCM, &key[..]).map_err(|_| KeyError::Cipher)
}

/// Why there is no key.
#[derive(Debug, thiserror::Error)]
pub(crate) enum KeyError {
    #[error(transparent)]
    Keys(#[from] KeysError),
    #[error("the key is none of AES-256-GCM")]
    Cipher,
}

impl SealedFile {
    /// Writes a file, whole or not at all, for its owner alone. `content` puts into it what is sealed.
    pub(crate) fn write(
        &self,
        path: &Path,
        key: &RandomizedNonceKey,
        bound_to: BoundTo<'_>,
        clear: &[u8],
        content: impl FnOnce(Vec<u8>) -> Result<Vec<u8>, SealedFileError>,
    ) -> Result<(), SealedFileError> {
        if clear.len() != self.clear {
            return Err(SealedFileError::Form);
        }
        let head = [self.magic, clear].concat();
        let content_at = head.len() + NONCE_LEN;
        let mut file = content([head.as_slice(), &[0; NONCE_LEN]].concat())?;
        self.check_length(file.len() + TAG_BYTES)?;
        let (_, sealed) = file.split_at_mut_checked(content_at).ok_or(SealedFileError::Form)?;
        let aad = Aad::from(bound_to.bytes(&head));
        let (nonce, tag) = key.seal_in_place_separate_tag(aad, sealed).map_err(|_| SealedFileError::Cipher)?;
        let at = file.get_mut(head.len()..content_at).ok_or(SealedFileError::Form)?;
        at.copy_from_slice(nonce.as_ref());
        file.extend_from_slice(tag.as_ref());
        Ok(files::write_atomic(path, &file, 0o600)?)
    }

    /// Reads a file; `None` where there is none.
    pub(crate) fn read(self, path: &Path) -> Result<Option<Sealed>, SealedFileError> {
        let Some(bytes) = files::read_at_most(path, self.bytes_max)? else { return Ok(None) };
        if !bytes.starts_with(self.magic) || bytes.len() < self.magic.len() + self.clear + NONCE_LEN + TAG_BYTES {
            return Err(SealedFileError::Form);
        }
        Ok(Some(Sealed { bytes, form: self }))
    }

    fn check_length(&self, bytes: usize) -> Result<(), SealedFileError> {
        match u64::try_from(bytes) {
            Ok(bytes) if bytes <= self.bytes_max => Ok(()),
            bytes => Err(SealedFileError::TooLarge { bytes: bytes.unwrap_or(u64::MAX), bytes_max: self.bytes_max }),
        }
    }
}

impl Sealed {
    /// Opens it.
    pub(crate) fn open(mut self, key: &RandomizedNonceKey, bound_to: BoundTo<'_>) -> Result<Opened, SealedFileError> {
        let head_len = self.form.magic.len() + self.form.clear;
        let (head, rest) = self.bytes.split_at_mut_checked(head_len).ok_or(SealedFileError::Form)?;
        let (nonce, sealed) = rest.split_first_chunk_mut::<NONCE_LEN>().ok_or(SealedFileError::Form)?;
        let aad = Aad::from(bound_to.bytes(head));
        let opened = key.open_in_place(Nonce::from(&*nonce), aad, sealed).map_err(|_| SealedFileError::Seal)?.len();
        let content_at = head_len + NONCE_LEN;
        Ok(Opened { bytes: self.bytes, clear: self.form.magic.len()..head_len, content: content_at..content_at + opened })
    }
}

impl<'a> BoundTo<'a> {
    fn bytes(self, head: &'a [u8]) -> &'a [u8] {
        match self {
            Self::Name(name) => name.as_bytes(),
            Self::Head => head,
        }
    }
}

impl Opened {
    /// What is in the clear.
    pub(crate) fn clear(&self) -> &[u8] {
        self.bytes.get(self.clear.clone()).unwrap_or_default()
    }

    /// What was sealed.
    pub(crate) fn content(&self) -> &[u8] {
        self.bytes.get(self.content.clone()).unwrap_or_default()
    }

    /// What was sealed, unpacked: at most `bytes_max`, and then an error.
    pub(crate) fn unpacked(&self, bytes_max: u64) -> io::Result<impl io::BufRead> {
        let decoder = zstd::stream::read::Decoder::with_buffer(self.content())?;
        Ok(io::BufReader::new(Bounded { inner: decoder.take(bytes_max.saturating_add(1)), bytes_max }))
    }
}

/// Packs what `write` writes behind what is in `file`: at most `bytes_max` of it.
pub(crate) fn packed(
    file: Vec<u8>,
    level: i32,
    bytes_max: u64,
    write: impl FnOnce(&mut dyn Write) -> io::Result<()>,
) -> Result<Vec<u8>, SealedFileError> {
    let mut counted = Counted { inner: zstd::stream::write::Encoder::new(file, level)?, bytes: 0, bytes_max };
    match write(&mut counted) {
        _ if counted.bytes > bytes_max => Err(SealedFileError::TooLarge { bytes: counted.bytes, bytes_max }),
        Ok(()) => Ok(counted.inner.finish()?),
        Err(error) => Err(error.into()),
    }
}

struct Counted<W> {
    inner: W,
    bytes: u64,
    bytes_max: u64,
}

impl<W: Write> Write for Counted<W> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let after = self.bytes.saturating_add(bytes.len() as u64);
        if after > self.bytes_max {
            self.bytes = after;
            return Err(io::ErrorKind::FileTooLarge.into());
        }
        let written = self.inner.write(bytes)?;
        self.bytes += written as u64;
        Ok(written)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.inner.flush()
    }
}

struct Bounded<R> {
    inner: io::Take<R>,
    bytes_max: u64,
}

impl<R: io::Read> io::Read for Bounded<R> {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        let read = self.inner.read(into)?;
        // The one byte more than there may be was read.
        if self.inner.limit() == 0 && self.bytes_max < u64::MAX {
            return Err(io::ErrorKind::FileTooLarge.into());
        }
        Ok(read)
    }
}

#[cfg(test)]
mod tests {
    use std::io::Read as _;

    use super::*;

    /// Files as they were before there was this module, made by another implementation of the cipher (Python's `cryptography`) with a key of
    /// sevens and the nonce 0 to 11.
    const STATE: &str = "776b206265686176696f75722030310a0000020000000000000102030405060708090a0b6fe988043d60aa691cdc8aeb8c1da75f841ec8e2c2b6ee86\
        5a6271388d";
    const BASELINE: &str =
        "776b6576616c6231000102030405060708090a0b3034c68d3d02804977c9c7ee97361fd8db67ebf3264018e15a1cfd1edc74b6f35f5db321";

    const PACKED: SealedFile = SealedFile { magic: b"wkevalb1", clear: 0, bytes_max: 4_096 };

    fn sevens() -> RandomizedNonceKey {
        RandomizedNonceKey::new(&AES_256_GCM, &[7; 32]).unwrap()
    }

    fn text(opened: &Opened, bytes_max: u64) -> io::Result<String> {
        let mut text = String::new();
        opened.unpacked(bytes_max)?.read_to_string(&mut text)?;
        Ok(text)
    }

    #[test]
    fn files_of_before_are_read() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("file");
        std::fs::write(&path, event::hex::decode(STATE).unwrap()).unwrap();
        let state = SealedFile { magic: b"wk behaviour 01\n", clear: 8, bytes_max: 4_096 };
        let opened = state.read(&path).unwrap().unwrap().open(&sevens(), BoundTo::Head).unwrap();
        assert_eq!((opened.clear(), opened.content()), ((1_u64 << 17).to_le_bytes().as_slice(), b"what is known".as_slice()));
        std::fs::write(&path, event::hex::decode(BASELINE).unwrap()).unwrap();
        let opened = PACKED.read(&path).unwrap().unwrap().open(&sevens(), BoundTo::Name("one")).unwrap();
        assert_eq!(text(&opened, 11).unwrap(), "{\"runs\":[]}");
    }

    #[test]
    fn a_file_is_read_as_it_was_written_and_no_other_is_believed() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("file");
        let key = sevens();
        let read = |bound_to| PACKED.read(&path).and_then(|sealed| sealed.ok_or(SealedFileError::Form)?.open(&key, bound_to));
        assert_eq!(PACKED.read(&path).unwrap(), None);
        let write = |bytes_max: u64| {
            PACKED.write(&path, &key, BoundTo::Name("one"), b"", |file| {
                packed(file, 1, bytes_max, |to| (0..10).try_for_each(|_| to.write_all(b"0123456789")))
            })
        };
        write(100).unwrap();
        let opened = read(BoundTo::Name("one")).unwrap();
        assert_eq!(text(&opened, 100).unwrap(), "0123456789".repeat(10));
        // More than may be is neither written nor read.
        assert_eq!(text(&opened, 99).unwrap_err().kind(), io::ErrorKind::FileTooLarge);
        let before = std::fs::read(&path).unwrap();
        assert!(matches!(write(99), Err(SealedFileError::TooLarge { bytes: 100, bytes_max: 99 })));
        let plain = |length: usize| PACKED.write(&path, &key, BoundTo::Head, b"", |file| Ok([file, vec![1; length]].concat()));
        assert!(matches!(plain(4_096), Err(SealedFileError::TooLarge { .. })));
        assert_eq!(std::fs::read(&path).unwrap(), before, "what cannot be written leaves what is there");
        for bound_to in [BoundTo::Name("two"), BoundTo::Head] {
            assert!(matches!(read(bound_to), Err(SealedFileError::Seal)), "{bound_to:?}");
        }
        for (at, cut) in
            [(3, 0), (8, 0), (19, 0), (20, 0), (before.len() - 1, 0), (0, 1), (0, before.len() - 19), (0, before.len())]
        {
            let mut changed = before.clone();
            if cut == 0 {
                changed[at] ^= 1;
            }
            changed.truncate(before.len() - cut);
            std::fs::write(&path, &changed).unwrap();
            let refused = read(BoundTo::Name("one"));
            assert!(matches!(refused, Err(SealedFileError::Seal | SealedFileError::Form)), "{at} {cut}: {refused:?}");
        }
        plain(4_096 - 8 - NONCE_LEN - TAG_BYTES).unwrap();
        assert!(read(BoundTo::Head).unwrap().content().iter().all(|one| *one == 1));
    }
}
