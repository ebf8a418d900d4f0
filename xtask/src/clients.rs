//! The environments of the real clients that the tests run: Python's and npm's, each at the versions that a file names.

use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::Context as _;

use crate::{root, run, say};

/// An environment.
#[derive(Clone, Copy)]
pub(crate) struct Environment {
    /// Its folder below `target/clients`.
    pub(crate) name: &'static str,
    /// What goes into it, below `tests/clients`.
    pub(crate) from: Pinned,
}

/// What goes into an environment.
#[derive(Clone, Copy)]
pub(crate) enum Pinned {
    /// Requirements of pip.
    Python(&'static str),
    /// A folder with package.json and package-lock.json.
    Npm(&'static str),
}

use Pinned::{Npm, Python};

const fn environment(name: &'static str, from: Pinned) -> Environment {
    Environment { name, from }
}

/// What every run of the tests needs.
pub(crate) const SMALL: &[Environment] = &[
    environment("archive", Python("archive/requirements.txt")),
    environment("gateway", Python("gateway/requirements.txt")),
    environment("mcp", Python("mcp/requirements.txt")),
    environment("otel-genai", Python("otel/requirements-otel-genai.txt")),
    environment("otel-v2", Python("otel/requirements-otel-v2.txt")),
    environment("openinference", Python("otel/requirements-openinference.txt")),
    environment("openllmetry", Python("otel/requirements-openllmetry.txt")),
    environment("verifier", Python("../verifier/requirements.txt")),
    environment("intel", Python("../intel/requirements.txt")),
    // Beside Python's: a new environment of Python's takes the folder whole, so these come after it.
    environment("mcp", Npm("mcp")),
    environment("gateway-js", Npm("gateway-js")),
    environment("atr", Npm("atr")),
    environment("oidc", Npm("oidc")),
];

/// What `cargo xtask sanitiser` needs beside: 400 MB.
pub(crate) const SANITISER: Environment = environment("sanitiser", Python("../sanitiser/requirements.txt"));

/// What `cargo xtask behaviour --nab` needs beside: 300 MB.
pub(crate) const BEHAVIOUR: Environment = environment("behaviour", Python("behaviour/requirements.txt"));

/// What `cargo xtask sigma` needs beside: pySigma and its SQLite backend, 60 MB.
pub(crate) const SIGMA: Environment = environment("sigma", Python("sigma/requirements.txt"));

/// Where the environments of frameworks are, below `target/clients`.
pub(crate) const FRAMEWORKS_FOLDER: &str = "frameworks";

/// What the matrix needs beside: 2 GB, which is too much for every run.
pub(crate) const FRAMEWORKS: &[Environment] = &[
    environment("frameworks/chroma", Python("otel/frameworks/requirements-chroma.txt")),
    environment("frameworks/langgraph", Python("otel/frameworks/requirements-langgraph.txt")),
    environment("frameworks/litellm", Python("otel/frameworks/requirements-litellm.txt")),
    environment("frameworks/llamaindex", Python("otel/frameworks/requirements-llamaindex.txt")),
    environment("frameworks/openlit", Python("otel/frameworks/requirements-openlit.txt")),
    environment("frameworks/openai_agents", Python("otel/frameworks/requirements-openai_agents.txt")),
    environment("frameworks/vercel_ai", Npm("otel/frameworks/vercel_ai")),
    environment("frameworks/mcp_bridge", Npm("mcp/bridge")),
];

/// Makes the environments that are not there as their files want them.
pub(crate) fn make(environments: &[Environment]) -> anyhow::Result<()> {
    environments.iter().try_for_each(Environment::make)
}

/// The file, or the folder of files, that says what goes into an environment.
pub(crate) enum Source {
    /// Requirements of pip.
    Python(PathBuf),
    /// A folder with package.json and package-lock.json.
    Npm(PathBuf),
}

impl Environment {
    fn source(&self) -> anyhow::Result<Source> {
        let clients = root()?.join("tests/clients");
        Ok(match self.from {
            Python(requirements) => Source::Python(clients.join(requirements)),
            Npm(folder) => Source::Npm(clients.join(folder)),
        })
    }

    /// The file that says what goes into it: all of it, where that is a lock file.
    fn wanted(&self) -> anyhow::Result<String> {
        self.source()?.wanted()
    }

    /// The Python of it.
    pub(crate) fn python(&self) -> anyhow::Result<PathBuf> {
        Ok(root()?.join("target/clients").join(self.name).join("bin/python"))
    }

    fn make(&self) -> anyhow::Result<()> {
        self.source()?.install(self.name, &root()?.join("target/clients").join(self.name))
    }
}

impl Source {
    fn wanted(&self) -> anyhow::Result<String> {
        let path = match self {
            Self::Python(requirements) => requirements.clone(),
            Self::Npm(folder) => folder.join("package-lock.json"),
        };
        std::fs::read_to_string(&path).with_context(|| path.display().to_string())
    }

    /// Makes an environment in `folder`, unless it is there as its files want it.
    pub(crate) fn install(&self, name: &str, folder: &Path) -> anyhow::Result<()> {
        let wanted = self.wanted()?;
        // What was installed, written when that went well: half an environment is made anew.
        let marker = folder.join(match self {
            Self::Python(_) => "installed.txt",
            Self::Npm(_) => "installed-npm.json",
        });
        if std::fs::read_to_string(&marker).is_ok_and(|installed| installed == wanted) {
            return Ok(());
        }
        say(&format!("setup: {name}"));
        std::fs::create_dir_all(folder)?;
        // npm takes a folder that is reached through a link for another package, which its lock file does not know.
        let folder = folder.canonicalize()?;
        match self {
            Self::Python(requirements) => install_python(&folder, requirements)?,
            Self::Npm(from) => install_npm(&folder, from)?,
        }
        std::fs::write(marker, wanted)?;
        Ok(())
    }
}

fn install_python(folder: &Path, requirements: &Path) -> anyhow::Result<()> {
    run(Command::new("python3").args(["-m", "venv", "--clear"]).arg(folder))
        .context("python3 with venv is needed (Debian: apt-get install python3-venv)")?;
    let install = ["install", "--quiet", "--disable-pip-version-check", "-r"];
    run(Command::new(folder.join("bin/pip")).args(install).arg(requirements))
}

/// At the versions and digests of the lock file.
fn install_npm(folder: &Path, from: &Path) -> anyhow::Result<()> {
    for file in ["package.json", "package-lock.json"] {
        std::fs::copy(from.join(file), folder.join(file)).with_context(|| file.to_owned())?;
    }
    let install = ["ci", "--no-audit", "--no-fund", "--ignore-scripts", "--loglevel", "error", "--prefix"];
    run(Command::new("npm").args(install).arg(folder).current_dir(folder)).context("npm is needed (Debian: apt-get install npm)")
}

/// The version at which a package is pinned, in requirements or package.json.
pub(crate) fn pinned(environment: &str, package: &str) -> anyhow::Result<String> {
    let all = SMALL.iter().chain(FRAMEWORKS).filter(|known| known.name == environment);
    for known in all {
        let found = match known.from {
            Python(_) => {
                let wanted = known.wanted()?;
                let mut lines = wanted.lines().filter_map(|line| line.split_once("==")).map(|(name, version)| {
                    // `moto[server]==5`
                    (name.split('[').next().unwrap_or(name).to_ascii_lowercase().replace('_', "-"), version.trim().to_owned())
                });
                lines.find(|(name, _)| name == package).map(|(_, version)| version)
            }
            Npm(_) => {
                let lock: serde_json::Value = serde_json::from_str(&known.wanted()?)?;
                lock["packages"][format!("node_modules/{package}")]["version"].as_str().map(str::to_owned)
            }
        };
        if let Some(version) = found {
            return Ok(version);
        }
    }
    anyhow::bail!("{environment} does not pin {package}")
}
