//! Values that are sealed beside the record: two officers open them together, one does not, and after an erasure nobody does.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::process::Output;

use keys::{AgeRootKey, RootKey as _};
use serde_json::Value;

use crate::lifecycle::{ANN, call, everything};
use crate::support::{Server, export, rows, run, verify, watchkeeper};

/// What Ann and Bo write to.
const ZOE: &str = "zoe.harper@clinic.example";
const KIM: &str = "kim.lund@clinic.example";

/// Makes an officer's identity in a file, and gives her recipient.
fn officer(dir: &Path, name: &str) -> String {
    let (key, line) = AgeRootKey::generate();
    let path = dir.join(name);
    fs::write(&path, format!("# {name}\n{}\n", *line)).unwrap();
    fs::set_permissions(&path, fs::Permissions::from_mode(0o600)).unwrap();
    key.id()
}

fn said(output: &Output) -> String {
    String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr)
}

/// Commands of one case, with files in one directory.
struct Case<'d> {
    dir: &'d Path,
    data: &'d Path,
}

impl Case<'_> {
    fn path(&self, name: &str) -> String {
        self.dir.join(name).to_str().unwrap().to_owned()
    }

    fn request(&self, record: &str, out: &str) -> Output {
        run(&["recover", "request", "--record", record, "--reason", "case 17", "--out", &self.path(out)], self.data)
    }

    /// On the officer's own machine: nothing of the record is there.
    fn approve(&self, request: &str, identity: &str, out: &str) -> Output {
        let (request, identity, out) = (self.path(request), self.path(identity), self.path(out));
        let mut command = watchkeeper();
        command.args(["recover", "approve", &request, "--identity", &identity, "--out", &out]);
        command.env_remove("WATCHKEEPER_ROOT_KEY").output().unwrap()
    }

    fn open(&self, request: &str, shares: &[&str]) -> Output {
        let mut arguments =
            vec!["recover".to_owned(), "open".to_owned(), self.path(request), "--format".to_owned(), "json".to_owned()];
        for share in shares {
            arguments.extend(["--share".to_owned(), self.path(share)]);
        }
        run(&arguments.iter().map(String::as_str).collect::<Vec<_>>(), self.data)
    }

    /// The values, of an opening that must succeed.
    fn opened(&self, request: &str, shares: &[&str]) -> Vec<String> {
        let output = self.open(request, shares);
        assert!(output.status.success(), "{}", said(&output));
        let values: Value = serde_json::from_slice(&output.stdout).unwrap();
        values.as_array().unwrap().iter().map(|one| one["value"].as_str().unwrap().to_owned()).collect()
    }

    fn refused(&self, request: &str, shares: &[&str], why: &str) {
        let output = self.open(request, shares);
        let text = said(&output);
        assert!(!output.status.success() && text.contains(why), "{text}");
        assert!(!text.contains(ZOE) && !text.contains(KIM), "{text}");
    }
}

