//! Has the log's checkpoints countersigned by witnesses, on a thread of its own: sealing waits for none of them.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use futures_util::future::join_all;
use http::Uri;
use ledger::proof::{self, TileReader};
use ledger::witness::{AddCheckpoint, Answer, read_answer};
use ledger::{Checkpoint, NoteSignature, Policy, SignedNote, VerifierKey};
use tokio::sync::watch;

use crate::config::{Config, ConfigError};
use crate::outbound::{Outbound, read_url};
use crate::standing::Others;

/// How often the newest checkpoint is shown to the witnesses.
const INTERVAL: Duration = Duration::from_secs(2);

/// How long the last checkpoint may take when the server stops.
const LAST_TIMEOUT: Duration = Duration::from_secs(3);

/// How long a witness that failed is left alone.
const RETRY: Duration = Duration::from_secs(15);

/// Requests to one witness for one checkpoint: one that tells its size, one from there, and one for a race between.
const ATTEMPTS: usize = 3;

/// The running thread.
pub(crate) struct Witnessing {
    stop: watch::Sender<bool>,
    thread: std::thread::JoinHandle<()>,
}

struct Peer {
    url: Uri,
    keys: Vec<VerifierKey>,
    /// What it countersigned last, as far as it has told.
    size: u64,
    /// Its cosignatures of the current checkpoint.
    cosigned: Vec<NoteSignature>,
    /// Left alone until then.
    resting: Option<Instant>,
}

struct Work {
    data_dir: PathBuf,
    policy: Option<Policy>,
    peers: Vec<Peer>,
    client: Outbound,
    others: Arc<Others>,
    current: Option<SignedNote>,
    published: usize,
}

impl Witnessing {
    /// Starts the thread, if the configuration names witnesses.
    pub(crate) fn start(data_dir: &Path, config: &Config, others: &Arc<Others>) -> Result<Option<Self>, ConfigError> {
        let policy = config.ledger.policy.as_deref().map(read_policy).transpose()?;
        let peers = peers(config, policy.as_ref())?;
        if peers.is_empty() {
            return Ok(None);
        }
        let client = Outbound::new(peers.iter().map(|peer| &peer.url));
        let client = client.map_err(|what| ConfigError::Witness { url: String::new(), what })?;
        let work =
            Work { data_dir: data_dir.to_owned(), policy, client, others: others.clone(), peers, current: None, published: 0 };
        let (stop, stopped) = watch::channel(false);
        let unusable = |error: std::io::Error| ConfigError::Witness { url: String::new(), what: error.to_string() };
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().map_err(unusable)?;
        let run = move || runtime.block_on(work.run(stopped));
        let thread = std::thread::Builder::new().name("witness".to_owned()).spawn(run).map_err(unusable)?;
        Ok(Some(Self { stop, thread }))
    }

    /// Shows the last checkpoint, and ends. Call it when the last one is sealed.
    pub(crate) fn stop(self) {
        self.stop.send_replace(true);
        // A panic has been printed by the thread itself.
        drop(self.thread.join());
    }
}

impl Work {
    async fn run(mut self, mut stop: watch::Receiver<bool>) {
        loop {
            let stopping = tokio::time::timeout(INTERVAL, stop.wait_for(|stop| *stop)).await.is_ok();
            if stopping {
                drop(tokio::time::timeout(LAST_TIMEOUT, self.round(Instant::now())).await);
                return;
            }
            self.round(Instant::now()).await;
        }
    }

    async fn round(&mut self, now: Instant) {
        let note = match ledger::published_checkpoint(&self.data_dir) {
            Ok(Some(note)) => note,
            Ok(None) => return,
            Err(error) => return tracing::error!(%error, "the published checkpoint cannot be read for the witnesses"),
        };
        if self.current.as_ref() != Some(&note) {
            self.current = Some(note.clone());
            self.published = 0;
            for peer in &mut self.peers {
                peer.cosigned.clear();
            }
        }
        let (data_dir, client, others) = (&self.data_dir, &self.client, &*self.others);
        let due = self.peers.iter_mut().filter(|peer| peer.cosigned.is_empty() && peer.resting.is_none_or(|until| until <= now));
        join_all(due.map(|peer| peer.ask(client, data_dir, &note, others))).await;
        self.publish(note);
    }

    fn publish(&mut self, note: SignedNote) {
        let cosignatures: Vec<NoteSignature> = self.peers.iter().flat_map(|peer| peer.cosigned.clone()).collect();
        let count = cosignatures.len();
        if count <= self.published {
            return;
        }
        let note = match note.with(cosignatures) {
            Ok(note) => note,
            Err(error) => return tracing::error!(%error, "cosignatures do not fit beside the checkpoint"),
        };
        // Short of the quorum the last checkpoint that reached it stays.
        if let Some(Err(error)) = self.policy.as_ref().map(|policy| policy.check_witnesses(&note)) {
            return tracing::warn!(%error, "the newest checkpoint is not witnessed yet");
        }
        match ledger::publish_witnessed(&self.data_dir, &note) {
            Ok(()) => self.published = count,
            Err(error) => tracing::error!(%error, "ledger/witnessed cannot be written"),
        }
    }
}

