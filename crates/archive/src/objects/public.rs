//! Places that a log is published at, for everybody to read: a bucket, a directory that a web server serves, a web site.

use std::fs::{DirBuilder, File, OpenOptions, TryLockError};
use std::io::{self, Read as _};
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use http::{Method, StatusCode};
use ledger::public::{PlaceError, PublicFiles, PublicPlace};
use object_store::ClientOptions;
use object_store::client::{HttpRequest, HttpRequestBody};

use super::network::{Answer, Network, execute, tried};
use super::s3::{Ask, checksum};
use super::{ObjectError, S3Config, S3Objects};

/// Requests that are under way at once.
const REQUESTS_AT_ONCE: usize = 16;

/// Most files of one partial tile, one for each width.
const PARTIALS_MAX: usize = 1_024;

/// Longest time for one file of a web site, each of which has half a megabyte at the most.
const REQUEST_TIMEOUT: Duration = Duration::from_secs(60);

/// How long what never changes may be kept by whoever serves it on.
const IMMUTABLE: &str = "public, max-age=31536000, immutable";

/// What changes is asked for again after some seconds (C2SP tlog-tiles).
const MUTABLE: &str = "public, max-age=5";

/// Held by the one process that publishes to a directory, as long as it runs.
const LOCK_FILE: &str = ".lock";

/// The mode of published files and of their directories: whoever serves them is somebody else.
const FILE_MODE: u32 = 0o644;
const DIR_MODE: u32 = 0o755;

/// A bucket of which anybody may read a part.
#[derive(Debug)]
pub struct PublicBucket(S3Objects);

/// A directory that somebody serves, or a copy of one.
#[derive(Debug)]
pub struct PublicDir {
    dir: PathBuf,
    /// Taken with the first file that is put.
    lock: Mutex<Option<File>>,
}

/// A log on a web server. It is only read.
pub struct PublicSite {
    base: String,
    network: Network,
}

impl PublicBucket {
    /// Opens a bucket; asks nothing of it yet.
    ///
    /// # Errors
    /// When the configuration or the credentials cannot be used.
    pub fn open(config: S3Config) -> Result<Self, ObjectError> {
        S3Objects::open(config).map(Self)
    }

    fn put_headers(name: &str, bytes: &[u8], cached: &str, condition: (&'static str, String)) -> Vec<(&'static str, String)> {
        let mut headers = vec![("content-type", content_type(name).to_owned()), ("cache-control", cached.to_owned()), condition];
        headers.extend(checksum(bytes));
        headers
    }

    /// What the bucket answers to a request for each of these files; `None` for those that are not there.
    fn answers(&self, wanted: &[(String, usize)]) -> Result<Vec<Option<Answer>>, PlaceError> {
        let mut answers = Vec::with_capacity(wanted.len());
        for some in wanted.chunks(REQUESTS_AT_ONCE) {
            let asks = some.iter().map(|(name, bytes_max)| Ask::new(Method::GET, name).up_to(*bytes_max as u64));
            for ((name, _), answer) in some.iter().zip(self.0.send_all(asks.collect()).map_err(failed)?) {
                answers.push(match answer.status {
                    StatusCode::NOT_FOUND => None,
                    status if status.is_success() => Some(answer),
                    _ => return Err(failed(answer.refused(name))),
                });
            }
        }
        Ok(answers)
    }
}

impl PublicFiles for PublicBucket {
    fn get(&self, name: &str, bytes_max: usize) -> Result<Option<Vec<u8>>, PlaceError> {
        Ok(self.get_all(&[(name.to_owned(), bytes_max)])?.pop().flatten())
    }

    fn get_all(&self, wanted: &[(String, usize)]) -> Result<Vec<Option<Vec<u8>>>, PlaceError> {
        Ok(self.answers(wanted)?.into_iter().map(|answer| answer.map(|answer| answer.body.to_vec())).collect())
    }
}

impl PublicPlace for PublicBucket {
    fn create(&self, name: &str, bytes: &[u8]) -> Result<(), PlaceError> {
        self.create_all(&[(name.to_owned(), bytes.to_vec())])
    }

