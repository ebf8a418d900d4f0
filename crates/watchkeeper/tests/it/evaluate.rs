//! Evaluation of models through the real binary. The model is a stand-in that lives in this file: an HTTP server that answers sums as
//! OpenAI's chat completions do, in the mood that the test puts it in.

use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::{TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Instant;

use serde_json::{Value, json};

use crate::support::{SOON, Server, rows, watchkeeper};

const KEY: &str = "sk-of-the-stand-in-model";

/// How the stand-in answers.
#[derive(Clone, Copy, PartialEq)]
enum Mood {
    Steady,
    /// Every third sum is wrong.
    Worse,
    /// Another model, with other words and another tokenizer.
    Swapped,
    /// Busy each fifth time that something is asked, and steady else.
    Busy,
    /// The key is not taken, and is told in the answer, with what else nobody should keep.
    Locked,
    /// Connections are taken, and nothing is answered.
    Tarpit,
}

struct StandIn {
    base: String,
    mood: Arc<Mutex<Mood>>,
    asked: Arc<AtomicU32>,
}

impl StandIn {
    fn start(mood: Mood) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let base = format!("http://{}/v1/chat/completions", listener.local_addr().unwrap());
        let (mood, asked) = (Arc::new(Mutex::new(mood)), Arc::new(AtomicU32::new(0)));
        let (moods, count) = (mood.clone(), asked.clone());
        // It ends with the test's process.
        std::thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let (mood, asked) = (moods.clone(), count.clone());
                std::thread::spawn(move || serve(stream, &mood, &asked));
            }
        });
        Self { base, mood, asked }
    }

    fn is_now(&self, mood: Mood) {
        *self.mood.lock().unwrap() = mood;
    }
}

fn serve(stream: TcpStream, mood: &Mutex<Mood>, asked: &AtomicU32) {
    let mut reader = BufReader::new(stream.try_clone().unwrap());
    let mut stream = stream;
    loop {
        let (mut length, mut has_key, mut line) = (0, false, String::new());
        loop {
            line.clear();
            if reader.read_line(&mut line).unwrap_or(0) == 0 {
                return;
            }
            let header = line.trim_end().to_ascii_lowercase();
            if header.is_empty() {
                break;
            }
            if let Some(value) = header.strip_prefix("content-length:") {
                length = value.trim().parse().unwrap();
            }
            has_key |= header == format!("authorization: bearer {KEY}");
        }
        let mut body = vec![0; length];
        if reader.read_exact(&mut body).is_err() {
            return;
        }
        let count = asked.fetch_add(1, Ordering::Relaxed);
        while *mood.lock().unwrap() == Mood::Tarpit {
            std::thread::sleep(std::time::Duration::from_millis(20));
        }
        let (status, answer) = answer(&serde_json::from_slice(&body).unwrap(), *mood.lock().unwrap(), has_key, count);
        let answer = answer.to_string();
        let head = format!(
            "HTTP/1.1 {status}\r\ncontent-type: application/json\r\ncontent-length: {}\r\nretry-after: 0\r\n\r\n",
            answer.len()
        );
        if stream.write_all(head.as_bytes()).and_then(|()| stream.write_all(answer.as_bytes())).is_err() {
            return;
        }
    }
}

/// A number without a pattern for each call (the finaliser of MurmurHash3).
fn mixed(count: u32) -> u32 {
    let first = (count ^ (count >> 16)).wrapping_mul(0x85eb_ca6b);
    let second = (first ^ (first >> 13)).wrapping_mul(0xc2b2_ae35);
    second ^ (second >> 16)
}

