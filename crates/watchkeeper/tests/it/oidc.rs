//! People sign in by OpenID Connect, through the real binary: with a certified provider (`oidc-provider`), at which the tests sign in as a
//! browser would, and with a hostile one of the tests' own, which says what no provider should.

use std::collections::BTreeMap;
use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::{TcpListener, TcpStream};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::signature::{ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, KeyPair as _};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde_json::{Value, json};

use crate::support::{Answer, Server, http, root};

/// Where the provider sends browsers: the test takes path and query from there to wherever the console is.
const CALLBACK: &str = "http://127.0.0.1:1/api/session/oidc/callback";

const SECRET: &str = "the-secret-of-the-client";

/// The provider, in a process of its own.
struct Provider {
    child: Child,
    issuer: String,
}

impl Provider {
    fn start() -> Self {
        let environment = root().join("target/clients/oidc");
        assert!(environment.join("node_modules").exists(), "{} is missing: run `cargo xtask setup`", environment.display());
        // Node looks for packages beside the script.
        let script = environment.join("provider.mjs");
        std::fs::copy(root().join("tests/clients/oidc/provider.mjs"), &script).unwrap();
        let mut command = Command::new("node");
        command.arg(&script).args([CALLBACK, SECRET]).stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::null());
        let mut child = command.spawn().unwrap();
        let mut line = String::new();
        BufReader::new(child.stdout.take().unwrap()).read_line(&mut line).unwrap();
        let issuer = line.trim().strip_prefix("ready ").unwrap_or_else(|| panic!("{line}")).to_owned();
        Self { child, issuer }
    }
}

impl Drop for Provider {
    fn drop(&mut self) {
        drop(self.child.kill());
        drop(self.child.wait());
    }
}

fn config(dir: &Path, issuer: &str, client: &str) -> String {
    let secret = dir.join("secret");
    std::fs::write(&secret, format!("{SECRET}\n")).unwrap();
    let secret = match client {
        "public" => String::new(),
        _ => format!("client_secret = 'file:{}'\n", secret.display()),
    };
    format!(
        "[listen]\ntrusted_proxies = ['127.0.0.1']\n\
         [oidc]\nname = 'Example SSO'\nissuer = '{issuer}'\nclient_id = '{client}'\n{secret}redirect_url = '{CALLBACK}'\n\
         scopes = ['openid', 'profile', 'email', 'groups']\n\
         [oidc.roles]\nadmin = ['wk-admins']\nanalyst = ['wk-analysts']\nauditor = ['wk-auditors']\n"
    )
}

/// The values of a header.
fn headers<'a>(answer: &'a Answer, name: &str) -> Vec<&'a str> {
    let lines = answer.head.lines().filter_map(|line| line.split_once(": "));
    lines.filter(|(own, _)| own.eq_ignore_ascii_case(name)).map(|(_, value)| value).collect()
}

fn location(answer: &Answer) -> &str {
    headers(answer, "location")
        .first()
        .copied()
        .unwrap_or_else(|| panic!("{} {}", answer.head, String::from_utf8_lossy(&answer.body)))
}

/// The base of a URL, and the rest.
fn split(url: &str) -> (&str, &str) {
    let end = url.find("://").map_or(0, |at| at + 3);
    let end = url[end..].find('/').map_or(url.len(), |at| end + at);
    url.split_at(end)
}

fn parameter<'u>(url: &'u str, name: &str) -> Option<&'u str> {
    url.split(['?', '&', '#']).find_map(|pair| pair.strip_prefix(name)?.strip_prefix('='))
}

/// A browser: cookies, and an address that it comes from.
#[derive(Clone, Default)]
struct Browser {
    jar: BTreeMap<String, String>,
    address: String,
}

impl Browser {
    fn at(address: &str) -> Self {
        Self { address: address.to_owned(), ..Self::default() }
    }

    fn send(&mut self, base: &str, method: &str, path: &str, form: Option<&str>) -> Answer {
        let cookies: Vec<String> = self.jar.iter().map(|(name, value)| format!("{name}={value}")).collect();
        let cookies = cookies.join("; ");
        let mut sent = vec![("x-forwarded-for", self.address.as_str())];
        if !cookies.is_empty() {
            sent.push(("cookie", &cookies));
        }
        if form.is_some() {
            sent.push(("content-type", "application/x-www-form-urlencoded"));
        }
        let answer = http(base, method, path, &sent, form.unwrap_or_default().as_bytes());
        for cookie in headers(&answer, "set-cookie") {
            let (name, value) = cookie.split(';').next().unwrap().split_once('=').unwrap();
            match value {
                "" => self.jar.remove(name),
                value => self.jar.insert(name.to_owned(), value.to_owned()),
            };
        }
        answer
    }