    fn create_all(&self, files: &[(String, Vec<u8>)]) -> Result<(), PlaceError> {
        for some in files.chunks(REQUESTS_AT_ONCE) {
            let headers: Vec<_> = some
                .iter()
                .map(|(name, bytes)| Self::put_headers(name, bytes, IMMUTABLE, ("if-none-match", "*".to_owned())))
                .collect();
            let asks = some
                .iter()
                .zip(&headers)
                .map(|((name, bytes), headers)| Ask::new(Method::PUT, name).headers(headers).body(Bytes::copy_from_slice(bytes)));
            let answers = self.0.send_all(asks.collect()).map_err(failed)?;
            for ((name, bytes), answer) in some.iter().zip(answers) {
                match answer.status {
                    status if status.is_success() => {}
                    // Put before, by an earlier try of ours or by somebody else.
                    StatusCode::PRECONDITION_FAILED | StatusCode::CONFLICT => match self.get(name, bytes.len())? {
                        Some(there) if there == *bytes => {}
                        Some(_) => return Err(PlaceError::Differs(name.clone())),
                        None => {
                            let what = "was there a moment ago, and is not now; this is tried again".to_owned();
                            return Err(PlaceError::Failed { name: name.clone(), what });
                        }
                    },
                    _ => return Err(failed(answer.refused(name))),
                }
            }
        }
        Ok(())
    }

    fn exchange(&self, name: &str, before: Option<&[u8]>, bytes: &[u8]) -> Result<(), PlaceError> {
        let bytes_max = before.map_or(0, <[u8]>::len);
        let there = self.answers(&[(name.to_owned(), bytes_max)])?.pop().flatten();
        let changed = || PlaceError::Changed(name.to_owned());
        let condition = match (&there, before) {
            (None, None) => ("if-none-match", "*".to_owned()),
            (Some(answer), Some(before)) if answer.body[..] == *before => {
                let what = "the server tells no ETag of it, without which two who publish would not see each other".to_owned();
                let tag = answer.header("etag").ok_or(PlaceError::Failed { name: name.to_owned(), what })?;
                ("if-match", tag)
            }
            _ => return Err(changed()),
        };
        let headers = Self::put_headers(name, bytes, MUTABLE, condition);
        let ask = Ask::new(Method::PUT, &name).headers(&headers).body(Bytes::copy_from_slice(bytes));
        let answer = self.0.send(ask).map_err(failed)?;
        match answer.status {
            status if status.is_success() => Ok(()),
            // Put by an earlier try of ours, or by somebody else; or gone.
            StatusCode::PRECONDITION_FAILED | StatusCode::CONFLICT | StatusCode::NOT_FOUND => {
                if self.get(name, bytes.len())?.as_deref() == Some(bytes) { Ok(()) } else { Err(changed()) }
            }
            _ => Err(failed(answer.refused(&name))),
        }
    }

    fn remove(&self, name: &str) -> Result<(), PlaceError> {
        let answer = self.0.send(Ask::new(Method::DELETE, &name)).map_err(failed)?;
        match answer.status {
            StatusCode::NOT_FOUND => Ok(()),
            status if status.is_success() => Ok(()),
            _ => Err(failed(answer.refused(&name))),
        }
    }

    fn list(&self, dir: &str) -> Result<Vec<String>, PlaceError> {
        self.0.list_below(dir, PARTIALS_MAX).map_err(failed)
    }
}

impl PublicDir {
    /// The directory; made, with those above it, when something is put there.
    #[must_use]
    pub fn new(dir: &Path) -> Self {
        Self { dir: dir.to_owned(), lock: Mutex::new(None) }
    }

    /// Makes sure that nobody else publishes here as long as this is there, and that the directory of a file is.
    fn to_put(&self, name: &str) -> Result<PathBuf, PlaceError> {
        let by_system = |error: io::Error| by_system(name, &error);
        let path = self.dir.join(name);
        let parent = path.parent().ok_or_else(|| by_system(io::ErrorKind::InvalidInput.into()))?;
        DirBuilder::new().recursive(true).mode(DIR_MODE).create(parent).map_err(by_system)?;
        let mut held = self.lock.lock().unwrap_or_else(PoisonError::into_inner);
        if held.is_none() {
            let lock_path = self.dir.join(LOCK_FILE);
            let lock = OpenOptions::new().write(true).create(true).truncate(false).mode(FILE_MODE).open(&lock_path);
            let lock = lock.map_err(by_system)?;
            match lock.try_lock() {
                Ok(()) => *held = Some(lock),
                Err(TryLockError::WouldBlock) => return Err(PlaceError::Taken(lock_path.display().to_string())),
                Err(TryLockError::Error(error)) => return Err(by_system(error)),
            }
        }
        Ok(path)
    }
}

impl PublicFiles for PublicDir {
    fn get(&self, name: &str, bytes_max: usize) -> Result<Option<Vec<u8>>, PlaceError> {
        let read = || {
            let file = match File::open(self.dir.join(name)) {
                Err(error) if matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory) => return Ok(None),
                file => file?,
            };
            let mut bytes = Vec::new();
            file.take((bytes_max as u64).saturating_add(1)).read_to_end(&mut bytes)?;
            Ok(Some(bytes))
        };
        read().map_err(|error: io::Error| by_system(name, &error))
    }
}