fn answer(body: &Value, mood: Mood, has_key: bool, count: u32) -> (&'static str, Value) {
    if mood == Mood::Locked || !has_key {
        let said = format!("Incorrect API key provided: {KEY},\n\u{202e}ask ann.lee@example.com. {}", "x".repeat(100_000));
        return ("401 Unauthorized", json!({ "error": { "message": said } }));
    }
    if mood == Mood::Busy && count.is_multiple_of(5) {
        return ("429 Too Many Requests", json!({ "error": { "message": "slow down" } }));
    }
    let question = body["messages"].as_array().unwrap().last().unwrap()["content"].as_str().unwrap();
    let number: u32 = question.split(' ').nth(2).unwrap().parse().unwrap();
    // A model is not quite the same each time at temperature 0 either.
    // Without a rhythm: each fourth call would be of other items in each run, and answers would differ between runs more than within.
    let tail = if mixed(count) < u32::MAX / 4 { " You can count it on your fingers." } else { "" };
    let (model, tokens, text) = match mood {
        Mood::Worse if number.is_multiple_of(3) => {
            ("stand-in-1", 12, format!("The sum of {number} and one is unknown to me.{tail}"))
        }
        Mood::Swapped => ("stand-in-2", 31, format!("{}! Glad to be of service, dear friend, with any arithmetic.", number + 1)),
        _ => ("stand-in-1", 12, format!("The sum of {number} and one is {}.{tail}", number + 1)),
    };
    let choice = json!({ "index": 0, "message": { "role": "assistant", "content": text }, "finish_reason": "stop" });
    let usage = json!({ "prompt_tokens": tokens, "completion_tokens": 9, "total_tokens": tokens + 9 });
    (
        "200 OK",
        json!({ "id": format!("c{count}"), "object": "chat.completion", "model": model, "system_fingerprint": "fp_1", "choices": [choice], "usage": usage }),
    )
}

struct Stage {
    dir: tempfile::TempDir,
    model: StandIn,
}

impl Stage {
    fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let rows = (0..30).map(|index| {
            let category = if index % 3 == 0 { "threes" } else { "others" };
            let grader = json!({ "type": "regex", "value": format!("\\b{}\\b", index + 1) });
            json!({ "id": format!("i{index}"), "prompt": format!("What is {index} plus one?"), "grader": grader, "category": category }).to_string()
        });
        std::fs::write(dir.path().join("sums.jsonl"), rows.collect::<Vec<_>>().join("\n")).unwrap();
        std::fs::write(dir.path().join("key"), KEY).unwrap();
        Self { dir, model: StandIn::start(Mood::Steady) }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    /// Runs the command. Its exit code, its report, and what else it said.
    fn eval(&self, more: &[&str]) -> (i32, Value, String) {
        let mut command = watchkeeper();
        command.args([
            "eval",
            "model",
            "--model",
            "stand-in",
            "--repeat",
            "3",
            "--concurrency",
            "4",
            "--format",
            "json",
            "--endpoint",
            &self.model.base,
        ]);
        command.arg("--set").arg(self.path("sums.jsonl")).arg("--api-key").arg(format!("file:{}", self.path("key").display()));
        let output = command.args(more).output().unwrap();
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        let report = serde_json::from_slice(&output.stdout).unwrap_or_default();
        assert!(!said.contains(KEY) && !String::from_utf8_lossy(&output.stdout).contains(KEY), "the key is told");
        (output.status.code().unwrap(), report, said)
    }

    fn baseline(&self) -> String {
        let path = self.path("sums.baseline.json").display().to_string();
        let (code, report, said) = self.eval(&["--record", &path]);
        assert_eq!(
            (code, report["outcome"].as_str(), report["summary"]["score"].as_f64()),
            (0, Some("not_compared"), Some(1.0)),
            "{said}"
        );
        path
    }
}

