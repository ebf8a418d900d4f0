//! File systems of our own, on files: to cut their power, and to fill them. They are mounted in a mount namespace that ends with
//! the test, so that nothing stays mounted however it ends.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

/// Tells a test that it runs in its namespace already, and where it may put its files.
const INSIDE: &str = "WATCHKEEPER_MOUNTS";

/// Says that a machine must be able to run these tests: then what would be skipped fails.
const REQUIRED: &str = "WATCHKEEPER_FAULTS_REQUIRED";

/// Debian's packages of the programs that these tests use.
const PROGRAMS: [(&str, &str); 6] = [
    ("unshare", "util-linux"),
    ("mkfs.ext4", "e2fsprogs"),
    ("mkfs.xfs", "xfsprogs"),
    ("xfs_io", "xfsprogs"),
    ("strace", "strace"),
    ("eatmydata", "eatmydata"),
];

/// Runs `work` in a mount namespace, with a directory for images and mount points. `test` is the test's own full name.
/// On a machine that cannot do this the test is skipped, and says so.
pub(crate) fn with_mounts(test: &str, work: impl FnOnce(&Path)) {
    if let Some(dir) = std::env::var_os(INSIDE) {
        return work(Path::new(&dir));
    }
    if let Err(why) = possible() {
        return skip(test, &why);
    }
    // Images in memory: what counts is what the file system above them has been told to keep.
    let memory = Path::new("/dev/shm");
    let dir = if memory.is_dir() { tempfile::tempdir_in(memory) } else { tempfile::tempdir() }.unwrap();
    let status = Command::new("unshare")
        .args(["--mount", "--propagation", "private", "--"])
        .arg(std::env::current_exe().unwrap())
        .args(["--exact", test, "--nocapture"])
        .env(INSIDE, dir.path())
        .status()
        .unwrap();
    assert!(status.success(), "{test} in its mount namespace: {status}");
}

/// Says loudly that a test did not run, and fails where it must.
pub(crate) fn skip(test: &str, why: &str) {
    assert!(std::env::var_os(REQUIRED).is_none(), "{test} cannot run here: {why}");
    println!("\n*** SKIPPED {test}: {why}. It needs root, loop devices and the packages of .ci/run.\n");
}

/// Whether a program is there.
pub(crate) fn has_program(program: &str) -> bool {
    let found = Command::new("sh").args(["-c", &format!("command -v {program}")]).stdout(Stdio::null()).status();
    found.is_ok_and(|status| status.success())
}

fn possible() -> Result<(), String> {
    if let Some((program, package)) = PROGRAMS.iter().find(|(program, _)| !has_program(program)) {
        return Err(format!("{program} is not there (package {package})"));
    }
    if !Path::new("/dev/loop-control").exists() {
        return Err("there are no loop devices".to_owned());
    }
    let namespace = Command::new("unshare").args(["--mount", "--", "mount", "-t", "tmpfs", "none", "/mnt"]).output();
    match namespace {
        Ok(output) if output.status.success() => Ok(()),
        Ok(output) => Err(String::from_utf8_lossy(&output.stderr).trim().to_owned()),
        Err(error) => Err(error.to_string()),
    }
}

/// A file system on a file.
pub(crate) struct Volume {
    image: PathBuf,
    mount: PathBuf,
}

impl Volume {
    /// Makes a file system and mounts it.
    pub(crate) fn new(dir: &Path, kind: &str, mib: u64) -> Self {
        let volume = Self { image: dir.join(format!("{kind}.img")), mount: dir.join(kind) };
        std::fs::File::create(&volume.image).unwrap().set_len(mib << 20).unwrap();
        let quiet = if kind == "ext4" { ["-q", "-F"] } else { ["-q", "-f"] };
        run(Command::new(format!("mkfs.{kind}")).args(quiet).arg(&volume.image));
        std::fs::create_dir(&volume.mount).unwrap();
        volume.mount();
        volume
    }

    /// Where it is mounted.
    pub(crate) fn path(&self) -> &Path {
        &self.mount
    }

    pub(crate) fn mount(&self) {
        run(Command::new("mount").args(["-o", "loop"]).arg(&self.image).arg(&self.mount));
    }

    /// Takes the file system's disk away from one moment to the next: what is not durable by then is lost.
    pub(crate) fn cut_power(&self) {
        run(Command::new("xfs_io").args(["-x", "-c", "shutdown"]).arg(&self.mount));
    }

    /// Makes all of it durable as it is.
    pub(crate) fn sync(&self) {
        run(Command::new("sync").arg("-f").arg(&self.mount));
    }

    pub(crate) fn unmount(&self) {
        run(Command::new("umount").arg(&self.mount));
    }
}

impl Drop for Volume {
    fn drop(&mut self) {
        // The namespace takes with it what cannot be unmounted now.
        drop(Command::new("umount").args(["-l"]).arg(&self.mount).stderr(Stdio::null()).status());
    }
}

fn run(command: &mut Command) {
    let output = command.output().unwrap();
    assert!(output.status.success(), "{command:?}: {}", String::from_utf8_lossy(&output.stderr));
}
