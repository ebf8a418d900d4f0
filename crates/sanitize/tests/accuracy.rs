//! What is found, and what is not: synthetic positives and hard negatives, by type.

mod common;

use common::{check, sanitizer};

#[test]
fn email() {
    check(&[
        "mail «EMAIL:ann@example.com» now",
        "«EMAIL:Ann.B+tag@mail.example.co.uk», «EMAIL:b_c@x-y.org».",
        "<«EMAIL:ann@example.com»>",
        "mailto:«EMAIL:ann@example.com»?subject=x",
        "?email=«EMAIL:ann@example.com»&x=1",
        "first line\\n«EMAIL:ann@example.com»\\n",
        "联系«EMAIL:zhang@example.cn»。",
        "«EMAIL:josé@example.com»",
        "«EMAIL:ann%40example.com»",
        "«EMAIL:ann\\u0040example.com»",
        "«EMAIL:ann＠example．com»",
        "«EMAIL:an\u{200b}n@exam\u{200b}ple.com»",
        "«EMAIL:ann [at] example [dot] com»",
        "«EMAIL:ann(at)example.com»",
        "«EMAIL:ann at example dot com» please",
        "«EMAIL:ann&#64;example.com»",
        "look at @app.route and @user, icon@2x.png, pkg@1.2.3, root@localhost, a @ b",
        "git@github.com:owner/repo.git",
        "meet me at example.com, a dot com company",
        "f(at) and x[at] and (at) all",
    ]);
}

#[test]
fn phone() {
    check(&[
        "«PHONE:+44 20 7946 0958»",
        "«PHONE:+1 (212) 555-0143»",
        "«PHONE:+1-212-555-0143».",
        "«PHONE:+4915112345678»",
        "«PHONE:+44 (0)20 7946 0958»",
        "«PHONE:+33 6 12 34 56 78», or",
        "«PHONE:(212) 555-0143»",
        "(«PHONE:212-555-0143»)",
        "«PHONE:212.555.0143»",
        "«PHONE:1-800-555-0199»",
        "«PHONE:212-555-0143 x22»",
        "«PHONE:020 7946 0958»",
        "«PHONE:07700 900123»",
        "«PHONE:01 23 45 67 89»",
        "«PHONE:030 12345678»",
        "«PHONE:0049 151 23456789»",
        "phone: «PHONE:2125550143»",
        "WhatsApp me on «PHONE:15125550143»",
        "«PHONE:(11) 91234-5678»",
        "«PHONE:138 1234 5678»",
        "tel:«PHONE:+1-201-555-0123»",
        "«PHONE:２１２-５５５-０１４３»",
        // not
        "2024-01-02T03:04:05.678901Z and 2024-01-02 03:04:05 +0200",
        "1700000000 1700000000000 1700000000000000000",
        "550e8400-e29b-41d4-a716-446655440000",
        "da39a3ee5e6b4b0d3255bfef95601890afd80709",
        "order 123-4567890-1234567, invoice 2024-000123, ticket #2125550143",
        "1,234,567.89 USD, $1234567890, €12345678901",
        "v10.0.19041.1234 and 1.2.3-4567890",
        "«GPS_COORDINATES:48.858370, 2.294481» and -122.419416",
        "12345678901234567890 0.12345678901",
        "id=2125550143 and call_id 2125550143",
        "range 100-200-3000, 10-20-30-40",
        "01-02-2024 10:00, 2024/01/02 1200",
        "arr[0123456789] 0x12345678 1e10 12345678px",
        "an iPhone 3GS on 2022-0 3-04 with",
        "ISBN 978-3-16-148410-0",
        "3.14159265358979, 2.718281828459045",
        "100 200 300 400 500 600 700",
        "chatcmpl-123456789012345 req_0123456789",
        "10 000 000 000 and 1 234 567 890",
    ]);
}

