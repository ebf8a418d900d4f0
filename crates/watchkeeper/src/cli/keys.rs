//! Commands of keys: of callers, of the log, of witnesses, of the egress proxy.

use std::path::PathBuf;

use clap::{Subcommand, ValueEnum};

use super::{Data, Format};

#[derive(Debug, Subcommand)]
pub(crate) enum Witness {
    /// Run a witness (C2SP tlog-witness)
    #[command(
        after_help = "Example:\n  watchkeeper witness serve --listen 127.0.0.1:7720 --state /var/lib/witness \\\n      --name witness.example/1 --log ./vkey"
    )]
    Serve {
        /// Where to listen; without a certificate on loopback only
        #[arg(long, value_name = "ADDR")]
        listen: std::net::SocketAddr,
        /// The directory of its keys and of the checkpoints that it countersigned last; keep it whole
        #[arg(long, value_name = "DIR")]
        state: PathBuf,
        /// The name of its keys, when they are made
        #[arg(long)]
        name: Option<String>,
        /// A key of a log, or a file with keys (`ledger/vkey`); several of one name are one log's
        #[arg(long, value_name = "VKEY", required = true)]
        log: Vec<String>,
        /// The certificate chain, PEM
        #[arg(long, value_name = "FILE", requires = "key")]
        certificate: Option<PathBuf>,
        /// The certificate's private key, PEM
        #[arg(long, value_name = "FILE", requires = "certificate")]
        key: Option<PathBuf>,
    },
}

#[derive(Debug, Subcommand)]
pub(crate) enum Egress {
    /// Print the certificate of the authority that vouches for intercepted hosts, in PEM; it is made when there is none
    #[command(
        after_help = "Example:\n  watchkeeper egress ca > egress-ca.pem\n  curl --cacert egress-ca.pem --proxy http://127.0.0.1:4020 https://api.example.com/\n\nIts clients trust it beside the authorities that they have: docs/guides/egress.md."
    )]
    Ca {
        #[command(flatten)]
        data: Data,
    },
}

#[derive(Debug, Subcommand)]
pub(crate) enum Keys {
    /// Make a key and print it, once: a role, a name, and how long it is good for
    #[command(
        after_help = "Example:\n  watchkeeper keys create --role sensor \"checkout service\"\n  watchkeeper keys create --role auditor --days 90 \"audit of 2026\"\n\nRoles: sensor sends events and asks for scores, and reads nothing; auditor reads the record without contents, and verifies; analyst reads contents, and works on detections; admin does everything.\nThe name stands in the record for whatever is done with the key. Without --days the key never ends by itself; `watchkeeper keys revoke ID` ends it."
    )]
    Create {
        #[command(flatten)]
        data: Data,
        /// What it may do: admin, analyst, auditor, sensor
        #[arg(long)]
        role: String,
        /// Days until it ends [default: it never does]
        #[arg(long, value_name = "DAYS", value_parser = clap::value_parser!(u64).range(1..=36_500))]
        days: Option<u64>,
        /// Its name: who or what it is for, in one line
        name: String,
    },
    /// List keys
    #[command(after_help = "Example:\n  watchkeeper keys list")]
    List {
        #[command(flatten)]
        data: Data,
        #[command(flatten)]
        format: Format,
    },
    /// End a key at once
    #[command(after_help = "Example:\n  watchkeeper keys revoke key_0a1b2c3d4e5f")]
    Revoke {
        #[command(flatten)]
        data: Data,
        /// Its id
        id: String,
    },
    /// Show the root key's id and every pair of keys that the log signed with
    #[command(after_help = "Example:\n  watchkeeper keys show")]
    Show {
        #[command(flatten)]
        data: Data,
        #[command(flatten)]
        format: Format,
    },
    /// Encrypt the keyring anew under a fresh tenant key, or give the log a new pair of signing keys
    #[command(
        after_help = "Example:\n  watchkeeper keys rotate\n  watchkeeper keys rotate --what log\n  watchkeeper keys rotate --new-root-key /secure/root-2027.key    # and destroy the old one\n\nOlder copies of the keyring open with nothing that is left in the data directory. With another root key, and the old one destroyed, copies of the whole directory open no more either. Checkpoints are signed by the old and the new keys of the log until the overlap is over; then the old private keys are destroyed (docs/guides/keys.md)."
    )]
    Rotate {
        #[command(flatten)]
        data: Data,
        /// What to rotate
        #[arg(
            long,
            value_enum,
            default_value_if("new_root_key", clap::builder::ArgPredicate::IsPresent, "root"),
            default_value = "tenant"
        )]
        what: Rotated,
        /// Records that the log's old keys sign along with the new ones [default: 10000]
        #[arg(long, value_name = "RECORDS")]
        overlap: Option<u64>,
        /// Wrap the tenant key by this root key (a file, or aws-kms://ARN) from now on; a file is made when it is not there. The server must not run
        #[arg(long, value_name = "FILE|URI")]
        new_root_key: Option<PathBuf>,
    },
}

/// What is rotated.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Rotated {
    /// The key that the keyring is encrypted under
    Tenant,
    /// The keys that sign checkpoints, manifests and evidence
    Log,
    /// The key that wraps the tenant key; needs --new-root-key
    Root,
}