impl PublicPlace for PublicDir {
    fn create(&self, name: &str, bytes: &[u8]) -> Result<(), PlaceError> {
        let path = self.to_put(name)?;
        match files::write_new(&path, bytes, FILE_MODE) {
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => match self.get(name, bytes.len())? {
                Some(there) if there == bytes => Ok(()),
                _ => Err(PlaceError::Differs(name.to_owned())),
            },
            written => written.map_err(|error| by_system(name, &error)),
        }
    }

    fn exchange(&self, name: &str, before: Option<&[u8]>, bytes: &[u8]) -> Result<(), PlaceError> {
        let path = self.to_put(name)?;
        let bytes_max = bytes.len().max(before.map_or(0, <[u8]>::len));
        // Under the lock: whoever else writes here is no publisher.
        let there = self.get(name, bytes_max)?;
        if there.as_deref() == Some(bytes) {
            return Ok(());
        }
        if there.as_deref() != before {
            return Err(PlaceError::Changed(name.to_owned()));
        }
        files::write_atomic(&path, bytes, FILE_MODE).map_err(|error| by_system(name, &error))
    }

    fn remove(&self, name: &str) -> Result<(), PlaceError> {
        let path = self.to_put(name)?;
        files::remove(&path).map_err(|error| by_system(name, &error))?;
        // The directory of partial tiles goes with the last of them.
        if let Some(parent) = path.parent().filter(|parent| parent.extension().is_some_and(|extension| extension == "p")) {
            drop(std::fs::remove_dir(parent));
        }
        Ok(())
    }

    fn list(&self, dir: &str) -> Result<Vec<String>, PlaceError> {
        let entries = match std::fs::read_dir(self.dir.join(dir)) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
            entries => entries.map_err(|error| by_system(dir, &error))?,
        };
        let mut names = Vec::new();
        for entry in entries.take(PARTIALS_MAX) {
            let entry = entry.map_err(|error| by_system(dir, &error))?;
            names.push(format!("{dir}/{}", entry.file_name().to_string_lossy()));
        }
        Ok(names)
    }
}

impl PublicSite {
    /// The log below a URL, `https://` or `http://`: what is read there is verified, so the way need not be trusted.
    ///
    /// # Errors
    /// When it is no such URL.
    pub fn open(url: &str) -> Result<Self, ObjectError> {
        let wrong = |what: String| ObjectError::Config { field: "url", what };
        let uri: http::Uri = url.parse().map_err(|error: http::uri::InvalidUri| wrong(format!("{url:?}: {error}")))?;
        let is_web = matches!(uri.scheme_str(), Some("https" | "http")) && uri.authority().is_some() && uri.query().is_none();
        if !is_web {
            return Err(wrong(format!("{url:?} must begin with https:// or http://, and have no query")));
        }
        let options = ClientOptions::new().with_allow_http(true).with_timeout(REQUEST_TIMEOUT);
        let network = Network::open(&options).map_err(wrong)?;
        Ok(Self { base: url.trim_end_matches('/').to_owned(), network })
    }

    fn read(&self, wanted: &[(String, usize)]) -> Result<Vec<Option<Vec<u8>>>, PlaceError> {
        let mut files = Vec::with_capacity(wanted.len());
        for some in wanted.chunks(REQUESTS_AT_ONCE) {
            let first = some.first().map_or("", |(name, _)| name);
            let request = |(name, bytes_max): &(String, usize)| {
                let request: HttpRequest = http::Request::builder()
                    .uri(format!("{}/{name}", self.base))
                    .header("accept-encoding", "identity")
                    .body(HttpRequestBody::empty())
                    .map_err(|error| PlaceError::Failed { name: name.clone(), what: error.to_string() })?;
                let (client, bytes_max) = (self.network.client(), *bytes_max as u64);
                Ok(tried(move || {
                    let (client, request) = (client.clone(), request.clone());
                    async move { execute(&client, request, bytes_max).await }
                }))
            };
            let requests = some.iter().map(request).collect::<Result<Vec<_>, PlaceError>>()?;
            let answers = self.network.wait(&first, futures_util::future::try_join_all(requests)).map_err(failed)?;
            for ((name, _), answer) in some.iter().zip(answers) {
                files.push(match answer.status {
                    // A bucket that may not be listed says "forbidden" of what is not there.
                    StatusCode::NOT_FOUND | StatusCode::GONE | StatusCode::FORBIDDEN => None,
                    status if status.is_success() => Some(answer.body.to_vec()),
                    _ => return Err(failed(answer.refused(name))),
                });
            }
        }
        Ok(files)
    }
}

impl std::fmt::Debug for PublicSite {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("PublicSite").field("base", &self.base).finish_non_exhaustive()
    }
}