#[test]
fn two_officers_open_what_is_sealed_one_does_not_and_after_an_erasure_nobody_does() {
    let dir = tempfile::tempdir().unwrap();
    let data = dir.path().join("data");
    let officers: Vec<String> = ["ada.key", "ben.key", "cyd.key"].iter().map(|name| officer(dir.path(), name)).collect();
    officer(dir.path(), "stranger.key");
    let config = format!("[sanitize.actions]\nEMAIL = \"encrypt\"\n[sanitize.recovery]\nrecipients = {officers:?}\n");
    let server = Server::start_with(&data, &config);
    for (number, session, user, text) in [
        (0, "ann-alone", ANN, format!("please write to {ZOE}")),
        (1, "bo-alone", "bo", format!("please write to {KIM} and {ANN}")),
        (2, "dee-alone", "dee", "good morning".to_owned()),
    ] {
        assert!(export(&server.otlp_http, &call(session, user, number, &text, "done")));
    }
    server.settle();
    let record = |session: &str| {
        let sql = format!("SELECT event_id FROM events WHERE session_id = '{session}' AND kind = 'model_call'");
        server.query(&sql)[0]["event_id"].as_str().unwrap().to_owned()
    };
    let (ann, bo, dee) = (record("ann-alone"), record("bo-alone"), record("dee-alone"));
    let case = Case { dir: dir.path(), data: &data };

    // Nothing sealed, no such record, a stranger.
    assert!(said(&case.request(&dee, "dee.json")).contains("nothing is sealed"));
    assert!(said(&case.request("no-such-record", "none.json")).contains("no record has the id"));
    for (record, out) in [(&ann, "ann.json"), (&bo, "bo.json")] {
        let asked = case.request(record, out);
        assert!(asked.status.success() && officers.iter().all(|officer| said(&asked).contains(officer)), "{}", said(&asked));
    }
    let request = fs::read_to_string(dir.path().join("ann.json")).unwrap();
    assert!(!request.contains(ZOE) && request.contains("case 17"));
    let stranger = case.approve("ann.json", "stranger.key", "stranger.share");
    assert!(!stranger.status.success() && said(&stranger).contains("nothing here is sealed"), "{}", said(&stranger));

    // Approvals, and what one officer can do alone.
    for (request, person, out) in [
        ("ann.json", "ada.key", "ann-ada"),
        ("ann.json", "ben.key", "ann-ben"),
        ("ann.json", "cyd.key", "ann-cyd"),
        ("bo.json", "ada.key", "bo-ada"),
        ("bo.json", "cyd.key", "bo-cyd"),
    ] {
        let approved = case.approve(request, person, out);
        assert!(approved.status.success() && said(&approved).contains("case 17"), "{}", said(&approved));
    }
    case.refused("ann.json", &["ann-ada"], "two shares");
    case.refused("ann.json", &["ann-ada", "ann-ada"], "the approval of another officer is needed");
    let renamed = fs::read_to_string(dir.path().join("ann-ada")).unwrap().replacen(&officers[0], &officers[1], 1);
    fs::write(dir.path().join("renamed"), renamed).unwrap();
    case.refused("ann.json", &["ann-ada", "renamed"], "");
    case.refused("ann.json", &["ann-ada", "bo-cyd"], "approves");
    fs::write(dir.path().join("changed.json"), request.replace("case 17", "case 18")).unwrap();
    case.refused("changed.json", &["ann-ada", "ann-ben"], "was changed");

    // Any two open it, the mail address of the user beside that in the text.
    for two in [["ann-ada", "ann-ben"], ["ann-cyd", "ann-ada"], ["ann-ben", "ann-cyd"]] {
        let mut values = case.opened("ann.json", &two);
        values.sort();
        assert_eq!(values, [ANN, ZOE]);
    }
    let mut values = case.opened("bo.json", &["bo-ada", "bo-cyd"]);
    values.sort();
    assert_eq!(values, [ANN, KIM]);

    // All of it is in the log, and no value.
    server.settle();
    let steps = rows("SELECT name, count(*) AS n FROM events WHERE name LIKE 'recovery.%' GROUP BY name ORDER BY name", &data);
    let steps: Vec<(String, u64)> =
        steps.iter().map(|row| (row["name"].as_str().unwrap().to_owned(), row["n"].as_u64().unwrap())).collect();
    let expected = [("recovery.approve", 8), ("recovery.open", 7), ("recovery.request", 2)];
    assert_eq!(steps, expected.map(|(name, n)| (name.to_owned(), n)));

    // After the erasure of Ann nobody opens what was hers, also with a request and shares from before. Bo's opens as before,
    // without her.
    let erased = run(&["erase", "--subject", ANN], &data);
    assert!(erased.status.success(), "{}", said(&erased));
    case.refused("ann.json", &["ann-ada", "ann-ben"], &ann);
    assert!(!case.request(&ann, "again.json").status.success());
    assert_eq!(case.opened("bo.json", &["bo-ada", "bo-cyd"]), [KIM]);
    server.stop();

    // Without a server, too; and nothing of it is anywhere in the clear.
    assert_eq!(case.opened("bo.json", &["bo-cyd", "bo-ada"]), [KIM]);
    let all = everything(&data);
    assert!(all.contains("recovery.open") && !all.contains(ZOE) && !all.contains(KIM) && !all.contains(ANN));
    assert_eq!(verify(&data).0, 0);
}

#[test]
fn sealing_without_officers_is_refused_with_the_field() {
    let dir = tempfile::tempdir().unwrap();
    let one = officer(dir.path(), "ada.key");
    for (config, words) in [
        ("[sanitize.actions]\nEMAIL = \"encrypt\"\n".to_owned(), "[sanitize.recovery]"),
        (format!("[sanitize.recovery]\nrecipients = [\"{one}\"]\n"), "sanitize.recovery.recipients"),
        (format!("[sanitize.recovery]\nrecipients = [\"{one}\", \"{one}\"]\n"), "each of another officer"),
        (format!("[sanitize.recovery]\nrecipients = [\"{one}\", \"bo\"]\n"), "age-keygen"),
    ] {
        let path = dir.path().join("watchkeeper.toml");
        fs::write(&path, config).unwrap();
        let serve = watchkeeper()
            .args(["serve", "--any-port", "--data"])
            .arg(dir.path().join("data"))
            .arg("--config")
            .arg(&path)
            .output();
        let text = said(&serve.unwrap());
        assert!(text.contains(words), "{text}");
    }
}