#[test]
fn card_and_verification_value() {
    check(&[
        "«CREDIT_CARD:4111111111111111»",
        "«CREDIT_CARD:4111 1111 1111 1111» exp «CARD_EXPIRY:12/26» CVV: «CVV:123»",
        "«CREDIT_CARD:4111-1111-1111-1111»",
        "«CREDIT_CARD:378282246310005», «CREDIT_CARD:3782 822463 10005»",
        "«CREDIT_CARD:5555555555554444» «CREDIT_CARD:6011111111111117»",
        "«CREDIT_CARD:4 1 1 1 1 1 1 1 1 1 1 1 1 1 1 1»",
        "card «CREDIT_CARD:4222222222222»",
        "pay_«CREDIT_CARD:4111111111111111»",
        "line\\n«CREDIT_CARD:4111111111111111»\\n",
        "«CREDIT_CARD:４１１１１１１１１１１１１１１１»",
        "security code is «CVV:1234», cvc2: «CVV:987»",
        // not
        "4111111111111112 1234567812345678 0000000000000000",
        "4222222222222",
        "1234 5678 9012 3456",
        "0.4111111111111111",
        "a4111111111111111b",
        "cvv is required. 123 items; recvcvc 123",
    ]);
}

#[test]
fn iban() {
    check(&[
        "«IBAN:DE89370400440532013000»",
        "«IBAN:GB29 NWBK 6016 1331 9268 19» to",
        "«IBAN:fr14 2004 1010 0505 0001 3m02 606»",
        "IBAN:«IBAN:NL91ABNA0417164300».",
        "DE89370400440532013001 US133000000121212121212 XX89370400440532013000",
    ]);
}

#[test]
fn social_security_number() {
    check(&[
        "«US_SSN:536-22-1234»",
        "SSN «US_SSN:536221234»",
        "social security number: «US_SSN:536 22 1234»",
        "000-22-1234 666-22-1234 900-22-1234 536-00-1234 536-22-0000",
        "536221234 and 1536-22-1234 and 536-22-12345 and A-536-22-1234",
    ]);
}

#[test]
fn ip_address() {
    check(&[
        "«IP_ADDRESS:203.0.113.9»:8080, «IP_ADDRESS:10.1.2.3»/24",
        "http://«IP_ADDRESS:198.51.100.7»/x",
        "from «IP_ADDRESS:2001:db8::8a2e:370:7334» to [«IP_ADDRESS:fe80::1»]:80",
        "«IP_ADDRESS:2001:0db8:85a3:0000:0000:8a2e:0370:7334».",
        "«IP_ADDRESS:203.0.113.9».",
        // not
        "127.0.0.1 0.0.0.0 ::1 :: 255.255.255.0 169.254.169.254",
        "https://x.example/«IP_ADDRESS:203.0.113.77», host.«IP_ADDRESS:203.0.113.77»",
        "https://x.example/«IP_ADDRESS:2001:db8:85a3::8a2e:370:7334», resource.«IP_ADDRESS:2001:db8:85a3::8a2e:370:7334»",
        "https://x.example/users/«US_SSN:536-90-4399», record.«US_SSN:536-90-4399»",
        "version 1.2.3.4, v1.2.3.4, Chrome/120.0.0.0, lib-1.2.3.4.tar.gz, pkg==1.2.3.4",
        "1.2.3.4.5 256.1.1.1 01.02.03.04",
        "12:34:56 a::b std::fmt x[1::2] dead::beef",
        "section 4.1.2.3",
    ]);
}

/// Built from parts, so that scanners of this repository stay quiet.
fn key(prefix: &str, len: usize) -> String {
    let run: String = "aB3dE5gH7jK9mN1pQ3sT5vW7yZ9bC1eF3hJ5kM7nP9rS1uV3xY5zA7cD9fG1iL3o".chars().cycle().take(len).collect();
    format!("{prefix}{run}")
}