#[test]
fn a_model_that_changes_is_told_from_one_that_does_not() {
    let stage = Stage::new();
    let baseline = stage.baseline();
    let kept = std::fs::read_to_string(&baseline).unwrap();
    assert!(!kept.contains("The sum of") && !kept.contains(KEY), "a baseline holds no texts and no keys");
    for (mood, code, verdicts, changes) in [
        (Mood::Steady, 0, json!(["no_change"]), json!([])),
        (Mood::Busy, 0, json!(["no_change"]), json!([])),
        (Mood::Worse, 1, json!(["drift", "tampering_or_swap"]), json!(["score", "answers"])),
        (Mood::Swapped, 1, json!(["tampering_or_swap"]), json!(["model_name", "input_tokens", "answers"])),
    ] {
        stage.model.is_now(mood);
        let (exit, report, said) = stage.eval(&["--baseline", &baseline]);
        assert_eq!(exit, code, "{report} {said}");
        let compared = &report["comparison"];
        assert_eq!((&compared["verdicts"], &compared["changes"]), (&verdicts, &changes), "{compared}");
        if mood == Mood::Worse {
            let told = compared["categories"].as_array().unwrap().iter().filter(|one| one["has_changed"] == true);
            assert_eq!(told.map(|one| one["category"].clone()).collect::<Vec<_>>(), ["threes"]);
        }
    }
    stage.model.is_now(Mood::Tarpit);
    let again = stage.path("again.json").display().to_string();
    let (exit, report, said) = stage.eval(&["--baseline", &baseline, "--record", &again, "--deadline", "2"]);
    assert_eq!((exit, report["outcome"].as_str()), (2, Some("incomplete")), "{said}");
    assert!(report["problem"].as_str().unwrap().contains("90 of 90 answers missing"), "{report}");
    assert!(!Path::new(&again).exists(), "half a run is no baseline");
    stage.model.is_now(Mood::Locked);
    let before = stage.model.asked.load(Ordering::Relaxed);
    let (exit, report, _) = stage.eval(&["--baseline", &baseline]);
    assert_eq!((exit, report["outcome"].as_str()), (2, Some("failed")));
    // Why is said in words of ours; what the endpoint says is kept for programs, in one line, without key and address.
    assert!(report["problem"].as_str().unwrap().ends_with("the first reason: the key is refused (HTTP 401)"), "{report}");
    let told = report["items"][0]["error"].as_str().unwrap();
    assert!(told.contains("Incorrect API key provided: <KEY>, ask <EMAIL:") && told.len() < 600, "{told}");
    assert!(!report.to_string().contains("ann.lee"), "{report}");
    assert!(stage.model.asked.load(Ordering::Relaxed) - before < 10, "a refused key is not tried 90 times");
    let before = stage.model.asked.load(Ordering::Relaxed);
    for (more, named) in [
        (&["--baseline", "/nowhere/x.json"][..], "--record"),
        (&["--max-calls", "50"], "90 requests are needed"),
        (&["--api-key", "sk-literal"], "cannot be used multiple times"),
    ] {
        let (exit, _, said) = stage.eval(more);
        assert_eq!(exit, 2, "{said}");
        assert!(said.contains(named), "{said}");
    }
    assert_eq!(stage.model.asked.load(Ordering::Relaxed), before, "what cannot be compared costs nothing");
}