    fn get(&mut self, server: &Server, path: &str) -> Answer {
        self.send(&server.console, "GET", path, None)
    }

    fn json(&mut self, server: &Server, path: &str) -> Value {
        let answer = self.get(server, path);
        assert_eq!(answer.status, 200, "{path}: {}", String::from_utf8_lossy(&answer.body));
        serde_json::from_slice(&answer.body).unwrap()
    }

    /// Goes to the console to sign in; gives where the provider is.
    fn start(&mut self, server: &Server, to: &str) -> String {
        let answer = self.get(server, &format!("/api/session/oidc/start?to={to}"));
        assert_eq!(answer.status, 302);
        location(&answer).to_owned()
    }

    /// Signs in at the provider's own pages; gives where it sends the browser back to, without the base. Nobody: goes back without.
    fn at_provider(&mut self, url: &str, login: Option<&str>) -> String {
        let mut url = url.to_owned();
        let mut form = None;
        for _ in 0..16 {
            let (base, path) = split(&url);
            let answer = self.send(base, if form.is_some() { "POST" } else { "GET" }, path, form.as_deref());
            if answer.status != 200 {
                let to = location(&answer);
                if to.starts_with(CALLBACK) {
                    return split(to).1.to_owned();
                }
                (url, form) = (if to.starts_with('/') { format!("{base}{to}") } else { to.to_owned() }, None);
                continue;
            }
            let page = String::from_utf8(answer.body).unwrap();
            let between = |before: &str| page.split(before).nth(1).and_then(|rest| rest.split('"').next()).map(str::to_owned);
            let action = between("action=\"").unwrap_or_else(|| panic!("{page}"));
            match login {
                None => (url, form) = (format!("{action}/abort"), None),
                Some(login) => {
                    let prompt = between("name=\"prompt\" value=\"").unwrap();
                    (url, form) = (action, Some(format!("prompt={prompt}&login={login}&password=x")));
                }
            }
        }
        panic!("the provider does not come to an end: {url}");
    }

    /// Signs in, all of it; gives where the console sends the browser.
    fn sign_in(&mut self, server: &Server, to: &str, login: Option<&str>) -> String {
        let url = self.start(server, to);
        let back = Self::default().at_provider(&url, login);
        let answer = self.get(server, &back);
        assert_eq!(answer.status, 302, "{}", String::from_utf8_lossy(&answer.body));
        location(&answer).to_owned()
    }
}