#[test]
fn provider_keys() {
    let upper: String = "Q3ZT5VW7YJ9BC1EF".to_owned();
    let hex = "0123456789abcdef".repeat(2);
    let cases = [
        ("ANTHROPIC_KEY", key("sk-ant-api03-", 40)),
        ("OPENAI_KEY", key("sk-proj-", 48)),
        ("OPENAI_KEY", key("sk-", 48)),
        ("AWS_ACCESS_KEY_ID", format!("AKIA{upper}")),
        ("GITHUB_TOKEN", key("ghp_", 36)),
        ("GITHUB_TOKEN", key("gho_", 36)),
        ("GITHUB_TOKEN", key("ghs_", 36)),
        ("GITHUB_TOKEN", key("github_pat_", 82)),
        ("GITLAB_TOKEN", key("glpat-", 20)),
        ("SLACK_TOKEN", format!("xoxb-123456789012-{}", key("", 24))),
        ("STRIPE_KEY", key("sk_live_", 24)),
        ("STRIPE_KEY", key("rk_live_", 24)),
        ("GOOGLE_KEY", key("AIza", 35)),
        ("SENDGRID_KEY", format!("{}.{}", key("SG.", 22), key("", 43))),
        ("TWILIO_KEY", format!("SK{hex}")),
        ("NPM_TOKEN", key("npm_", 36)),
        ("PYPI_TOKEN", key("pypi-", 60)),
        ("HUGGING_FACE_TOKEN", key("hf_", 34)),
        ("API_KEY", key("gsk_", 52)),
        ("API_KEY", format!("123456789:AA{}", key("", 33))),
    ];
    for (kind, value) in cases {
        for (before, after) in [("", ""), ("use ", " now"), ("key=\"", "\""), ("(", ")."), ("\\n", "\\n"), ("?k=", "&x=1")] {
            let marked = format!("{before}«{kind}:{value}»{after}");
            check(&[&marked]);
        }
    }
    check(&[
        &format!("AKIA{upper} then «AWS_SECRET_KEY:{}»", key("", 40))
            .replace(&format!("AKIA{upper}"), &format!("«AWS_ACCESS_KEY_ID:AKIA{upper}»")),
        &format!("aws_secret_access_key = «AWS_SECRET_KEY:{}»", key("", 40)),
        &format!("AccountName=x;AccountKey=«AZURE_KEY:{}==»;Suffix=y", key("", 86)),
        // not
        "task-management-and-planning risk-adjusted-returns-2024 disk-usage-report-for-2024-01",
        "sk-learn-version-0-24-something-more hf_model_name_and_more npm_config_registry_url",
        "AKIAless SG.something eyJust -----BEGIN CERTIFICATE----- xapp-development-build",
    ]);
}

