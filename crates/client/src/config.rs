//! Where the server is, and what opens it.

use std::io::Read as _;
use std::net::{IpAddr, SocketAddr};
use std::path::{Path, PathBuf};
use std::time::Duration;

use http::Uri;
use serde::Deserialize;
use zeroize::Zeroizing;

/// Names the server's address: `https://watch.example:7700`, or `http://` for one on this machine.
pub(crate) const URL_VARIABLE: &str = "WATCHKEEPER_URL";

/// Names an API key with the role `sensor`.
pub(crate) const KEY_VARIABLE: &str = "WATCHKEEPER_API_KEY";

/// Names a file with the authorities that may vouch for the server, in PEM.
pub(crate) const CA_VARIABLE: &str = "WATCHKEEPER_CA";

/// Names the data directory of a server on this machine.
const DATA_VARIABLE: &str = "WATCHKEEPER_DATA";

/// Largest file that tells where a server runs, in bytes: it has a process, an address and a token.
const RUN_FILE_BYTES_MAX: u64 = 16 * 1024;

/// How a client finds its server, and how much it holds for it.
#[derive(Debug, Clone)]
pub struct Config {
    pub(crate) place: Place,
    pub(crate) ca: Option<PathBuf>,
    /// How long an event may take from here to the server's disk; then it is given up and counted.
    pub deadline: Duration,
    /// How long one request may take before it is sent again.
    pub attempt_timeout: Duration,
    /// Whether an attempt that fails is made again until the deadline. A program that somebody waits for (a hook) does not want that.
    pub is_patient: bool,
    /// Most events that wait.
    pub queue_events_max: usize,
    /// Most bytes that wait, as JSON.
    pub queue_bytes_max: usize,
}

/// Where the server is.
#[derive(Debug, Clone)]
pub(crate) enum Place {
    /// At an address, with a key.
    Remote { base: Uri, key: Secret },
    /// On this machine, wherever the run file of its data directory says. It is read anew for each request: a server that is
    /// started again has another port and another token.
    Local { data: PathBuf, key: Option<Secret> },
}

/// A key, which is never shown and is overwritten when it is dropped.
#[derive(Clone)]
pub(crate) struct Secret(Zeroizing<String>);

/// The server cannot be found.
#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    /// The address is none.
    #[error("WATCHKEEPER_URL {url:?} {problem}; give it like https://watch.example:7700")]
    Url {
        /// What was given, without user and password.
        url: String,
        /// What is wrong with it.
        problem: &'static str,
    },
    /// There is an address and no key for it.
    #[error(
        "WATCHKEEPER_URL is set and WATCHKEEPER_API_KEY is not; make a key with `watchkeeper keys create --role sensor NAME`"
    )]
    KeyMissing,
    /// A key has characters that no key has.
    #[error("WATCHKEEPER_API_KEY is not a key; make one with `watchkeeper keys create --role sensor NAME`")]
    KeyMalformed,
    /// Nothing says where a server could be.
    #[error("no server is named; set WATCHKEEPER_URL and WATCHKEEPER_API_KEY, or WATCHKEEPER_DATA for one on this machine")]
    Nowhere,
    /// The authorities cannot be read.
    #[error("WATCHKEEPER_CA {path}: {problem}; name a file with certificates in PEM")]
    Ca {
        /// The file, or `the system` for the system's own.
        path: String,
        /// Why.
        problem: String,
    },
    /// The system has no thread or no runtime to spare.
    #[error("the client cannot start: {0}")]
    Start(#[from] std::io::Error),
}

impl Config {
    /// The server at an address, with an API key that has the role `sensor`. Plain HTTP goes to this machine only: a key and raw
    /// texts must not be read on the way.
    ///
    /// # Errors
    /// When the address or the key is none.
    pub fn new(url: &str, key: &str) -> Result<Self, ConfigError> {
        Ok(Self::at(Place::Remote { base: base(url)?, key: Secret::new(key)? }))
    }

    /// The server that runs on a data directory of this machine, now or later, as the local administrator that whoever may read
    /// that directory is.
    #[must_use]
    pub fn local(data: &Path) -> Self {
        Self::at(Place::Local { data: data.to_owned(), key: None })
    }

    /// What the environment says: `WATCHKEEPER_URL`, `WATCHKEEPER_API_KEY` and `WATCHKEEPER_CA`; without an address, the server on
    /// this machine's data directory (`WATCHKEEPER_DATA`, or the usual one).
    ///
    /// # Errors
    /// When what is set is wrong, or nothing leads anywhere.
    pub fn find() -> Result<Self, ConfigError> {
        Self::from_variables(|name| std::env::var_os(name).filter(|value| !value.is_empty()).map(PathBuf::from))
    }

