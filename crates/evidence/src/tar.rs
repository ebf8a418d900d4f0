//! Archives of plain files: the part of POSIX `ustar` that a bundle needs, and nothing else of it.

use std::io::{self, Read, Write};
use std::path::Path;

use crate::bag::BagError;

const BLOCK: usize = 512;
const NAME: std::ops::Range<usize> = 0..100;
const SIZE: std::ops::Range<usize> = 124..136;
const CHECKSUM: std::ops::Range<usize> = 148..156;
const TYPE: usize = 156;
const MAGIC: std::ops::Range<usize> = 257..265;
const PREFIX: std::ops::Range<usize> = 345..500;

/// Why an archive cannot be read.
#[derive(Debug, thiserror::Error)]
pub(crate) enum TarError {
    #[error(transparent)]
    Bag(#[from] BagError),
    #[error("{0}")]
    Form(&'static str),
    #[error(transparent)]
    Io(#[from] io::Error),
}

impl TarError {
    /// The error of the archive at that path.
    pub(crate) fn at(self, path: &Path) -> BagError {
        match self {
            Self::Bag(error) => error,
            Self::Form(what) => BagError::Archive(what),
            Self::Io(source) => BagError::Io { path: path.to_owned(), source },
        }
    }
}

/// Appends a file.
pub(crate) fn write(to: &mut impl Write, name: &str, bytes: &[u8]) -> io::Result<()> {
    let too_long = || io::Error::new(io::ErrorKind::InvalidInput, "name or file is too long for an archive");
    let (prefix, name) = if name.len() <= NAME.len() {
        ("", name)
    } else {
        let cut = name.match_indices('/').map(|(at, _)| at).find(|at| name.len() - at - 1 <= NAME.len()).ok_or_else(too_long)?;
        (&name[..cut], &name[cut + 1..])
    };
    let size = format!("{:011o}\0", bytes.len());
    if prefix.len() > PREFIX.len() || size.len() > SIZE.len() {
        return Err(too_long());
    }
    let mut header = [0; BLOCK];
    let mut put = |at: usize, field: &[u8]| header[at..at + field.len()].copy_from_slice(field);
    put(NAME.start, name.as_bytes());
    // Evidence is for those to whom it is given.
    put(100, b"0000600\x000000000\x000000000\0");
    put(SIZE.start, size.as_bytes());
    put(136, b"00000000000\0");
    put(CHECKSUM.start, b"        ");
    put(TYPE, b"0");
    put(MAGIC.start, b"ustar\x0000");
    put(PREFIX.start, prefix.as_bytes());
    let sum = format!("{:06o}\0 ", checksum(&header));
    header[CHECKSUM].copy_from_slice(sum.as_bytes());
    to.write_all(&header)?;
    to.write_all(bytes)?;
    to.write_all(&[0; BLOCK][..bytes.len().next_multiple_of(BLOCK) - bytes.len()])
}

/// Writes the end of the archive.
pub(crate) fn end(to: &mut impl Write) -> io::Result<()> {
    to.write_all(&[0; 2 * BLOCK])
}

/// What an archive holds.
pub(crate) enum Entry {
    /// A directory, by its name without the `/` at its end.
    Directory(String),
    /// A file.
    File(String, Vec<u8>),
}

/// Reads the next entry; `None` at the end of the archive, which is the end of `from`. `room` says how many bytes a file of that
/// name may have, before any are read.
pub(crate) fn read(from: &mut impl Read, room: impl FnOnce(&str) -> Result<u64, TarError>) -> Result<Option<Entry>, TarError> {
    let mut header = [0; BLOCK];
    from.read_exact(&mut header)?;
    if header == [0; BLOCK] {
        nothing_more(from)?;
        return Ok(None);
    }
    let text = |range: std::ops::Range<usize>| {
        let field = header[range].split(|byte| *byte == 0).next().unwrap_or_default();
        std::str::from_utf8(field).map_err(|_| TarError::Form("a name is not UTF-8"))
    };
    let number = |range| {
        let digits = text(range)?.trim_matches(' ');
        u64::from_str_radix(digits, 8).map_err(|_| TarError::Form("a number in a header is not octal"))
    };
    if &header[MAGIC][..5] != b"ustar" || number(CHECKSUM)? != u64::from(checksum(&header)) {
        return Err(TarError::Form("a header is not one of POSIX ustar"));
    }
    let size = number(SIZE)?;
    let (prefix, name) = (text(PREFIX)?, text(NAME)?);
    let name = if prefix.is_empty() { name.to_owned() } else { format!("{prefix}/{name}") };
    match header[TYPE] {
        b'5' if size == 0 => return Ok(Some(Entry::Directory(name.strip_suffix('/').unwrap_or(&name).to_owned()))),
        b'0' | 0 => {}
        _ => return Err(TarError::Form("it holds something else than plain files and directories")),
    }
    if size > room(&name)? {
        return Err(BagError::FileTooLarge(name).into());
    }
    let size = usize::try_from(size).map_err(|_| BagError::TooLarge)?;
    let mut bytes = Vec::new();
    bytes.try_reserve_exact(size).map_err(|_| BagError::TooLarge)?;
    let mut padding = [0; BLOCK];
    let padding = &mut padding[..size.next_multiple_of(BLOCK) - size];
    if from.by_ref().take(size as u64).read_to_end(&mut bytes)? != size || from.read_exact(padding).is_err() {
        return Err(TarError::Form("it ends inside a file"));
    }
    Ok(Some(Entry::File(name, bytes)))
}

/// An archive ends with two blocks of zeros, and more of them up to the end. Behind a single one other programs read on, so they
/// could be shown other files than this one was.
fn nothing_more(from: &mut impl Read) -> Result<(), TarError> {
    let mut block = [0; BLOCK];
    from.read_exact(&mut block).map_err(|_| TarError::Form("it does not end with two blocks of zeros"))?;
    loop {
        if block.iter().any(|byte| *byte != 0) {
            return Err(TarError::Form("something follows on its end"));
        }
        let read = from.read(&mut block)?;
        if read == 0 {
            return Ok(());
        }
        block[read..].fill(0);
    }
}

/// The sum of the header's bytes, those of the checksum itself as spaces.
fn checksum(header: &[u8; BLOCK]) -> u32 {
    header.iter().enumerate().map(|(at, byte)| if CHECKSUM.contains(&at) { 32 } else { u32::from(*byte) }).sum()
}
