//! A root key in AWS KMS: moto's server, which checks signatures, in the place of the service.

use std::net::{TcpListener, TcpStream};
use std::path::Path;
use std::process::{Child, Command, Output, Stdio};
use std::time::{Duration, Instant};

use serde_json::Value;

use crate::clients::python;
use crate::support::{SOON, Starting, chat_spans, export, root, watchkeeper};

/// moto's server, and a user of it who may do everything.
struct Kms {
    process: Child,
    endpoint: String,
    key: String,
    secret: String,
}

impl Kms {
    fn start() -> Self {
        let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
        let process = Command::new(python("archive"))
            .args(["-m", "moto.server", "-H", "127.0.0.1", "-p", &port.to_string()])
            // A user, a policy and a key are made; from then on every request must be signed by a key that it knows.
            .env("INITIAL_NO_AUTH_ACTION_COUNT", "3")
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let mut kms = Self { process, endpoint: format!("http://127.0.0.1:{port}"), key: String::new(), secret: String::new() };
        let end = Instant::now() + SOON;
        while TcpStream::connect(("127.0.0.1", port)).is_err() {
            assert!(Instant::now() < end, "moto does not start");
            std::thread::sleep(Duration::from_millis(50));
        }
        let user = script("s3.py", &[&kms.endpoint, "user"]);
        (kms.key, kms.secret) = (user["key"].as_str().unwrap().to_owned(), user["secret"].as_str().unwrap().to_owned());
        kms
    }

    /// With AWS's own library.
    fn boto(&self, arguments: &[&str]) -> Value {
        script("kms.py", &[&[self.endpoint.as_str(), &self.key, &self.secret], arguments].concat())
    }

    fn environment(&self, root: &str) -> Vec<(&'static str, String)> {
        vec![
            ("WATCHKEEPER_ROOT_KEY", root.to_owned()),
            ("AWS_ENDPOINT_URL_KMS", self.endpoint.clone()),
            ("AWS_ACCESS_KEY_ID", self.key.clone()),
            ("AWS_SECRET_ACCESS_KEY", self.secret.clone()),
        ]
    }
}

