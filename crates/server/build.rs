//! Lists the files of the web console for embedding. It looks whether they are there and makes none: `cargo xtask console` does.

use std::fmt::Write as _;
use std::path::{Path, PathBuf};
use std::{env, fs, io};

/// Where `cargo xtask console` puts what npm has built. The directory is always there, so that cargo can watch it.
const CONSOLE: &str = "assets/console";

fn main() -> io::Result<()> {
    println!("cargo:rerun-if-changed={CONSOLE}");
    println!("cargo:rerun-if-changed=build.rs");
    let variable =
        |name: &str| env::var_os(name).map(PathBuf::from).ok_or_else(|| io::Error::other(format!("{name} is not set")));
    let root = variable("CARGO_MANIFEST_DIR")?.join(CONSOLE);
    let mut files = Vec::new();
    walk(&root, &mut files)?;
    let mut code = String::from("/// The files, sorted by their paths.\nconst FILES: &[File] = &[\n");
    let mut named = Vec::new();
    for file in files.iter().filter(|file| file.extension().is_none_or(|extension| extension != "gz")) {
        named.push((format!("/{}", file.strip_prefix(&root).map_err(io::Error::other)?.to_string_lossy()), file));
    }
    // As texts: they are looked up by their paths.
    named.sort();
    for (path, file) in named {
        let mut compressed = file.clone().into_os_string();
        compressed.push(".gz");
        let compressed = PathBuf::from(compressed);
        let gzip = if compressed.is_file() { format!("Some(include_bytes!({compressed:?}))") } else { "None".to_owned() };
        let _ = writeln!(code, "    File {{ path: {path:?}, bytes: include_bytes!({file:?}), gzip: {gzip} }},");
    }
    code.push_str("];\n");
    fs::write(variable("OUT_DIR")?.join("console.rs"), code)
}

fn walk(dir: &Path, files: &mut Vec<PathBuf>) -> io::Result<()> {
    for entry in fs::read_dir(dir)? {
        let entry = entry?;
        let kind = entry.file_type()?;
        if kind.is_dir() {
            walk(&entry.path(), files)?;
        } else if kind.is_file() && !entry.file_name().to_string_lossy().starts_with('.') {
            files.push(entry.path());
        }
    }
    Ok(())
}
