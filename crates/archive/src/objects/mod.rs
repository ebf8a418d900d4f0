//! Where objects lie: a directory, or an S3 bucket. Objects are written once, under names that follow from their bytes.

mod dir;
mod network;
mod public;
mod s3;

use std::fmt;

use aws_lc_rs::digest;
use bytes::Bytes;
use event::Timestamp;
use serde::{Deserialize, Serialize};

pub use dir::DirObjects;
pub use public::{PublicBucket, PublicDir, PublicSite};
pub use s3::{LockMode, S3Config, S3Objects};

/// A place for objects. Calls block; what they report done is durable.
pub trait Objects: Send + Sync + fmt::Debug {
    /// Puts an object where there is none of that name. One that has the same bytes already is taken as put.
    /// With `lock_until`, nobody can delete it before (write once, read many), as far as the place can promise that.
    fn put(&self, name: &ObjectName, bytes: &Bytes, lock_until: Option<Timestamp>) -> Result<Put, ObjectError>;

    /// The bytes of an object of at most `bytes_max`; with `version`, of that version of it. `None` when it is not there.
    fn get(&self, name: &ObjectName, version: Option<&str>, bytes_max: u64) -> Result<Option<Bytes>, ObjectError>;

    /// Deletes an object. `false` when its lock does not let it go yet.
    fn delete(&self, name: &ObjectName, version: Option<&str>) -> Result<bool, ObjectError>;

    /// The names of all objects there are, whether they are ours or not, sorted; at most `names_max`.
    fn list(&self, names_max: usize) -> Result<Vec<String>, ObjectError>;

    /// Whether locks and holds are kept by the place itself (write once, read many), and not by us alone.
    fn is_write_once(&self) -> bool {
        false
    }

    /// Finds out whether the place can do what is asked of it, before anything rests on that.
    fn check(&self) -> Result<(), ObjectError> {
        Ok(())
    }

    /// Removes what interrupted puts left. Only the one writer calls it, before it puts anything.
    fn clean(&self) -> Result<(), ObjectError> {
        Ok(())
    }

    /// What protects an object against deletion.
    fn protection(&self, name: &ObjectName, version: Option<&str>) -> Result<Protection, ObjectError>;

    /// Sets or lifts a legal hold: while it is set, the object cannot be deleted, whatever its lock says.
    fn hold(&self, name: &ObjectName, version: Option<&str>, on: bool) -> Result<(), ObjectError>;
}

/// What was put.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Put {
    /// The version that a versioned bucket gave it.
    pub version: Option<String>,
}

/// What protects an object.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Protection {
    /// Nobody can delete it before.
    pub locked_until: Option<Timestamp>,
    /// Whether it is under a legal hold.
    pub held: bool,
}

/// The name of an object.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub enum ObjectName {
    /// One of a segment's two, named by the SHA-256 of its bytes.
    Segment(Digest),
    /// A copy of a generation of the manifest.
    Manifest(u64),
}

/// Why a place did not do what was asked.
#[derive(Debug, thiserror::Error)]
pub enum ObjectError {
    /// The system, or the network.
    #[error("object {name}: {what}")]
    Failed {
        /// The object.
        name: String,
        /// What happened.
        what: String,
    },
    /// Something else lies under the name.
    #[error("object {0} exists with other bytes; objects are never replaced: find out who wrote it")]
    Exists(String),
    /// It is larger than it may be.
    #[error("object {name} has more than {bytes_max} bytes")]
    TooLarge {
        /// The object.
        name: String,
        /// The most it may have.
        bytes_max: u64,
    },
    /// Write-once storage was asked for and cannot be had.
    #[error("{name} cannot be locked: {what}")]
    NoLock {
        /// The object, or the place.
        name: String,
        /// Why, and what to do.
        what: String,
    },
    /// How the place is configured.
    #[error("object store {field}: {what}")]
    Config {
        /// The field.
        field: &'static str,
        /// What is wrong, and what to write instead.
        what: String,
    },
}

impl fmt::Display for ObjectName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Segment(digest) => write!(f, "segments/{digest}.parquet.age"),
            Self::Manifest(generation) => write!(f, "manifest/{generation:020}"),
        }
    }
}

impl ObjectName {
    /// Reads a name; `None` when no object of ours has it.
    #[must_use]
    pub fn parse(name: &str) -> Option<Self> {
        let parsed = match name.split_once('/')? {
            ("segments", rest) => Self::Segment(rest.strip_suffix(".parquet.age")?.parse().ok()?),
            ("manifest", rest) => Self::Manifest(rest.parse().ok()?),
            _ => return None,
        };
        (parsed.to_string() == name).then_some(parsed)
    }
}

/// A SHA-256.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Digest(pub [u8; 32]);

/// A text is no digest.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("digest must be 64 hexadecimal characters in lower case")]
pub struct DigestError;

impl Digest {
    /// The digest of bytes.
    #[must_use]
    pub fn of(bytes: &[u8]) -> Self {
        let mut digest = [0; 32];
        digest.copy_from_slice(digest::digest(&digest::SHA256, bytes).as_ref());
        Self(digest)
    }
}

impl std::str::FromStr for Digest {
    type Err = DigestError;

    fn from_str(text: &str) -> Result<Self, DigestError> {
        let (pairs, rest) = text.as_bytes().as_chunks::<2>();
        if pairs.len() != 32 || !rest.is_empty() {
            return Err(DigestError);
        }
        let mut digest = [0; 32];
        for (byte, pair) in digest.iter_mut().zip(pairs) {
            let [high, low] = pair.map(|digit| match digit {
                b'0'..=b'9' => Some(digit - b'0'),
                b'a'..=b'f' => Some(digit - b'a' + 10),
                _ => None,
            });
            *byte = high.ok_or(DigestError)? << 4 | low.ok_or(DigestError)?;
        }
        Ok(Self(digest))
    }
}

impl TryFrom<String> for Digest {
    type Error = DigestError;

    fn try_from(text: String) -> Result<Self, DigestError> {
        text.parse()
    }
}

impl From<Digest> for String {
    fn from(digest: Digest) -> Self {
        digest.to_string()
    }
}

impl fmt::Display for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&event::hex::encode(&self.0))
    }
}

impl fmt::Debug for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}
