//! `watchkeeper egress`.

use std::process::ExitCode;

use anyhow::Context as _;
use keys::Keyring;
use server::DataDir;

use crate::cli::{Data, Egress};
use crate::output::say;

pub(super) fn egress(command: Egress) -> anyhow::Result<ExitCode> {
    match command {
        Egress::Ca { data } => ca(&data),
    }
}

fn ca(data: &Data) -> anyhow::Result<ExitCode> {
    let dir = DataDir::existing(&data.path()?)?;
    let root = data.root()?;
    let kept = match server::kept_egress_authority(&*server::read_keyring(&dir, &root)?)? {
        Some(kept) => kept,
        None => {
            let keyring = Keyring::open(&dir.keys(), root.read(&dir)?)
                .context("there is no authority yet; the server makes it when it starts with hosts in egress.intercept")?;
            server::egress_authority(&keyring)?
        }
    };
    say(kept.pem().trim_end())?;
    Ok(ExitCode::SUCCESS)
}
