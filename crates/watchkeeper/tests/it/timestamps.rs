//! Checkpoints get a time from an authority: OpenSSL's, behind a small HTTP server.

use std::io::{Read as _, Write as _};
use std::net::{TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use crate::support::{SOON, Server, chat_spans, export, watchkeeper};

fn openssl(dir: &Path, arguments: &str) {
    let output = Command::new("openssl").args(arguments.split(' ')).current_dir(dir).output().unwrap();
    assert!(output.status.success(), "{arguments}: {}", String::from_utf8_lossy(&output.stderr));
}

/// Makes a root and a certificate for time stamps, and answers requests with them.
pub(crate) fn authority(dir: PathBuf) -> String {
    std::fs::create_dir(&dir).unwrap();
    std::fs::write(
        dir.join("tsa.cnf"),
        "[tsa]\ndefault_tsa=t\n[t]\nserial=serial\ndefault_policy=1.2.3.4\ndigests=sha256\nsigner_digest=sha256\n\
         ess_cert_id_chain=no\n[stamps]\nextendedKeyUsage=critical,timeStamping\n",
    )
    .unwrap();
    std::fs::write(dir.join("serial"), "01\n").unwrap();
    for name in ["root", "tsa"] {
        openssl(&dir, &format!("genpkey -out {name}.key -algorithm EC -pkeyopt ec_paramgen_curve:P-256"));
    }
    openssl(
        &dir,
        "req -x509 -new -key root.key -subj /CN=root -days 30 -out root.pem -config /dev/null -addext basicConstraints=critical,CA:TRUE",
    );
    openssl(&dir, "req -new -key tsa.key -subj /CN=tsa -out tsa.csr -config /dev/null");
    openssl(
        &dir,
        "x509 -req -in tsa.csr -CA root.pem -CAkey root.key -CAcreateserial -days 30 -extfile tsa.cnf -extensions stamps -out tsa.pem",
    );
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}/stamp", listener.local_addr().unwrap());
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            let mut stream = stream.unwrap();
            std::fs::write(dir.join("q.tsq"), body(&mut stream)).unwrap();
            openssl(&dir, "ts -reply -queryfile q.tsq -config tsa.cnf -signer tsa.pem -inkey tsa.key -out a.tsr");
            let answer = std::fs::read(dir.join("a.tsr")).unwrap();
            let head = format!("HTTP/1.1 200 OK\r\nconnection: close\r\ncontent-length: {}\r\n\r\n", answer.len());
            drop(stream.write_all(&[head.as_bytes(), &answer].concat()));
        }
    });
    url
}

fn body(stream: &mut TcpStream) -> Vec<u8> {
    let mut request = Vec::new();
    let mut buffer = [0; 4096];
    loop {
        let read = stream.read(&mut buffer).unwrap();
        request.extend_from_slice(&buffer[..read]);
        let Some(end) = request.windows(4).position(|window| window == b"\r\n\r\n") else { continue };
        let head = String::from_utf8_lossy(&request[..end]).to_ascii_lowercase();
        assert!(head.contains("content-type: application/timestamp-query"), "{head}");
        let length = head.lines().find_map(|line| line.strip_prefix("content-length: ")).unwrap().parse::<usize>().unwrap();
        if request.len() >= end + 4 + length {
            return request[end + 4..].to_vec();
        }
    }
}

pub(crate) fn stamps(data: &Path) -> Vec<PathBuf> {
    let entries = std::fs::read_dir(data.join("ledger/timestamps")).into_iter().flatten();
    entries.map(|entry| entry.unwrap().path()).filter(|path| path.extension().is_some_and(|name| name == "tsr")).collect()
}

#[test]
fn checkpoints_are_stamped_and_the_stamps_verify_with_openssl() {
    let dir = tempfile::tempdir().unwrap();
    let data = dir.path().join("data");
    let url = authority(dir.path().join("tsa"));
    let roots = dir.path().join("tsa/root.pem");
    let server =
        Server::start_with(&data, &format!("[timestamps]\nurl = \"{url}\"\nevery = 1\nroots = \"{}\"\n", roots.display()));
    let until = Instant::now() + SOON;
    for batch in 0.. {
        assert!(export(&server.otlp_http, &chat_spans("stamped", batch * 3, 3)));
        server.settle();
        if stamps(&data).len() >= 2 {
            break;
        }
        assert!(Instant::now() < until, "{}", std::fs::read_to_string(&server.log).unwrap());
        std::thread::sleep(Duration::from_millis(200));
    }
    server.stop();
    let output = watchkeeper().arg("verify").arg(&data).arg("--tsa-roots").arg(&roots).output().unwrap();
    let text = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success() && text.contains("time stamps: "), "{text}");

    // Each stamp is of its checkpoint as the history has it, says OpenSSL.
    let history = std::fs::read_to_string(data.join("ledger/checkpoints")).unwrap();
    let blocks: Vec<&str> = history.split_inclusive("\n\n").collect();
    let stamped = stamps(&data);
    for stamp in &stamped {
        let size = stamp.file_stem().unwrap().to_str().unwrap();
        let note = blocks.chunks(2).find(|note| note[0].lines().nth(1) == Some(size)).unwrap().concat();
        std::fs::write(dir.path().join("note"), note.strip_suffix('\n').unwrap()).unwrap();
        openssl(dir.path(), &format!("ts -verify -data note -in {} -CAfile tsa/root.pem", stamp.display()));
    }
    // One bit of the signature changed is found.
    let mut bytes = std::fs::read(&stamped[0]).unwrap();
    let length = bytes.len();
    bytes[length - 8] ^= 1;
    std::fs::write(&stamped[0], bytes).unwrap();
    let output = watchkeeper().arg("verify").arg(&data).arg("--tsa-roots").arg(&roots).output().unwrap();
    assert_eq!(output.status.code(), Some(1));
    assert!(String::from_utf8_lossy(&output.stdout).contains("ledger/timestamps/"));
}