impl PublicFiles for PublicSite {
    fn get(&self, name: &str, bytes_max: usize) -> Result<Option<Vec<u8>>, PlaceError> {
        Ok(self.read(&[(name.to_owned(), bytes_max)])?.pop().flatten())
    }

    fn get_all(&self, wanted: &[(String, usize)]) -> Result<Vec<Option<Vec<u8>>>, PlaceError> {
        self.read(wanted)
    }
}

/// What a file is served as (C2SP tlog-tiles).
fn content_type(name: &str) -> &'static str {
    let is_text = !name.starts_with("tile/") && !name.ends_with(".tsr");
    match is_text {
        true if name.ends_with(".json") => "application/json",
        true => "text/plain; charset=utf-8",
        false => "application/octet-stream",
    }
}

fn failed(error: ObjectError) -> PlaceError {
    let name = match &error {
        ObjectError::Failed { name, what } => return PlaceError::Failed { name: name.clone(), what: what.clone() },
        _ => String::new(),
    };
    PlaceError::Failed { name, what: error.to_string() }
}

fn by_system(name: &str, error: &io::Error) -> PlaceError {
    PlaceError::Failed { name: name.to_owned(), what: error.to_string() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_directory_keeps_what_never_changes_and_replaces_what_does() {
        let dir = tempfile::tempdir().unwrap();
        let place = PublicDir::new(&dir.path().join("log"));
        assert_eq!(place.get("checkpoint", 10).unwrap(), None);
        place.create("tile/0/x001/002", b"one").unwrap();
        place.create("tile/0/x001/002", b"one").unwrap();
        assert_eq!(place.create("tile/0/x001/002", b"two"), Err(PlaceError::Differs("tile/0/x001/002".to_owned())));
        assert_eq!(place.create("tile/0/x001/002", b"on"), Err(PlaceError::Differs("tile/0/x001/002".to_owned())));
        assert_eq!(place.get("tile/0/x001/002", 1).unwrap().as_deref(), Some(&b"on"[..]), "a longer one is seen to be longer");
        for (before, text) in [(None, "a"), (Some("a"), "b"), (Some("a"), "b")] {
            place.exchange("checkpoint", before.map(str::as_bytes), text.as_bytes()).unwrap();
            assert_eq!(place.get("checkpoint", 10).unwrap().as_deref(), Some(text.as_bytes()));
        }
        for before in [None, Some("a"), Some("bb"), Some("")] {
            let changed = place.exchange("checkpoint", before.map(str::as_bytes), b"c");
            assert_eq!(changed, Err(PlaceError::Changed("checkpoint".to_owned())), "{before:?}");
        }
        assert_eq!(place.get("checkpoint", 10).unwrap().as_deref(), Some(&b"b"[..]));
        place.create("tile/0/001.p/7", b"p").unwrap();
        assert_eq!(place.list("tile/0/001.p").unwrap(), ["tile/0/001.p/7"]);
        place.remove("tile/0/001.p/7").unwrap();
        place.remove("tile/0/001.p/7").unwrap();
        assert_eq!(place.list("tile/0/001.p").unwrap(), Vec::<String>::new());
        assert!(!dir.path().join("log/tile/0/001.p").exists());
        let mut left: Vec<_> =
            std::fs::read_dir(dir.path().join("log")).unwrap().map(|entry| entry.unwrap().file_name()).collect();
        left.sort();
        assert_eq!(left, [LOCK_FILE, "checkpoint", "tile"]);
    }

    #[test]
    fn one_at_a_time_publishes_to_a_directory_and_everybody_reads() {
        let dir = tempfile::tempdir().unwrap();
        let (first, second) = (PublicDir::new(dir.path()), PublicDir::new(dir.path()));
        first.create("vkey", b"key").unwrap();
        let taken = PlaceError::Taken(dir.path().join(LOCK_FILE).display().to_string());
        assert_eq!(second.create("vkey", b"key"), Err(taken.clone()));
        assert_eq!(second.exchange("checkpoint", None, b"a"), Err(taken.clone()));
        assert_eq!(second.remove("vkey"), Err(taken));
        assert_eq!(second.get("vkey", 10).unwrap().as_deref(), Some(&b"key"[..]));
        drop(first);
        second.exchange("checkpoint", None, b"a").unwrap();
    }

    #[test]
    fn a_site_is_a_web_address() {
        for good in ["https://log.example/a", "http://127.0.0.1:1/"] {
            assert!(PublicSite::open(good).is_ok(), "{good}");
        }
        for bad in ["log.example", "ftp://log.example", "https://", "https://log.example/?x", "s3://bucket"] {
            assert!(PublicSite::open(bad).is_err(), "{bad}");
        }
    }
}