impl Drop for Kms {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

fn script(name: &str, arguments: &[&str]) -> Value {
    let script = root().join("tests/clients/archive").join(name);
    let done = Command::new(python("archive")).arg(script).args(arguments).output().unwrap();
    assert!(done.status.success(), "{arguments:?}: {}", String::from_utf8_lossy(&done.stderr));
    serde_json::from_slice(&done.stdout).unwrap()
}

fn with(environment: &[(&'static str, String)], arguments: &[&str], data: &Path) -> Output {
    let environment = environment.iter().map(|(name, value)| (*name, value));
    watchkeeper().args(arguments).arg("--data").arg(data).envs(environment).output().unwrap()
}

/// What a command says that must fail, on one line or several.
fn refused(environment: &[(&'static str, String)], arguments: &[&str], data: &Path) -> String {
    let output = with(environment, arguments, data);
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!(output.status.code(), Some(2), "{said}");
    said
}

fn tenant(data: &Path) -> Value {
    serde_json::from_slice(&std::fs::read(data.join("keys/tenant.key")).unwrap()).unwrap()
}

#[test]
fn a_root_key_in_kms_wraps_the_tenant_key_and_each_failure_says_what_to_do() {
    let kms = Kms::start();
    let (made, other) = (kms.boto(&["key", "watchkeeper"]), kms.boto(&["key", "other"]));
    let uri = |key: &Value, name: &str| format!("aws-kms://{}", key[name].as_str().unwrap());
    let alias = uri(&made, "alias");
    let environment = kms.environment(&alias);
    let replaced = |name: &str, value: &str| {
        let of = |(known, was): &(&'static str, String)| (*known, if *known == name { value.to_owned() } else { was.clone() });
        environment.iter().map(of).collect::<Vec<_>>()
    };
    let dir = tempfile::tempdir().unwrap();
    let data = dir.path().join("data");
    let under: Vec<String> =
        std::iter::once("env".to_owned()).chain(environment.iter().map(|(name, value)| format!("{name}={value}"))).collect();
    let server = Starting::spawn(&data, "", &under).ready().unwrap_or_else(|why| panic!("{why}"));
    assert!(export(&server.otlp_http, &chat_spans("kms", 0, 3)));
    // Each change of the tenant key asks the service, under a running server, too; and so does each command, to know that server.
    assert!(with(&environment, &["keys", "rotate"], &data).status.success());
    assert!(with(&environment, &["keys", "rotate", "--what", "log", "--overlap", "0"], &data).status.success());
    let denied = replaced("AWS_SECRET_ACCESS_KEY", "wrong");
    assert!(refused(&denied, &["status"], &data).contains("credentials"));
    let log = server.log.clone();
    server.stop();
    let query = ["query", "SELECT count(*) FROM prompts", "--format", "csv"];
    let read = with(&environment, &query, &data);
    assert!(
        read.status.success() && String::from_utf8_lossy(&read.stdout).contains('3'),
        "{}",
        String::from_utf8_lossy(&read.stderr)
    );
    let verified =
        watchkeeper().arg("verify").arg(&data).envs(environment.iter().map(|(name, value)| (*name, value))).output().unwrap();
    assert_eq!(verified.status.code(), Some(0), "{}", String::from_utf8_lossy(&verified.stdout));
    assert!(!std::fs::read_to_string(log).unwrap().contains(&kms.secret));

    // AWS's own library opens it with the keyring's id as the context, and it opens the keyring.
    let wrapped = tenant(&data);
    assert_eq!(wrapped["root"], alias);
    let keyring = wrapped["keyring"].as_str().unwrap();
    let tenant_key = kms.boto(&["decrypt", keyring, wrapped["wrapped"].as_str().unwrap()]);
    assert_eq!(tenant_key.as_str().unwrap().len(), 64);

    // Whoever has other credentials, another key, no such key or no service is told what to do; and nothing of the secrets.
    let nowhere = format!("http://127.0.0.1:{}", TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port());
    let missing = "aws-kms://arn:aws:kms:eu-central-1:123456789012:key/00000000-0000-0000-0000-000000000000";
    for (what, environment, arguments, remedy) in [
        ("a wrong secret", replaced("AWS_SECRET_ACCESS_KEY", "wrong"), query.as_slice(), "credentials"),
        ("an unknown user", replaced("AWS_ACCESS_KEY_ID", "AKIAIOSFODNN7EXAMPLE"), &query, "credentials"),
        ("no service", replaced("AWS_ENDPOINT_URL_KMS", &nowhere), &query, "does not answer"),
        ("no service at the start", replaced("AWS_ENDPOINT_URL_KMS", &nowhere), &["serve", "--any-port"], "does not answer"),
        ("plain text", replaced("AWS_ENDPOINT_URL_KMS", "http://kms.example"), &query, "https://"),
        ("another key", replaced("WATCHKEEPER_ROOT_KEY", &uri(&other, "alias")), &query, "is wrapped by the root key"),
        ("no key", replaced("WATCHKEEPER_ROOT_KEY", "aws-kms://alias/watchkeeper"), &query, "arn:aws:kms:"),
        ("a key that is not there", environment.clone(), &["keys", "rotate", "--new-root-key", missing], "check the ARN"),
    ] {
        let said = refused(&environment, arguments, &data);
        assert!(said.contains(remedy), "{what}: {said}");
        assert!(!said.contains(&kms.secret) && !said.contains(tenant_key.as_str().unwrap()), "{what}: {said}");
    }
    assert_eq!(tenant(&data), wrapped, "what failed has changed nothing");

    // The wrapped key of one keyring does not open another one's, and an alias that leads elsewhere opens nothing.
    let path = data.join("keys/tenant.key");
    let text = std::fs::read_to_string(&path).unwrap();
    std::fs::write(&path, text.replace(keyring, &"0".repeat(32))).unwrap();
    assert!(refused(&environment, &query, &data).contains("another keyring"));
    std::fs::write(&path, &text).unwrap();
    kms.boto(&["repoint", made["alias"].as_str().unwrap(), other["key"].as_str().unwrap()]);
    refused(&environment, &query, &data);
    kms.boto(&["repoint", made["alias"].as_str().unwrap(), made["key"].as_str().unwrap()]);

    // To a file and back to another key of the service.
    let file = dir.path().join("root.key");
    let rotated = with(&environment, &["keys", "rotate", "--new-root-key", file.to_str().unwrap()], &data);
    assert!(rotated.status.success(), "{}", String::from_utf8_lossy(&rotated.stderr));
    let environment = replaced("WATCHKEEPER_ROOT_KEY", file.to_str().unwrap());
    let key = uri(&other, "key");
    let rotated = with(&environment, &["keys", "rotate", "--what", "root", "--new-root-key", &key], &data);
    assert!(rotated.status.success(), "{}", String::from_utf8_lossy(&rotated.stderr));
    assert_eq!((tenant(&data)["root"].clone(), tenant(&data)["keyring"].clone()), (key.clone().into(), keyring.into()));
    let read = with(&replaced("WATCHKEEPER_ROOT_KEY", &key), &query, &data);
    assert!(
        read.status.success() && String::from_utf8_lossy(&read.stdout).contains('3'),
        "{}",
        String::from_utf8_lossy(&read.stderr)
    );
}
