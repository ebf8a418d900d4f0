//! The container: BagIt 1.0 (RFC 8493) with SHA-256 manifests, as a directory or as one `.tar.gz`.
//!
//! A bundle is held in memory while it is made or verified, so its size and the number of its files are bounded. Names
//! are of a few plain characters; nothing that is a link or leads out of the bundle is ever opened.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::{self, DirBuilder, File, OpenOptions};
use std::io::{self, BufReader, Read as _, Write};
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};

use journal::hash::Sha256;

use crate::tar;

/// Largest bundle, unpacked. A session of 10,000 records has about 100 MB.
pub const BUNDLE_BYTES_MAX: u64 = 1 << 30;

/// Most files in a bundle: three for each of 60,000 records.
pub const BUNDLE_FILES_MAX: usize = 200_000;

/// Largest file of a bundle: `index.html` over the most records, or the largest texts of one record.
pub const FILE_BYTES_MAX: u64 = 256 << 20;

/// Largest leaf: it has 102 bytes.
const LEAF_FILE_BYTES_MAX: u64 = 1 << 10;

/// Largest proof, which holds a checkpoint with all its cosignatures.
const PROOF_FILE_BYTES_MAX: u64 = 1 << 20;

/// Bundles are for those to whom they are given: their files are not for other users of the machine.
const FILE_MODE: u32 = 0o600;
const DIR_MODE: u32 = 0o700;

/// Longest name of a file in a bundle.
const NAME_BYTES_MAX: usize = 200;

/// Deepest directory in a bundle: `data/records`.
const DEPTH_MAX: usize = 4;

const DECLARATION: &str = "bagit.txt";
pub(crate) const INFO: &str = "bag-info.txt";
const MANIFEST: &str = "manifest-sha256.txt";
const TAG_MANIFEST: &str = "tagmanifest-sha256.txt";
const DECLARATION_TEXT: &str = "BagIt-Version: 1.0\nTag-File-Character-Encoding: UTF-8\n";

/// The files of a bundle by name, `/` between directories.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Bag {
    files: BTreeMap<String, Vec<u8>>,
    bytes: u64,
}