impl Peer {
    async fn ask(&mut self, client: &Outbound, data_dir: &Path, note: &SignedNote, others: &Others) {
        let outcome = self.attempt(client, data_dir, note).await;
        others.witnesses.note(&self.url.to_string(), outcome.as_ref().err().map(String::as_str));
        match outcome {
            Ok(cosigned) => (self.cosigned, self.resting) = (cosigned, None),
            Err(what) => {
                tracing::warn!(witness = %self.url, what, "a witness did not countersign");
                self.resting = Some(Instant::now() + RETRY);
            }
        }
    }

    async fn attempt(&mut self, client: &Outbound, data_dir: &Path, note: &SignedNote) -> Result<Vec<NoteSignature>, String> {
        let size = Checkpoint::parse(note.text()).map_err(|error| error.to_string())?.size;
        for _ in 0..ATTEMPTS {
            if self.size > size {
                let told = self.size;
                // It may have lied, or our ledger was rolled back; the next answer tells again.
                self.size = 0;
                return Err(format!(
                    "it says that it countersigned {told} records of this log, which has {size}: this record was rolled back or \
                     copied, or the witness is wrong"
                ));
            }
            let proof = proof::consistency(&TileReader::new(data_dir, size), self.size, size);
            // A seal in between removes tiles of this size; the next round takes the next checkpoint.
            let proof = proof.map_err(|error| error.to_string())?;
            let request = AddCheckpoint { old: self.size, proof, checkpoint: note.clone() };
            let (status, body) = client.post(&self.url, "text/plain", request.encode()).await?;
            match read_answer(status, &body, note, &self.keys) {
                Answer::Cosigned(signatures) => {
                    self.size = size;
                    return Ok(signatures);
                }
                Answer::Conflict(told) if told != self.size => self.size = told,
                Answer::Conflict(told) => return Err(format!("it asks for a proof from {told} records, and was given one")),
                Answer::Inconsistent => {
                    tracing::error!(witness = %self.url, size, from = self.size, "the log has forked, says a witness");
                    return Err("it countersigned another history of this log: the log has forked".to_owned());
                }
                Answer::Unknown(status) => return Err(format!("it does not take this log's signatures ({status})")),
                Answer::Failed(what) => return Err(what),
            }
        }
        Err("it tells another size each time".to_owned())
    }
}

/// The policy by which a checkpoint counts as witnessed, as text: the one of the configuration, or one of the witnesses that it names,
/// which asks for none of them. `None` when it names none.
pub(crate) fn policy_text(config: &Config) -> Result<Option<String>, ConfigError> {
    if let Some(path) = &config.ledger.policy {
        let text = read_policy_text(path)?;
        let needs_witnesses = parse_policy(path, &text)?.needs_witnesses();
        return Ok((needs_witnesses || !config.witness.is_empty()).then_some(text));
    }
    if config.witness.is_empty() {
        return Ok(None);
    }
    let witnesses =
        (1..).zip(&config.witness).map(|(number, witness)| format!("witness w{number} {} {}\n", witness.vkey, witness.url));
    Ok(Some(witnesses.collect::<String>() + "quorum none\n"))
}

fn read_policy(path: &Path) -> Result<Policy, ConfigError> {
    parse_policy(path, &read_policy_text(path)?)
}

fn read_policy_text(path: &Path) -> Result<String, ConfigError> {
    let bytes = std::fs::read(path).map_err(|source| ConfigError::Read { path: path.to_owned(), source })?;
    let refuse = |error: std::string::FromUtf8Error| ConfigError::Policy { path: path.to_owned(), what: error.to_string() };
    String::from_utf8(bytes).map_err(refuse)
}

fn parse_policy(path: &Path, text: &str) -> Result<Policy, ConfigError> {
    text.parse().map_err(|error: ledger::PolicyError| ConfigError::Policy { path: path.to_owned(), what: error.to_string() })
}

/// The witnesses of the configuration, and those of the policy that have a URL; one for each URL, with all its keys.
fn peers(config: &Config, policy: Option<&Policy>) -> Result<Vec<Peer>, ConfigError> {
    let mut peers: Vec<Peer> = Vec::new();
    let mut add = |url: &str, key: VerifierKey| -> Result<(), ConfigError> {
        let refuse = |what: &str| ConfigError::Witness { url: url.to_owned(), what: what.to_owned() };
        let uri = read_url(&format!("{}/add-checkpoint", url.trim_end_matches('/'))).map_err(refuse)?;
        match peers.iter_mut().find(|peer| peer.url == uri) {
            Some(peer) if peer.keys.contains(&key) => {}
            Some(peer) => peer.keys.push(key),
            None => peers.push(Peer { url: uri, keys: vec![key], size: 0, cosigned: Vec::new(), resting: None }),
        }
        Ok(())
    };
    for witness in &config.witness {
        let refuse = |error: ledger::NoteError| ConfigError::Witness { url: witness.url.clone(), what: error.to_string() };
        add(&witness.url, witness.vkey.parse().map_err(refuse)?)?;
    }
    for witness in policy.map(Policy::witnesses).unwrap_or_default() {
        if let Some(url) = &witness.url {
            add(url, witness.key.clone())?;
        }
    }
    Ok(peers)
}