#[test]
fn people_sign_in_with_a_certified_provider() {
    let dir = tempfile::tempdir().unwrap();
    let provider = Provider::start();
    let server = Server::start_with(&dir.path().join("data"), &config(dir.path(), &provider.issuer, "watchkeeper"));

    let offered = Browser::default().json(&server, "/api/session/providers");
    assert_eq!(offered, json!({ "oidc": { "name": "Example SSO", "start": "/api/session/oidc/start" } }));

    // An analyst, step by step.
    let mut ann = Browser::at("10.0.0.1");
    let url = ann.start(&server, "%2Fdetections%3Fstate%3Dopen");
    for part in
        ["response_type=code", "code_challenge_method=S256", "state=", "nonce=", "scope=openid%20profile%20email%20groups"]
    {
        assert!(url.contains(part), "{part}: {url}");
    }
    let back = Browser::default().at_provider(&url, Some("ann"));
    let before = ann.clone();
    let answer = ann.get(&server, &back);
    assert_eq!((answer.status, location(&answer)), (302, "/detections?state=open"));
    let cookies = headers(&answer, "set-cookie");
    let session = cookies.iter().find(|cookie| cookie.starts_with("wk_session=")).unwrap();
    assert!(session.contains("; HttpOnly; SameSite=Strict;"), "{session}");
    assert!(!ann.jar.contains_key("wk_sign_in"), "the cookie of the sign-in under way ends with it");
    let who = ann.json(&server, "/api/session");
    let person = json!({ "subject": "ann", "name": "Ann Lee", "email": "ann.lee@example.com", "provider": provider.issuer });
    assert_eq!((&who["role"], &who["person"], &who["key_id"]), (&json!("analyst"), &person, &json!("oidc:ann")));
    assert_eq!(ann.get(&server, "/api/people").status, 403);
    assert_eq!(ann.send(&server.console, "POST", "/api/query", Some(r#"{"sql":"SELECT 4711"}"#)).status, 200);

    // The same answer again, from the same browser and from another, gets nobody in.
    for mut replayed in [before, Browser::at("10.0.0.2")] {
        assert_eq!(location(&replayed.get(&server, &back)), "/?sign_in_error=state");
        assert!(!replayed.jar.contains_key("wk_session"));
    }
    // An answer that somebody else's browser got is not taken by this one.
    let mut mallory = Browser::at("10.0.0.3");
    let url = mallory.start(&server, "/");
    let theirs = Browser::default().at_provider(&url, Some("root"));
    let mut victim = Browser::at("10.0.0.4");
    victim.start(&server, "/");
    assert_eq!(location(&victim.get(&server, &theirs)), "/?sign_in_error=state");

    // Whoever says no, and whoever has no role.
    let mut guest = Browser::at("10.0.0.5");
    assert_eq!(guest.sign_in(&server, "/", None), "/?sign_in_error=denied");
    assert_eq!(guest.sign_in(&server, "/", Some("guest")), "/?sign_in_error=role");
    assert_eq!((guest.get(&server, "/api/session").status, guest.jar.contains_key("wk_session")), (401, false));

    // Nobody is sent to another's page.
    for to in ["//evil.example", "https:%2F%2Fevil.example", "/%5Cevil.example", "/%09/evil.example", "/api/keys"] {
        let answer = guest.get(&server, &format!("/api/session/oidc/start?to={to}"));
        assert_eq!((answer.status, headers(&answer, "location").len()), (400, 0), "{to}");
    }

    // What a page loads unseen is no sign-in.
    let unseen = http(&server.console, "GET", "/api/session/oidc/start", &[("sec-fetch-mode", "no-cors")], b"");
    assert_eq!(unseen.status, 400);

    // An administrator, who sees who is there, makes a key and ends what the analyst has open.
    let mut root = Browser::at("10.0.0.6");
    assert_eq!(root.sign_in(&server, "/", Some("root")), "/");
    assert_eq!(root.json(&server, "/api/session")["role"], "admin", "the role that allows the most counts");
    let people = root.json(&server, "/api/people");
    let rows: Vec<_> =
        people["rows"].as_array().unwrap().iter().map(|row| (&row["subject"], &row["role"], &row["sessions"])).collect();
    assert_eq!(rows, [(&json!("root"), &json!("admin"), &json!(1)), (&json!("ann"), &json!("analyst"), &json!(1))]);
    let made = root.send(&server.console, "POST", "/api/keys", Some(r#"{"name":"probe","role":"sensor"}"#));
    assert_eq!(made.status, 200);
    assert_eq!(root.send(&server.console, "DELETE", "/api/people/nobody/sessions", None).status, 404);
    assert_eq!(root.send(&server.console, "DELETE", "/api/people/ann/sessions", None).status, 204);
    assert_eq!(ann.get(&server, "/api/session").status, 401);
    assert_eq!(root.send(&server.console, "DELETE", "/api/session", None).status, 204);
    assert_eq!(root.get(&server, "/api/session").status, 401);

    // What the record has of it: who, by whose word, and why not.
    server.settle();
    let rows = server.query(
        "SELECT name, user_id, user_proof, attributes ->> '$.\"event.outcome\"' AS outcome, attributes ->> '$.\"error.type\"' AS why, \
         attributes ->> '$.\"watchkeeper.user.issuer\"' AS issuer FROM events WHERE attributes ->> '$.\"watchkeeper.auth.method\"' = 'oidc' \
         ORDER BY time, event_id",
    );
    let told: Vec<String> = rows
        .iter()
        .map(|row| {
            let text = |name: &str| row[name].as_str().unwrap_or("-").to_owned();
            let by = if row["issuer"] == provider.issuer.as_str() { "known" } else { "nobody" };
            format!("{} {} {} {} {by}", text("name"), text("user_id"), text("outcome"), text("why"))
        })
        .collect();
    let expected = [
        "sign_in oidc:ann success - known",
        "sign_in - failure state nobody",
        "sign_in - failure state nobody",
        "sign_in - failure state nobody",
        "sign_in - failure denied nobody",
        "sign_in oidc:guest failure role known",
        "sign_in oidc:root success - known",
        "sign_out oidc:root success - known",
    ];
    assert_eq!(told, expected);
    assert!(rows.iter().all(|row| row["user_id"].is_null() || row["user_proof"] == "oidc"), "{rows:?}");
    let read = server.query(
        "SELECT user_name, attributes ->> '$.\"user.email\"' AS email FROM events WHERE kind = 'data_access' AND user_id = 'oidc:ann' AND \
         user_proof = 'oidc' AND session_id LIKE 'console-%'",
    );
    assert_eq!((read.len(), &read[0]["user_name"]), (1, &json!("Ann Lee")), "{read:?}");
    // An address is what the sanitiser's policy makes of one.
    let email = read[0]["email"].as_str().unwrap();
    assert!(!email.is_empty() && !email.contains("ann.lee@example.com"), "{email}");
    let of_root = server.query(
        "SELECT name FROM events WHERE kind = 'admin' AND user_id = 'oidc:root' AND user_name = 'Rosa Root' AND user_proof = 'oidc' AND \
         session_id LIKE 'console-%' ORDER BY time",
    );
    let names: Vec<_> = of_root.iter().map(|row| row["name"].as_str().unwrap()).collect();
    assert_eq!(names, ["key.create", "person.sessions.end"]);

    // What would let somebody in stands in no log.
    let log = std::fs::read_to_string(&server.log).unwrap();
    for secret in
        [SECRET, parameter(&back, "code").unwrap(), parameter(&back, "state").unwrap(), session.split([';', '=']).nth(1).unwrap()]
    {
        assert!(!log.contains(secret), "the log has {secret}");
    }
    server.stop();

    // A public client, which has no secret.
    let dir = tempfile::tempdir().unwrap();
    let server = Server::start_with(&dir.path().join("data"), &config(dir.path(), &provider.issuer, "public"));
    let mut root = Browser::at("10.0.0.1");
    assert_eq!(root.sign_in(&server, "/", Some("root")), "/");
    // It always names itself with its answers (RFC 9207): one that does not is none of its own.
    let mut late = Browser::at("10.0.0.2");
    let back = Browser::default().at_provider(&late.start(&server, "/"), Some("root"));
    let (unnamed, _) = back.split_once("&iss=").unwrap();
    assert_eq!(location(&late.get(&server, unnamed)), "/?sign_in_error=provider");
    // The provider ends between two steps: nobody new gets in, and whoever is in stays.
    let back = Browser::default().at_provider(&late.start(&server, "/"), Some("root"));
    drop(provider);
    assert_eq!(location(&late.get(&server, &back)), "/?sign_in_error=provider");
    assert_eq!(root.json(&server, "/api/session")["role"], "admin");
    server.stop();
}

/// Signs tokens.
struct Signer(EcdsaKeyPair);

impl Signer {
    fn new() -> Self {
        Self(EcdsaKeyPair::generate(&ECDSA_P256_SHA256_FIXED_SIGNING).unwrap())
    }

    fn jwk(&self, kid: &str) -> Value {
        let point = self.0.public_key().as_ref();
        let base64 = |bytes: &[u8]| URL_SAFE_NO_PAD.encode(bytes);
        json!({ "kty": "EC", "crv": "P-256", "kid": kid, "alg": "ES256", "x": base64(&point[1..33]), "y": base64(&point[33..]) })
    }

    fn sign(&self, kid: &str, claims: &Value) -> String {
        let signed = unsigned(&json!({ "alg": "ES256", "kid": kid }), claims);
        let signature = self.0.sign(&SystemRandom::new(), signed.as_bytes()).unwrap();
        format!("{signed}.{}", URL_SAFE_NO_PAD.encode(signature))
    }
}

fn unsigned(header: &Value, claims: &Value) -> String {
    format!("{}.{}", URL_SAFE_NO_PAD.encode(header.to_string()), URL_SAFE_NO_PAD.encode(claims.to_string()))
}

/// A provider that says what the code asks of it: `CASE.NONCE`.
struct Hostile {
    issuer: String,
    own: Signer,
    next: Signer,
    strangers: Signer,
    has_rotated: AtomicBool,
}

impl Hostile {
    fn start() -> Arc<Self> {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let issuer = format!("http://{}", listener.local_addr().unwrap());
        let [own, next, strangers] = std::array::from_fn(|_| Signer::new());
        let provider = Arc::new(Self { issuer, own, next, strangers, has_rotated: AtomicBool::new(false) });
        let serving = provider.clone();
        std::thread::spawn(move || listener.incoming().flatten().for_each(|stream| serving.serve(stream)));
        provider
    }

    fn serve(&self, stream: TcpStream) {
        let mut reader = BufReader::new(stream.try_clone().unwrap());
        let (mut head, mut length) = (String::new(), 0);
        while reader.read_line(&mut head).is_ok_and(|read| read > 2) {
            let line = head.lines().last().unwrap_or_default().to_ascii_lowercase();
            length = line.strip_prefix("content-length:").map_or(length, |value| value.trim().parse().unwrap());
        }
        let mut body = vec![0; length];
        reader.read_exact(&mut body).unwrap();
        let body = String::from_utf8(body).unwrap();
        let (status, more, answer) = self.answer(head.split(' ').nth(1).unwrap_or_default(), &head, &body);
        let length = answer.len();
        // Whoever has read enough of a long answer goes.
        drop(write!(&stream, "HTTP/1.1 {status}\r\ncontent-length: {length}\r\n{more}connection: close\r\n\r\n{answer}"));
    }

    fn answer(&self, path: &str, head: &str, body: &str) -> (&'static str, String, String) {
        let ok = |value: Value| ("200 OK", "content-type: application/json\r\n".to_owned(), value.to_string());
        match path {
            "/.well-known/openid-configuration" => ok(json!({
                "issuer": self.issuer, "authorization_endpoint": format!("{}/auth", self.issuer),
                "token_endpoint": format!("{}/token", self.issuer), "jwks_uri": format!("{}/jwks", self.issuer),
                "userinfo_endpoint": format!("{}/userinfo", self.issuer), "token_endpoint_auth_methods_supported": ["client_secret_post"],
            })),
            "/jwks" if self.has_rotated.load(Ordering::Relaxed) => {
                ok(json!({ "keys": [self.own.jwk("k1"), self.next.jwk("k2")] }))
            }
            "/jwks" => ok(json!({ "keys": [self.own.jwk("k1"), { "kty": "unheard of" }] })),
            // Of somebody else than the ID token.
            "/userinfo" => {
                assert!(head.to_ascii_lowercase().contains("authorization: bearer access"), "{head}");
                ok(json!({ "sub": "root", "groups": ["wk-admins"] }))
            }
            "/token" => {
                for field in [
                    "grant_type=authorization_code",
                    "client_id=watchkeeper",
                    &format!("client_secret={SECRET}"),
                    "code_verifier=",
                ] {
                    assert!(body.contains(field), "{field}");
                }
                let (case, nonce) = parameter(body, "code").unwrap().split_once('.').unwrap();
                let case = case.to_owned();
                if case == "redirect" {
                    return ("307 Temporary Redirect", format!("location: {}/token\r\n", self.issuer), String::new());
                }
                if case == "spent" {
                    return ("400 Bad Request", String::new(), json!({ "error": "invalid_grant" }).to_string());
                }
                let mut answer = json!({ "access_token": "access", "token_type": "Bearer" });
                match self.token(&case, nonce) {
                    Some(token) => answer["id_token"] = token.into(),
                    None => answer["padding"] = "x".repeat(512 * 1024).into(),
                }
                ok(answer)
            }
            _ => ("404 Not Found", String::new(), String::new()),
        }
    }

    fn token(&self, case: &str, nonce: &str) -> Option<String> {
        let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap().as_secs();
        let mut claims = json!({
            "iss": self.issuer, "aud": "watchkeeper", "sub": "eve", "nonce": nonce, "iat": now, "exp": now + 60, "groups": ["wk-auditors"],
        });
        let mut set = |name: &str, value: Value| claims[name] = value;
        match case {
            "nonce" => set("nonce", "another".into()),
            "audience" => set("aud", "another".into()),
            "party" => set("azp", "another".into()),
            "issuer" => set("iss", "https://login.example".into()),
            "expired" => set("exp", (now - 3_600).into()),
            "future" => set("iat", (now + 3_600).into()),
            "role" => set("groups", json!(["wk-admins-not", "WK-ADMINS"])),
            _ => {}
        }
        if case == "userinfo" {
            claims.as_object_mut().unwrap().remove("groups");
        }
        Some(match case {
            "stranger" => self.strangers.sign("k1", &claims),
            "unknown" => self.strangers.sign("k9", &claims),
            "none" => unsigned(&json!({ "alg": "none" }), &claims) + ".",
            "hmac" => {
                let signed = unsigned(&json!({ "alg": "HS256" }), &claims);
                let key = aws_lc_rs::hmac::Key::new(aws_lc_rs::hmac::HMAC_SHA256, SECRET.as_bytes());
                let tag = aws_lc_rs::hmac::sign(&key, signed.as_bytes());
                format!("{signed}.{}", URL_SAFE_NO_PAD.encode(tag))
            }
            "rotated" => {
                self.has_rotated.store(true, Ordering::Relaxed);
                self.next.sign("k2", &claims)
            }
            "long" => return None,
            _ => self.own.sign("k1", &claims),
        })
    }
}

#[test]
fn nobody_signs_in_by_what_a_provider_must_not_say() {
    let dir = tempfile::tempdir().unwrap();
    let provider = Hostile::start();
    let server = Server::start_with(&dir.path().join("data"), &config(dir.path(), &provider.issuer, "watchkeeper"));
    // Comes back with a code for the case; `more` is appended to the query.
    let try_in = |address: &str, case: &str, more: &str| {
        let mut browser = Browser::at(address);
        let url = browser.start(&server, "/live");
        let (state, nonce) = (parameter(&url, "state").unwrap(), parameter(&url, "nonce").unwrap());
        let answer = browser.get(&server, &format!("/api/session/oidc/callback?state={state}&code={case}.{nonce}{more}"));
        assert_eq!(browser.jar.contains_key("wk_session"), location(&answer) == "/live", "{case}");
        location(&answer).to_owned()
    };
    let named = format!("&iss={}", provider.issuer.replace(':', "%3A").replace('/', "%2F"));
    for (nth, (case, more, to)) in [
        ("good", "", "/live"),
        ("good", named.as_str(), "/live"),
        // What makes the others fail is the one thing that they say.
        ("nonce", "", "provider"),
        ("audience", "", "provider"),
        ("party", "", "provider"),
        ("issuer", "", "provider"),
        ("expired", "", "provider"),
        ("future", "", "provider"),
        ("stranger", "", "provider"),
        ("unknown", "", "provider"),
        ("none", "", "provider"),
        ("hmac", "", "provider"),
        ("long", "", "provider"),
        ("redirect", "", "provider"),
        ("userinfo", "", "provider"),
        ("role", "", "role"),
        ("spent", "", "expired"),
        // Another provider's answer (mix-up).
        ("good", "&iss=https%3A%2F%2Flogin.example", "provider"),
        ("good", "&error=server_error", "provider"),
        ("good", "&error=access_denied", "denied"),
        // A parameter that is there twice.
        ("good", "&state=x", "state"),
        // New keys, which are asked for when they are needed.
        ("rotated", "", "/live"),
        ("good", "", "/live"),
    ]
    .into_iter()
    .enumerate()
    {
        let expected = if to.starts_with('/') { to.to_owned() } else { format!("/?sign_in_error={to}") };
        assert_eq!(try_in(&format!("10.1.0.{nth}"), case, more), expected, "{case}{more}");
    }
    // Who fails too often waits, and signs in with no key either.
    for _ in 0..10 {
        assert_eq!(try_in("10.2.0.1", "none", ""), "/?sign_in_error=provider");
    }
    let mut browser = Browser::at("10.2.0.1");
    assert_eq!(browser.get(&server, "/api/session/oidc/start").status, 429);
    let key = json!({ "key": server.key }).to_string();
    assert_eq!(browser.send(&server.console, "POST", "/api/session", Some(&key)).status, 429);
    assert_eq!(Browser::at("10.2.0.2").send(&server.console, "POST", "/api/session", Some(&key)).status, 200);
    server.stop();
}

#[test]
fn a_provider_that_is_down_keeps_nobody_with_a_key_out() {
    let dir = tempfile::tempdir().unwrap();
    // A port that nobody listens on: it was just given back.
    let dead = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let server = Server::start_with(&dir.path().join("data"), &config(dir.path(), &format!("http://{dead}"), "watchkeeper"));
    let mut browser = Browser::at("10.0.0.1");
    assert_eq!(browser.json(&server, "/api/session/providers")["oidc"]["name"], "Example SSO");
    assert_eq!(browser.start(&server, "/"), "/?sign_in_error=provider");
    let key = json!({ "key": server.key }).to_string();
    assert_eq!(browser.send(&server.console, "POST", "/api/session", Some(&key)).status, 200);
    assert_eq!(browser.json(&server, "/api/session")["person"], Value::Null);
    server.stop();
}