/// Why files are not a bundle, or a bundle could not be read or written.
#[derive(Debug, thiserror::Error)]
pub enum BagError {
    /// A name.
    #[error(
        "{0:?} is no name of a file in a bundle: letters, digits, `.`, `_` and `-`, parted by `/`, none of them beginning with `.`"
    )]
    Name(String),
    /// A name twice.
    #[error("{0:?} is there twice")]
    Twice(String),
    /// Neither a file nor a directory.
    #[error("{0:?} is neither a plain file nor a directory; a bundle has no links")]
    Kind(String),
    /// A file is too large.
    #[error("{0:?} is larger than a file of its kind in a bundle can be ({FILE_BYTES_MAX} bytes at the most)")]
    FileTooLarge(String),
    /// A directory.
    #[error("{0:?} is a directory that no file of the bundle lies in")]
    Directory(String),
    /// Too large.
    #[error(
        "a bundle has at most {BUNDLE_BYTES_MAX} bytes in {BUNDLE_FILES_MAX} files, in directories of at most {DEPTH_MAX} levels"
    )]
    TooLarge,
    /// The archive.
    #[error("not a .tar.gz of plain files: {0}")]
    Archive(&'static str),
    /// Reading or writing.
    #[error("{path}: {source}")]
    Io {
        /// Where.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
}

impl Bag {
    /// Adds a file.
    pub fn put(&mut self, name: &str, bytes: Vec<u8>) -> Result<(), BagError> {
        if bytes.len() as u64 > bytes_max(name)? {
            return Err(BagError::FileTooLarge(name.to_owned()));
        }
        self.bytes = self.bytes.saturating_add(bytes.len() as u64);
        if self.bytes > BUNDLE_BYTES_MAX || self.files.len() >= BUNDLE_FILES_MAX {
            return Err(BagError::TooLarge);
        }
        match self.files.insert(name.to_owned(), bytes) {
            None => Ok(()),
            Some(_) => Err(BagError::Twice(name.to_owned())),
        }
    }

    /// A file.
    #[must_use]
    pub fn get(&self, name: &str) -> Option<&[u8]> {
        self.files.get(name).map(Vec::as_slice)
    }

    /// Takes a file out.
    pub fn remove(&mut self, name: &str) -> Option<Vec<u8>> {
        let bytes = self.files.remove(name)?;
        self.bytes -= bytes.len() as u64;
        Some(bytes)
    }

    /// The files in the order of their names.
    pub fn files(&self) -> impl Iterator<Item = (&str, &[u8])> {
        self.files.iter().map(|(name, bytes)| (name.as_str(), bytes.as_slice()))
    }

    /// Adds the declaration. Call before the statement is signed, which covers it.
    pub(crate) fn declare(&mut self, info: &str) -> Result<(), BagError> {
        self.put(DECLARATION, DECLARATION_TEXT.into())?;
        self.put(INFO, info.into())
    }

    /// Writes both manifests anew over the files that are there.
    pub fn close(&mut self) -> Result<(), BagError> {
        self.remove(MANIFEST);
        self.remove(TAG_MANIFEST);
        let manifest = self.manifest(|name| name.starts_with("data/"));
        self.put(MANIFEST, manifest.into())?;
        let tags = self.manifest(|name| !name.starts_with("data/"));
        self.put(TAG_MANIFEST, tags.into())
    }

    /// Checks the declaration and that the manifests name every file, each with its digest, and no other. The fault is the
    /// name of a file and what is wrong with it.
    pub(crate) fn check(&self) -> Result<(), (String, String)> {
        let fault = |name: &str, what: &str| Err((name.to_owned(), what.to_owned()));
        if self.get(DECLARATION) != Some(DECLARATION_TEXT.as_bytes()) {
            return fault(DECLARATION, "must be the declaration of BagIt 1.0 in UTF-8");
        }
        if self.get(INFO).is_none() {
            return fault(INFO, "is missing");
        }
        for (manifest, expected) in [
            (TAG_MANIFEST, self.manifest(|name| !name.starts_with("data/") && name != TAG_MANIFEST)),
            (MANIFEST, self.manifest(|name| name.starts_with("data/"))),
        ] {
            let Some(found) = self.get(manifest) else { return fault(manifest, "is missing") };
            if found == expected.as_bytes() {
                continue;
            }
            let Ok(found) = std::str::from_utf8(found) else { return fault(manifest, "is not UTF-8") };
            let (found, expected): (Vec<&str>, Vec<&str>) = (found.lines().collect(), expected.lines().collect());
            let place =
                found.iter().zip(&expected).position(|(ours, theirs)| ours != theirs).unwrap_or(found.len().min(expected.len()));
            let name_of = |line: Option<&&str>| line.and_then(|line| line.split_once("  ")).map(|(_, name)| name.to_owned());
            let (listed, present) = (name_of(found.get(place)), name_of(expected.get(place)));
            return match (listed, present) {
                (Some(listed), Some(present)) if listed == present => {
                    fault(&present, &format!("is not the file that {manifest} lists"))
                }
                (Some(listed), _) if is_name(&listed) && self.get(&listed).is_none() => {
                    fault(&listed, &format!("is listed in {manifest} and missing"))
                }
                (_, Some(present)) => fault(&present, &format!("is not listed in its place in {manifest}")),
                _ => fault(manifest, "has more than a sorted line `digest  name` for each file"),
            };
        }
        Ok(())
    }

    fn manifest(&self, lists: impl Fn(&str) -> bool) -> String {
        let line = |(name, bytes): (&str, &[u8])| format!("{}  {name}\n", digest(bytes));
        self.files().filter(|(name, _)| lists(name)).map(line).collect()
    }

    /// Writes the bundle as a new directory.
    pub fn write_dir(&self, dir: &Path) -> Result<(), BagError> {
        new_dir(dir)?;
        self.fill_dir(dir)
    }

    /// Writes the bundle into an empty directory.
    pub(crate) fn fill_dir(&self, dir: &Path) -> Result<(), BagError> {
        for (name, bytes) in &self.files {
            let path = dir.join(name);
            let parent = path.parent().unwrap_or(dir);
            DirBuilder::new().recursive(true).mode(DIR_MODE).create(parent).map_err(at(parent))?;
            let mut file = new_file(&path)?;
            file.write_all(bytes).and_then(|()| file.sync_all()).map_err(at(&path))?;
        }
        files::sync_dir(dir).map_err(at(dir))
    }

    /// The bundle as the bytes of a `.tar.gz`, in which it lies below a directory of that name.
    pub fn to_tar_gz(&self, directory: &str) -> Result<Vec<u8>, BagError> {
        let gzip = self.pack(Vec::new(), directory)?;
        gzip.finish().map_err(at(Path::new(directory)))
    }

    fn pack<W: Write>(&self, to: W, directory: &str) -> Result<flate2::write::GzEncoder<W>, BagError> {
        if !is_name(directory) || directory.contains('/') {
            return Err(BagError::Name(directory.chars().take(NAME_BYTES_MAX).collect()));
        }
        let mut gzip = flate2::write::GzEncoder::new(to, flate2::Compression::default());
        let at = at(Path::new(directory));
        let pack = |gzip: &mut flate2::write::GzEncoder<W>| {
            self.files.iter().try_for_each(|(name, bytes)| tar::write(gzip, &format!("{directory}/{name}"), bytes))?;
            tar::end(gzip)
        };
        pack(&mut gzip).map_err(at)?;
        Ok(gzip)
    }

    /// Writes the bundle as one new file, in which it lies below a directory of that name. Equal bundles give equal bytes.
    pub fn write_tar_gz(&self, path: &Path, directory: &str) -> Result<(), BagError> {
        self.fill_tar_gz(new_file(path)?, path, directory)
    }

    /// Writes the bundle into an empty file.
    pub(crate) fn fill_tar_gz(&self, file: File, path: &Path, directory: &str) -> Result<(), BagError> {
        let gzip = self.pack(io::BufWriter::new(file), directory)?;
        let file =
            gzip.finish().and_then(|buffer| buffer.into_inner().map_err(io::IntoInnerError::into_error)).map_err(at(path))?;
        file.sync_all().map_err(at(path))
    }

    /// Reads the bytes of a `.tar.gz`.
    pub fn from_tar_gz(compressed: &[u8]) -> Result<Self, BagError> {
        Self::read_tar_gz(compressed).map_err(|error| error.at(Path::new("archive")))
    }

    /// Reads a bundle, a directory or a `.tar.gz`.
    pub fn read(path: &Path) -> Result<Self, BagError> {
        let metadata = fs::metadata(path).map_err(at(path))?;
        if metadata.is_dir() {
            let mut bag = Self::default();
            bag.read_dir(path, "", 0)?;
            return Ok(bag);
        }
        if !metadata.is_file() {
            return Err(BagError::Kind(path.display().to_string()));
        }
        let file = BufReader::new(File::open(path).map_err(at(path))?);
        Self::read_tar_gz(file).map_err(|error| error.at(path))
    }

    fn read_tar_gz(compressed: impl io::BufRead) -> Result<Self, tar::TarError> {
        // Headers and padding come on top of the files; beyond that the archive is not unpacked any further.
        let unpacked_max = BUNDLE_BYTES_MAX + BUNDLE_FILES_MAX as u64 * 1024;
        let mut unpacked = flate2::bufread::GzDecoder::new(compressed).take(unpacked_max);
        let mut bag = Self::default();
        let mut root: Option<String> = None;
        let mut directories = BTreeSet::new();
        loop {
            let room = |name: &str| {
                let (_, name) = name.split_once('/').ok_or(OUTSIDE)?;
                Ok(bytes_max(name)?.min(BUNDLE_BYTES_MAX - bag.bytes.min(BUNDLE_BYTES_MAX)))
            };
            let Some(entry) = tar::read(&mut unpacked, room)? else { break };
            let (tar::Entry::Directory(name) | tar::Entry::File(name, _)) = &entry;
            let (directory, name) = name.split_once('/').unwrap_or((name, ""));
            if !is_name(directory) || root.get_or_insert_with(|| directory.to_owned()) != directory {
                return Err(OUTSIDE);
            }
            let name = name.to_owned();
            match entry {
                tar::Entry::File(_, bytes) => bag.put(&name, bytes)?,
                tar::Entry::Directory(_) if directories.len() >= BUNDLE_FILES_MAX => return Err(BagError::TooLarge.into()),
                tar::Entry::Directory(_) => drop(directories.insert(name)),
            }
        }
        // What lies in a directory is a file of the bundle; any other entry is for somebody else to see.
        for directory in directories.into_iter().filter(|directory| !directory.is_empty()) {
            let below = format!("{directory}/");
            let holds = bag.files.range(below.clone()..).next().is_some_and(|(name, _)| name.starts_with(&below));
            if !is_name(&directory) || !holds || bag.files.contains_key(&directory) {
                return Err(BagError::Directory(directory.chars().take(NAME_BYTES_MAX).collect()).into());
            }
        }
        // Behind the first member of a gzip file other programs read on.
        if unpacked.limit() == 0 || !unpacked.into_inner().into_inner().fill_buf()?.is_empty() {
            return Err(tar::TarError::Form("something follows on its end"));
        }
        Ok(bag)
    }

    fn read_dir(&mut self, dir: &Path, below: &str, depth: usize) -> Result<(), BagError> {
        if depth > DEPTH_MAX {
            return Err(BagError::TooLarge);
        }
        for entry in fs::read_dir(dir).map_err(at(dir))? {
            let entry = entry.map_err(at(dir))?;
            let path = entry.path();
            let name = entry.file_name();
            let name = name.to_str().ok_or_else(|| BagError::Name(path.display().to_string()))?;
            let name = format!("{below}{name}");
            // Of the entry itself, never of what a link points to.
            let kind = entry.file_type().map_err(at(&path))?;
            if kind.is_dir() {
                self.read_dir(&path, &format!("{name}/"), depth + 1)?;
            } else if kind.is_file() {
                let room = bytes_max(&name)?.min(BUNDLE_BYTES_MAX - self.bytes.min(BUNDLE_BYTES_MAX));
                let file = files::open_regular(&path).map_err(at(&path))?;
                let size = file.metadata().map_err(at(&path))?.len();
                if size > room {
                    return Err(BagError::FileTooLarge(name));
                }
                let mut bytes = Vec::new();
                bytes.try_reserve_exact(usize::try_from(size).unwrap_or(usize::MAX)).map_err(|_| BagError::TooLarge)?;
                file.take(room + 1).read_to_end(&mut bytes).map_err(at(&path))?;
                self.put(&name, bytes)?;
            } else {
                return Err(BagError::Kind(name));
            }
        }
        Ok(())
    }
}

/// SHA-256 in lower-case hex.
pub(crate) fn digest(bytes: &[u8]) -> String {
    event::hex::encode(&Sha256::of(&[bytes]))
}

/// What a `.tar.gz` must be.
const OUTSIDE: tar::TarError = tar::TarError::Form("its files must lie below one directory");

/// How many bytes a file of that name may have.
fn bytes_max(name: &str) -> Result<u64, BagError> {
    if !is_name(name) {
        return Err(BagError::Name(name.chars().take(NAME_BYTES_MAX).collect()));
    }
    Ok(match Path::new(name).extension().and_then(|extension| extension.to_str()) {
        Some("leaf") => LEAF_FILE_BYTES_MAX,
        Some("tlog-proof") => PROOF_FILE_BYTES_MAX,
        _ => FILE_BYTES_MAX,
    })
}

pub(crate) fn new_file(path: &Path) -> Result<File, BagError> {
    OpenOptions::new().write(true).create_new(true).mode(FILE_MODE).open(path).map_err(at(path))
}

pub(crate) fn new_dir(path: &Path) -> Result<(), BagError> {
    DirBuilder::new().mode(DIR_MODE).create(path).map_err(at(path))
}

fn is_name(name: &str) -> bool {
    let is_part = |part: &str| {
        !part.is_empty()
            && !part.starts_with('.')
            && part.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'_' | b'-'))
    };
    name.len() <= NAME_BYTES_MAX && name.split('/').count() <= DEPTH_MAX && name.split('/').all(is_part)
}

pub(crate) fn at(path: &Path) -> impl FnOnce(io::Error) -> BagError {
    |source| BagError::Io { path: path.to_owned(), source }
}