#[test]
fn tokens_and_private_keys() {
    use base64::Engine;
    let encode = |text: &str| base64::engine::general_purpose::URL_SAFE_NO_PAD.encode(text);
    let jwt = format!("{}.{}.{}", encode(r#"{"alg":"HS256","typ":"JWT"}"#), encode(r#"{"sub":"1"}"#), key("", 43));
    let basic = base64::engine::general_purpose::STANDARD.encode("ann:hunter2!");
    let dashes = "-----";
    let body = [key("", 64), key("x", 63), key("y", 30)].join("\n");
    let pem = format!("{dashes}BEGIN RSA PRIVATE KEY{dashes}\n{body}\n{dashes}END RSA PRIVATE KEY{dashes}");
    let cut = format!("{dashes}BEGIN PRIVATE KEY{dashes}\n{body}");
    check(&[
        &format!("token «JWT:{jwt}» end"),
        &format!("Authorization: Bearer «JWT:{jwt}»"),
        &format!("authorization: bearer «AUTHORIZATION:{}»", key("", 32)),
        &format!("\"Authorization\": \"Token «AUTHORIZATION:{}»\"", key("", 20)),
        &format!("Basic «AUTHORIZATION:{basic}»"),
        &format!("see\n«PRIVATE_KEY:{pem}»\nend"),
        &format!("«PRIVATE_KEY:{}»", pem.replace('\n', "\\n")),
        &format!("see «PRIVATE_KEY:{cut}» and words follow"),
        &format!("postgres://app:«URL_PASSWORD:s3cr3t»@db.internal:5432/x, https://«URL_PASSWORD:{}»@host/x", key("", 30)),
        "Basic authentication is basic knowledge; a bearer of bad news; Authorization: Bearer $TOKEN",
        "http://localhost:8080/a@b, https://user@host/x, https://x:${PASSWORD}@h/",
    ]);
}

#[test]
fn assignments() {
    check(&[
        "password: «PASSWORD:hunter2»",
        "PASSWORD=«PASSWORD:correcthorse»",
        "db_password = \"«PASSWORD:Tr0ub4dor&3»\"",
        "{\"password\": \"«PASSWORD:hunter2»\", \"x\": 1}",
        "{\\\"clientSecret\\\": \\\"«SECRET:a8f5f167f44f4964e6c998dee827110c»\\\"}",
        "API_KEY=«SECRET:9f86d081884c7d659a2f»",
        "x-api-key: «SECRET:9f86d081884c7d659a2f»",
        "auth_token: '«SECRET:Zk3mP0qR7sT1uV9w»'",
        "my password is «PASSWORD:hunter2!».",
        "mysql --password «PASSWORD:hunter2x» -u root",
        "**Password:** «PASSWORD:hunter2»",
        // not
        "max_tokens: 4096, \"token\": \"hello\", token_count=17, next_page_token: CAESBkFCQ0RFRg1",
        "password: str, password: required, password = input(), password = os.environ['X']",
        "secret = settings.SECRET_KEY; token: the unit of text; tokens: 123",
        "the password is required, your password is incorrect, password reset",
        "\"password\": {\"type\": \"string\"}, \"password\": \"string\", password=$PASSWORD",
        "**Pass**: \"I cannot say that as it is not so\"",
        "the secret: be yourself. API key: see below",
    ]);
}

#[test]
fn encoded_runs_go_as_a_whole() {
    use base64::Engine;
    let base64 = |text: &str| base64::engine::general_purpose::STANDARD.encode(text);
    let hex = |text: &str| text.bytes().map(|b| format!("{b:02x}")).collect::<String>();
    let mail = "send it to ann@example.com today";
    check(&[
        &format!("x «EMAIL:{}» y", base64(mail)),
        &format!("x «EMAIL:{}» y", hex(mail)),
        &format!("x «EMAIL:{}» y", base64(&base64(mail))),
        &format!("x «EMAIL:{}» y", base64("mail=ann%40example.com")),
        &format!("x «CREDIT_CARD:{}» y", hex("4111111111111111")),
        &format!("x {} y", base64("nothing to be seen in this text")),
    ]);
}

#[test]
fn spellings_of_one_value_are_joinable() {
    let sanitizer = sanitizer();
    let token = |text: &str| sanitizer.text(text).text.to_string();
    for same in [
        vec!["ann@example.com", "ANN@Example.COM", "ann%40example.com", "ａｎｎ@example.com", "ann [at] example [dot] com"],
        vec!["4111111111111111", "4111 1111 1111 1111", "4111-1111-1111-1111"],
        vec!["+1 212 555 0143", "(212) 555-0143", "1-212-555-0143", "+12125550143"],
        vec!["DE89370400440532013000", "DE89 3704 0044 0532 0130 00"],
        vec!["2001:db8::1:2:3", "2001:0db8:0:0:0:1:2:3"],
    ] {
        let first = token(same[0]);
        for other in &same {
            assert_eq!(token(other), first, "{other}");
        }
    }
}

#[test]
fn tokens_keep_what_detection_needs() {
    let sanitizer = sanitizer();
    for (raw, end) in [
        ("ann@example.com", "@example.com>"),
        ("+44 20 7946 0958", ":+44>"),
        ("4111111111111111", ":visa>"),
        ("DE89370400440532013000", ":DE>"),
    ] {
        let clean = sanitizer.text(raw).text;
        assert!(clean.ends_with(end), "{clean}");
    }
    let long = sanitizer.text("a@0123456789abcdef0123456789.example.com").text;
    assert!(!long.contains("0123456789"), "{long}");
}

#[test]
fn an_imitated_token_carries_nothing() {
    let sanitizer = sanitizer();
    let real = sanitizer.text("ann@example.com").text.to_string();
    let id = real[11..43].to_owned();
    for text in [
        "<EMAIL:v26:bob@example.org>".to_owned(),
        format!("<EMAIL:v26:{id}@bob@example.org>"),
        format!("<EMAIL:v26:{id}@evil.example bob@example.org>"),
        "<EMAIL:v26:aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa@bob@example.org>".to_owned(),
        format!("<SECRET:OPENAI_KEY:v26:{}>", key("sk-proj-", 40)),
        "<CREDIT_CARD:v26:4111111111111111>".to_owned(),
        "<EMAIL:v26:<EMAIL:v26:bob@example.org>>".to_owned(),
    ] {
        let clean = sanitizer.text(&text).text;
        for secret in ["bob@", "sk-proj-aB3", "4111111111111111"] {
            assert!(!clean.contains(secret), "{text} gave {clean}");
        }
        assert_eq!(sanitizer.text(&clean).text, clean);
    }
    // a true token, replayed beside a secret, covers the token only
    let clean = sanitizer.text(&format!("{real}bob@example.org")).text;
    assert!(clean.starts_with(&real) && !clean.contains("bob@"), "{clean}");
}
