//! Where the objects of an archive lie: in the data directory, in a directory elsewhere, or in a bucket.
//!
//! The place is written down beside the manifest (`place.json`, without credentials), so that a command without the server's
//! configuration finds the objects, and so that a server whose configuration names another place does not begin a second history
//! there.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use archive::{DirObjects, LockMode, ObjectError, Objects, S3Config, S3Objects, View};
use serde::{Deserialize, Serialize};

use super::cold::ColdError;

/// Directory of the objects beside the manifest, where no other place is configured.
pub(crate) const OBJECTS_DIR: &str = "objects";

/// Where the place is written down, beside the manifest.
const FILE: &str = "place.json";

/// Longest such file.
const FILE_BYTES_MAX: u64 = 64 * 1024;

/// The scheme of URLs of buckets.
const S3_SCHEME: &str = "s3://";

/// The region for a server that is not AWS, most of which ask for none.
const REGION_ELSEWHERE: &str = "us-east-1";

/// `[s3]` of the configuration: how buckets are reached. Credentials are never in the configuration itself.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct S3Settings {
    /// The region; `AWS_REGION` by default.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub region: Option<String>,
    /// The server, for anything but AWS itself. `http://` on loopback only.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub endpoint: Option<String>,
    /// A file with an access key, as `~/.aws/credentials`; by default the environment and the machine's own role give it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub credentials: Option<PathBuf>,
    /// Certificates in PEM of authorities that may vouch for the endpoint, beside those of the system.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub roots: Option<PathBuf>,
}

/// A place for objects.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Place {
    /// `s3://bucket/prefix`, or an absolute path; beside the manifest by default.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub url: Option<String>,
    /// How the bucket is reached.
    pub s3: S3Settings,
    /// Whether objects are locked for the least days of their class.
    pub write_once: bool,
    /// How buckets lock.
    pub lock_mode: LockMode,
}

impl Place {
    /// Opens the place for writing, and finds out whether it can do what is asked of it.
    pub(crate) fn open(&self, dir: &Path) -> Result<Arc<dyn Objects>, ObjectError> {
        let objects: Arc<dyn Objects> = match self.bucket()? {
            Some(config) => Arc::new(S3Objects::open(config)?),
            None => Arc::new(DirObjects::open(&self.directory(dir)?, self.write_once)?),
        };
        objects.check()?;
        Ok(objects)
    }

    /// Opens the place for reading. With `locks`, its locks are looked at, too.
    pub(crate) fn read(&self, dir: &Path, locks: bool) -> Result<Arc<dyn Objects>, ObjectError> {
        Ok(match self.bucket()? {
            Some(config) => Arc::new(S3Objects::open(config)?),
            None => Arc::new(DirObjects::for_reading(&self.directory(dir)?, self.write_once && locks)),
        })
    }

    /// Whether it is a bucket.
    pub(crate) fn is_remote(&self) -> bool {
        self.url.as_deref().is_some_and(|url| url.starts_with(S3_SCHEME))
    }

    /// The bucket, where it is one.
    pub(crate) fn bucket(&self) -> Result<Option<S3Config>, ObjectError> {
        let Some(path) = self.url.as_deref().and_then(|url| url.strip_prefix(S3_SCHEME)) else { return Ok(None) };
        let (bucket, prefix) = path.split_once('/').unwrap_or((path, ""));
        let usual = || ["AWS_REGION", "AWS_DEFAULT_REGION"].iter().find_map(|name| std::env::var(name).ok());
        let elsewhere = || self.s3.endpoint.as_ref().map(|_| REGION_ELSEWHERE.to_owned());
        let region = self.s3.region.clone().or_else(usual).or_else(elsewhere);
        let what = || "must be set in [s3], or AWS_REGION in the environment".to_owned();
        Ok(Some(S3Config {
            bucket: bucket.to_owned(),
            region: region.ok_or_else(|| ObjectError::Config { field: "region", what: what() })?,
            endpoint: self.s3.endpoint.clone(),
            prefix: prefix.trim_end_matches('/').to_owned(),
            lock: self.write_once.then_some(self.lock_mode),
            credentials: self.s3.credentials.clone(),
            roots: self.s3.roots.clone(),
        }))
    }