#[test]
fn runs_are_recorded_and_changes_are_detected_by_command_and_on_schedule() {
    let stage = Stage::new();
    let baseline = stage.baseline();
    stage.model.is_now(Mood::Worse);
    let data = stage.path("data");
    let evaluate = stage.evaluate("nightly-sums", &stage.model.base, &baseline, "");
    let server = Server::start_with(&data, &evaluate);
    let run = "SELECT name, outcome, score, score_before, application FROM evaluations WHERE scope = 'run' ORDER BY seq";
    let began = Instant::now();
    let mut runs = Vec::new();
    while runs.is_empty() {
        assert!(began.elapsed() < SOON, "the schedule has run nothing");
        std::thread::sleep(std::time::Duration::from_millis(200));
        runs = server.query(run);
    }
    assert_eq!(
        (runs[0]["name"].as_str(), runs[0]["outcome"].as_str(), runs[0]["application"].as_str()),
        (Some("nightly-sums"), Some("changed"), Some("watchkeeper"))
    );
    assert!(runs[0]["score"].as_f64().unwrap() < 0.7 && runs[0]["score_before"].as_f64() == Some(1.0), "{runs:?}");
    // The command reports to the server that runs on the record.
    let (exit, ..) = stage.eval(&["--baseline", &baseline, "--name", "by-hand", "--data", &data.display().to_string()]);
    assert_eq!(exit, 1);
    server.settle();
    let items = server.query(
        "SELECT name, label, count(*) AS n FROM evaluations WHERE scope = 'item' GROUP BY name, label ORDER BY name, label",
    );
    let items: Vec<(String, String, u64)> = items
        .iter()
        .map(|row| {
            (row["name"].as_str().unwrap().to_owned(), row["label"].as_str().unwrap().to_owned(), row["n"].as_u64().unwrap())
        })
        .collect();
    let expected = |name: &str| [(name.to_owned(), "fail".to_owned(), 10), (name.to_owned(), "pass".to_owned(), 20)];
    assert_eq!(items, [expected("by-hand"), expected("nightly-sums")].concat());
    let found = server.query("SELECT DISTINCT title, technique FROM detections WHERE title NOT LIKE 'Risk%' ORDER BY title");
    let found: Vec<_> = found.iter().map(|row| (row["title"].as_str().unwrap(), row["technique"].as_str().unwrap())).collect();
    let expected = [
        ("Model does worse, or better, on its benchmark set than it did", "AML.T0031"),
        ("Something else answers than the model that was evaluated", "AML.T0018"),
    ];
    assert_eq!(found, expected);
    server.stop();
    // Without a server the command writes the record itself.
    let (exit, ..) = stage.eval(&["--name", "alone", "--data", &data.display().to_string()]);
    assert_eq!(exit, 0);
    assert_eq!(rows("SELECT count(*) AS n FROM evaluations WHERE name = 'alone'", &data)[0]["n"], 31);
    coverage_asks_the_record(&data);
}

impl Stage {
    /// A table of the configuration. It runs once a start, and hardly twice in a test.
    fn evaluate(&self, name: &str, endpoint: &str, baseline: &str, more: &str) -> String {
        format!(
            "[[evaluate]]\nname = \"{name}\"\nset = \"{}\"\nendpoint = \"{endpoint}\"\nmodel = \"stand-in\"\napi_key = \"file:{}\"\nevery = \"1h\"\nbaseline = \"{baseline}\"\n{more}\n",
            self.path("sums.jsonl").display(),
            self.path("key").display(),
        )
    }
}

/// Runs of the schedule: waits until there are so many.
fn runs(server: &Server, count: usize) -> Vec<Value> {
    let began = Instant::now();
    loop {
        let runs = server.query(
            "SELECT name, outcome, baseline_state, problem FROM evaluations WHERE scope = 'run' AND application = 'watchkeeper' ORDER BY seq",
        );
        if runs.len() >= count {
            return runs;
        }
        assert!(began.elapsed() < SOON, "the schedule has run {runs:?}");
        std::thread::sleep(std::time::Duration::from_millis(200));
    }
}