    /// Certificates in PEM that may vouch for the server, in the place of the system's.
    #[must_use]
    pub fn ca(mut self, path: &Path) -> Self {
        self.ca = Some(path.to_owned());
        self
    }

    fn from_variables(variable: impl Fn(&str) -> Option<PathBuf>) -> Result<Self, ConfigError> {
        let text = |name: &str| variable(name).map(|value| value.to_string_lossy().into_owned());
        let key = text(KEY_VARIABLE).as_deref().map(Secret::new).transpose()?;
        let place = match text(URL_VARIABLE) {
            Some(url) => Place::Remote { base: base(&url)?, key: key.ok_or(ConfigError::KeyMissing)? },
            None => Place::Local { data: data_dir(&variable).ok_or(ConfigError::Nowhere)?, key },
        };
        Ok(Self { ca: variable(CA_VARIABLE), ..Self::at(place) })
    }

    fn at(place: Place) -> Self {
        Self {
            place,
            ca: None,
            deadline: Duration::from_secs(30),
            attempt_timeout: Duration::from_secs(10),
            is_patient: true,
            // A busy agent makes some hundred events a minute: this holds minutes of them.
            queue_events_max: 10_000,
            queue_bytes_max: 32 * 1024 * 1024,
        }
    }
}

/// The usual data directory: `WATCHKEEPER_DATA`, `$XDG_DATA_HOME/watchkeeper` or `~/.local/share/watchkeeper`. `None` when the
/// environment names none of them.
#[must_use]
pub fn default_data_dir() -> Option<PathBuf> {
    data_dir(&|name: &str| std::env::var_os(name).filter(|value| !value.is_empty()).map(PathBuf::from))
}

fn data_dir(variable: &impl Fn(&str) -> Option<PathBuf>) -> Option<PathBuf> {
    variable(DATA_VARIABLE).or_else(|| {
        let base = variable("XDG_DATA_HOME").or_else(|| Some(variable("HOME")?.join(".local/share")))?;
        Some(base.join("watchkeeper"))
    })
}

/// Reads an address, and leaves off what is behind the authority.
fn base(url: &str) -> Result<Uri, ConfigError> {
    let wrong = |problem| ConfigError::Url { url: without_userinfo(url), problem };
    let uri: Uri = url.parse().map_err(|_| wrong("is not a URL"))?;
    let authority = uri.authority().ok_or_else(|| wrong("names no host"))?;
    if authority.as_str().contains('@') {
        return Err(wrong("has a user in it; the key goes into WATCHKEEPER_API_KEY"));
    }
    match uri.scheme_str() {
        Some("https") => {}
        Some("http") if is_loopback(authority.host()) => {}
        Some("http") => return Err(wrong("is plain HTTP to another machine; use https")),
        _ => return Err(wrong("must begin with https://, or http:// for this machine")),
    }
    if !matches!(uri.path(), "" | "/") || uri.query().is_some() {
        return Err(wrong("has a path; only scheme, host and port go here"));
    }
    Ok(uri)
}

fn is_loopback(host: &str) -> bool {
    let host = host.trim_start_matches('[').trim_end_matches(']');
    host.eq_ignore_ascii_case("localhost") || host.parse::<IpAddr>().is_ok_and(|address| address.is_loopback())
}

fn without_userinfo(url: &str) -> String {
    match (url.find("://"), url.rfind('@')) {
        (Some(scheme), Some(at)) if at > scheme => format!("{}://…{}", &url[..scheme], &url[at..]),
        _ => url.to_owned(),
    }
}

impl Secret {
    pub(crate) fn new(key: &str) -> Result<Self, ConfigError> {
        let key = key.trim();
        if key.is_empty() || !key.bytes().all(|byte| byte.is_ascii_graphic()) {
            return Err(ConfigError::KeyMalformed);
        }
        Ok(Self(Zeroizing::new(key.to_owned())))
    }

    pub(crate) fn expose(&self) -> &str {
        &self.0
    }
}

impl std::fmt::Debug for Secret {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Secret(…)")
    }
}

/// What the server writes down about itself while it runs.
#[derive(Deserialize)]
struct RunFile {
    pid: u32,
    console: SocketAddr,
    token: String,
}