    /// The directory, where it is one.
    pub(crate) fn directory(&self, dir: &Path) -> Result<PathBuf, ObjectError> {
        match self.url.as_deref() {
            None => Ok(dir.join(OBJECTS_DIR)),
            Some(path) if path.starts_with('/') => Ok(PathBuf::from(path)),
            Some(url) => {
                let what = format!("{url:?} must be s3://bucket/prefix or an absolute path");
                Err(ObjectError::Config { field: "url", what })
            }
        }
    }

    /// What two places must have in common to be the same one.
    fn location<'p>(&'p self) -> (Option<&'p str>, Option<&'p str>) {
        let trimmed = |text: &'p Option<String>| text.as_deref().map(|text| text.trim_end_matches('/'));
        (trimmed(&self.url), trimmed(&self.s3.endpoint))
    }
}

impl std::fmt::Display for Place {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match (&self.url, &self.s3.endpoint) {
            (Some(url), Some(endpoint)) if self.is_remote() => write!(f, "{url} at {endpoint}"),
            (Some(url), _) => f.write_str(url),
            (None, _) => f.write_str("the data directory"),
        }
    }
}

/// The place that is written down in the directory of a manifest; beside the manifest where none is.
pub(crate) fn written(dir: &Path) -> Result<Place, ColdError> {
    let path = dir.join(FILE);
    let error = |what: String| ColdError::Place { path: path.clone(), what };
    match files::read_at_most(&path, FILE_BYTES_MAX).map_err(|source| error(source.to_string()))? {
        Some(bytes) => serde_json::from_slice(&bytes).map_err(|source| error(source.to_string())),
        None => Ok(Place::default()),
    }
}

/// The place to use, and to write down: the configured one where there is one. Where the archive holds something already, that must
/// be there; `view` opens it.
pub(crate) fn settled(
    dir: &Path,
    configured: Option<&Place>,
    view: impl FnOnce(Arc<dyn Objects>) -> Result<View, ColdError>,
) -> Result<Place, ColdError> {
    let known = written(dir)?;
    let Some(place) = configured else { return Ok(known) };
    if place.location() != known.location() && !view(place.read(dir, false)?)?.is_complete()? {
        return Err(ColdError::Moved { known: known.to_string(), configured: place.to_string() });
    }
    if *place != known {
        std::fs::create_dir_all(dir).map_err(|source| ColdError::Place { path: dir.to_owned(), what: source.to_string() })?;
        let path = dir.join(FILE);
        let error = |what: String| ColdError::Place { path: path.clone(), what };
        let bytes = serde_json::to_vec_pretty(place).map_err(|source| error(source.to_string()))?;
        files::write_atomic(&path, &bytes, 0o600).map_err(|source| error(source.to_string()))?;
    }
    Ok(place.clone())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn place(url: &str, endpoint: Option<&str>) -> Place {
        let s3 = S3Settings { endpoint: endpoint.map(str::to_owned), ..S3Settings::default() };
        Place { url: Some(url.to_owned()), s3, ..Place::default() }
    }

    #[test]
    fn a_url_names_a_bucket_or_a_directory() {
        let elsewhere = Some("https://minio.example:9000/");
        for (url, bucket, prefix) in [("s3://b", "b", ""), ("s3://b/p/q/", "b", "p/q"), ("s3://b/", "b", "")] {
            let config = place(url, elsewhere).bucket().unwrap().unwrap();
            assert_eq!((config.bucket.as_str(), config.prefix.as_str(), config.lock), (bucket, prefix, None));
        }
        let locked = Place { write_once: true, ..place("s3://b", elsewhere) };
        assert_eq!(locked.bucket().unwrap().unwrap().lock, Some(LockMode::Compliance));
        assert_eq!(place("/mnt/worm", None).directory(Path::new("/x")).unwrap(), Path::new("/mnt/worm"));
        assert_eq!(Place::default().directory(Path::new("/x")).unwrap(), Path::new("/x/objects"));
        for wrong in ["gs://b", "relative", "http://x", ""] {
            assert!(place(wrong, None).directory(Path::new("/x")).unwrap_err().to_string().contains("s3://"), "{wrong}");
        }
    }
}