#[test]
fn a_baseline_that_is_gone_blesses_no_other_model_and_a_stalling_endpoint_holds_up_nobody() {
    let stage = Stage::new();
    let (data, baseline) = (stage.path("data"), stage.path("sums.json"));
    let stalling = StandIn::start(Mood::Tarpit);
    let path = baseline.display().to_string();
    // The one that stalls stands first, and would take all of its two seconds before anybody else.
    let tables = [
        stage.evaluate("stalls", &stalling.base, &stage.path("never.json").display().to_string(), "deadline = \"2s\""),
        stage.evaluate("sums", &stage.model.base, &path, ""),
    ];
    let server = Server::start_with(&data, &tables.concat());
    let first = runs(&server, 2);
    let of = |runs: &[Value], name: &str| {
        let row = runs.iter().find(|row| row["name"] == name).unwrap();
        ["outcome", "baseline_state"].map(|column| row[column].as_str().unwrap_or("-").to_owned())
    };
    assert_eq!(first[0]["name"], "sums", "it did not wait: {first:?}");
    assert_eq!(of(&first, "sums"), ["not_compared", "first"]);
    assert_eq!(of(&first, "stalls"), ["incomplete", "first"]);
    assert!(baseline.exists() && !stage.path("never.json").exists());
    server.stop();

    // Somebody exchanges the model, and takes away what would show it.
    stage.model.is_now(Mood::Swapped);
    std::fs::remove_file(&baseline).unwrap();
    let sums = stage.evaluate("sums", &stage.model.base, &path, "");
    let server = Server::start_with(&data, &sums);
    let second = runs(&server, 3);
    assert_eq!(of(&second[2..], "sums"), ["changed", "missing"]);
    assert!(baseline.exists(), "it came back");
    server.stop();

    // Or puts a baseline of the exchanged one in its place.
    let (exit, ..) = stage.eval(&["--record", &stage.path("swapped.json").display().to_string()]);
    assert_eq!(exit, 0);
    std::fs::rename(stage.path("swapped.json"), &baseline).unwrap();
    let server = Server::start_with(&data, &sums);
    let third = runs(&server, 4);
    assert_eq!(of(&third[3..], "sums"), ["changed", "changed"]);
    server.settle();
    let found = server.query("SELECT title, count(*) AS n FROM detections WHERE title LIKE '%baseline%' OR title LIKE '%its end' GROUP BY title ORDER BY title");
    let found: Vec<_> = found.iter().map(|row| (row["title"].as_str().unwrap(), row["n"].as_u64().unwrap())).collect();
    let expected = [
        ("An evaluation of a model does not come to its end", 1),
        ("The baseline of an evaluated model is missing or was changed", 2),
    ];
    assert_eq!(found, expected);

    // An operator takes the model for the right one: that is recorded with their name.
    let mut command = watchkeeper();
    let unknown =
        watchkeeper().args(["eval", "accept", "--name", "sum", "--baseline", &path, "--data"]).arg(&data).output().unwrap();
    let said = String::from_utf8_lossy(&unknown.stderr);
    assert!(unknown.status.code() == Some(2) && said.contains("(it has ") && said.contains("sums"), "{said}");
    command.args(["eval", "accept", "--name", "sums", "--operator", "ann", "--baseline", &path, "--data"]).arg(&data);
    let output = command.output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    server.stop();
    let server = Server::start_with(&data, &sums);
    let fourth = runs(&server, 5);
    assert_eq!(of(&fourth[4..], "sums"), ["no_change", "accepted"]);
    server.settle();
    let accepted = server.query("SELECT count(*) AS n FROM admin_events WHERE action = 'accept'");
    assert_eq!(accepted[0]["n"], 2, "the first run, and the operator");
    server.stop();
}

/// What the record has decides what is covered.
fn coverage_asks_the_record(data: &Path) {
    let ask = |format: &str, with_data: bool| {
        let mut command = watchkeeper();
        command.args(["rules", "coverage", "--format", format]);
        if with_data {
            command.arg("--data").arg(data);
        }
        let output = command.output().unwrap();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8(output.stdout).unwrap()
    };
    let state = |report: &Value, technique: &str| {
        let all = report["techniques"].as_array().unwrap();
        let one = all.iter().find(|one| one["technique"] == technique).unwrap();
        (one["state"].as_str().unwrap().to_owned(), one["detections"].as_u64().unwrap())
    };
    let of_rules: Value = serde_json::from_str(&ask("json", false)).unwrap();
    assert_eq!(state(&of_rules, "AML.T0031"), ("examples_only".to_owned(), 0));
    let of_record: Value = serde_json::from_str(&ask("json", true)).unwrap();
    let (drift, detections) = state(&of_record, "AML.T0031");
    assert!(drift == "covered" && detections >= 2, "{drift} {detections}");
    // Nobody retrieved anything in this record.
    assert_eq!(state(&of_record, "AML.T0085.000").0, "fields_not_seen");
    let layer: Value = serde_json::from_str(&ask("navigator", true)).unwrap();
    assert_eq!((layer["domain"].as_str(), layer["versions"]["layer"].as_str()), (Some("atlas-atlas"), Some("4.3")));
    assert!(ask("table", true).contains("AML.T0051.001"));
}
