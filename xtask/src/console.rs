//! The web console: built by npm, and put where the server's build script looks for it.

use std::fs;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context as _, bail};
use flate2::Compression;
use flate2::write::GzEncoder;

use crate::{root, run, say, target_dir};

/// Endings of files that gzip makes smaller.
const COMPRESSED: [&str; 7] = ["html", "js", "css", "svg", "json", "txt", "map"];

/// Builds the console and puts its files into the server's assets.
pub(crate) fn build() -> anyhow::Result<()> {
    npm(&["ci", "--no-audit", "--no-fund"])?;
    npm(&["run", "build"])?;
    let root = root()?;
    let (files, bytes, gzipped) = embed(&root.join("console/dist"), &root.join("crates/server/assets/console"))?;
    say(&format!("{files} files, {} KiB, {} KiB compressed; the next `cargo build` embeds them", bytes / 1024, gzipped / 1024));
    Ok(())
}

/// The console's own tests, and its stories in a browser with the program that `cargo build` or `cargo test` has made, or the one that
/// `WATCHKEEPER_BINARY` names. The program must have the console in it: it is the whole that is tested.
pub(crate) fn test() -> anyhow::Result<()> {
    if !root()?.join("console/node_modules").is_dir() {
        npm(&["ci", "--no-audit", "--no-fund"])?;
    }
    for script in ["api:check", "lint", "check", "test"] {
        npm(&["run", script])?;
    }
    let binary = match std::env::var_os("WATCHKEEPER_BINARY") {
        Some(named) => PathBuf::from(named),
        None => target_dir()?.join("debug/watchkeeper"),
    };
    if !binary.is_file() {
        bail!("{} is not there: `cargo build --workspace --bins`", binary.display());
    }
    let mut stories = Command::new("npm");
    stories.args(["run", "e2e"]).current_dir(root()?.join("console"));
    run(stories.env("WATCHKEEPER_BIN", binary).env("WATCHKEEPER_CONSOLE_REQUIRED", "1"))
        .context("npm run e2e: Debian's Chromium is needed (apt-get install chromium)")
}

fn npm(arguments: &[&str]) -> anyhow::Result<()> {
    let mut npm = Command::new("npm");
    npm.args(arguments).current_dir(root()?.join("console"));
    run(&mut npm).with_context(|| format!("npm {}: Node.js and npm are needed", arguments.join(" ")))
}

/// Puts the files of a directory into another one, each also compressed, and removes those that were there. How many they are, their
/// bytes, and their bytes as they are sent.
fn embed(dist: &Path, assets: &Path) -> anyhow::Result<(usize, u64, u64)> {
    if !dist.join("index.html").is_file() {
        bail!("{} has no index.html", dist.display());
    }
    for entry in fs::read_dir(assets)? {
        let path = entry?.path();
        match path.file_name().is_some_and(|name| name == ".gitignore") {
            true => {}
            false if path.is_dir() => fs::remove_dir_all(&path)?,
            false => fs::remove_file(&path)?,
        }
    }
    let mut sums = (0, 0, 0);
    copy(dist, assets, &mut sums)?;
    Ok(sums)
}

fn copy(from: &Path, to: &Path, sums: &mut (usize, u64, u64)) -> anyhow::Result<()> {
    fs::create_dir_all(to)?;
    for entry in fs::read_dir(from)? {
        let entry = entry?;
        let (path, target) = (entry.path(), to.join(entry.file_name()));
        if entry.file_type()?.is_dir() {
            copy(&path, &target, sums)?;
            continue;
        }
        let bytes = fs::read(&path)?;
        fs::write(&target, &bytes)?;
        let mut sent = bytes.len();
        if path.extension().and_then(|extension| extension.to_str()).is_some_and(|extension| COMPRESSED.contains(&extension)) {
            let mut encoder = GzEncoder::new(Vec::new(), Compression::best());
            encoder.write_all(&bytes)?;
            let compressed = encoder.finish()?;
            let mut name = target.into_os_string();
            name.push(".gz");
            fs::write(name, &compressed)?;
            sent = compressed.len();
        }
        *sums = (sums.0 + 1, sums.1 + bytes.len() as u64, sums.2 + sent as u64);
    }
    Ok(())
}