/// Where a request goes now, and with which key. The text says what is missing.
pub(crate) fn resolve(place: &Place) -> Result<(String, Secret), String> {
    match place {
        Place::Remote { base, key } => Ok((base.to_string().trim_end_matches('/').to_owned(), key.clone())),
        Place::Local { data, key } => {
            let run = read_run_file(data)?;
            let token = Secret::new(&run.token).map_err(|_| "the token in run/api.json is none".to_owned())?;
            Ok((format!("http://{}", run.console), key.clone().unwrap_or(token)))
        }
    }
}

fn read_run_file(data: &Path) -> Result<RunFile, String> {
    let path = data.join("run/api.json");
    let away = |why: String| {
        let data = data.display();
        format!("no server runs on {data} ({why}); start `watchkeeper serve --data {data}`, or set WATCHKEEPER_URL")
    };
    let mut bytes = Vec::new();
    let file = std::fs::File::open(&path).map_err(|error| away(error.to_string()))?;
    file.take(RUN_FILE_BYTES_MAX).read_to_end(&mut bytes).map_err(|error| away(error.to_string()))?;
    let run: RunFile = serde_json::from_slice(&bytes).map_err(|error| away(error.to_string()))?;
    if !run.console.ip().is_loopback() {
        return Err(away("its address is not on this machine".to_owned()));
    }
    // A server that was killed leaves its file behind, and somebody else may have its port by now.
    if Path::new("/proc/self").exists() && !Path::new("/proc").join(run.pid.to_string()).exists() {
        return Err(away("it has ended".to_owned()));
    }
    Ok(run)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn found(variables: &[(&str, &str)]) -> Result<Config, ConfigError> {
        Config::from_variables(|name| variables.iter().find(|(key, _)| *key == name).map(|(_, value)| PathBuf::from(value)))
    }

    #[test]
    fn the_environment_names_an_address_and_a_key_or_a_directory() {
        let remote =
            found(&[(URL_VARIABLE, "https://w.example:7700"), (KEY_VARIABLE, "wk_abc"), (CA_VARIABLE, "/ca.pem")]).unwrap();
        assert_eq!(
            resolve(&remote.place).map(|(base, key)| (base, key.expose().to_owned())).unwrap(),
            ("https://w.example:7700".to_owned(), "wk_abc".to_owned())
        );
        assert_eq!(remote.ca.as_deref(), Some(Path::new("/ca.pem")));
        assert!(
            matches!(found(&[("HOME", "/h")]).unwrap().place, Place::Local { data, key: None } if data == Path::new("/h/.local/share/watchkeeper"))
        );
        assert!(
            matches!(found(&[("HOME", "/h"), (DATA_VARIABLE, "/d")]).unwrap().place, Place::Local { data, .. } if data == Path::new("/d"))
        );
        assert!(matches!(found(&[]), Err(ConfigError::Nowhere)));
        assert!(matches!(found(&[(URL_VARIABLE, "https://w.example")]), Err(ConfigError::KeyMissing)));
        assert!(matches!(found(&[(URL_VARIABLE, "https://w.example"), (KEY_VARIABLE, "a\nb")]), Err(ConfigError::KeyMalformed)));
    }

    #[test]
    fn a_key_is_not_sent_where_others_read_it_and_is_not_shown() {
        for good in
            ["https://w.example", "https://w.example:7700/", "http://127.0.0.1:7700", "http://localhost:1", "http://[::1]:1"]
        {
            assert!(Config::new(good, "wk_a").is_ok(), "{good}");
        }
        for bad in
            ["w.example", "http://w.example", "ftp://127.0.0.1", "https://u:p@w.example", "https://w.example/v1/events", ""]
        {
            let error = Config::new(bad, "wk_a").unwrap_err().to_string();
            assert!(!error.contains("u:p"), "{error}");
        }
        assert!(!format!("{:?}", Config::new("https://w.example", "wk_secret").unwrap()).contains("wk_secret"));
    }

    #[test]
    fn a_server_that_has_ended_is_not_called() {
        let dir = tempfile::tempdir().unwrap();
        std::fs::create_dir(dir.path().join("run")).unwrap();
        let write = |pid: u32, console: &str| {
            let file = serde_json::json!({"pid": pid, "console": console, "token": "t"});
            std::fs::write(dir.path().join("run/api.json"), file.to_string()).unwrap();
            resolve(&Config::local(dir.path()).place).map(|(base, _)| base)
        };
        assert_eq!(write(std::process::id(), "127.0.0.1:7700").unwrap(), "http://127.0.0.1:7700");
        assert!(write(std::process::id(), "192.0.2.1:7700").is_err());
        if Path::new("/proc/self").exists() {
            assert!(write(u32::MAX, "127.0.0.1:7700").unwrap_err().contains("has ended"));
        }
    }
}
