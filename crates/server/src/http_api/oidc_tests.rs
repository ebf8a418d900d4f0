use proptest::prelude::*;

use super::*;
use crate::config::OidcConfig;

fn oidc(redirect: &str) -> Oidc {
    let text = format!(
        "issuer = 'http://127.0.0.1:9'\nclient_id = 'wk'\nredirect_url = '{redirect}/api/session/oidc/callback'\n[roles]\nadmin = ['a']"
    );
    let config: OidcConfig = toml::from_str(&text).unwrap();
    config.check().unwrap();
    Oidc::new(Provider::new(config).unwrap()).unwrap()
}

fn headers(cookie: &str) -> HeaderMap {
    let mut headers = HeaderMap::new();
    headers.insert(header::COOKIE, cookie.split(';').next().unwrap().parse().unwrap());
    headers
}

#[test]
fn a_sign_in_comes_back_once_to_the_browser_that_began_it() {
    let oidc = oidc("http://127.0.0.1:1");
    let begun = oidc.begin("/detections".to_owned()).unwrap();
    let cookie = oidc.cookie(&oidc.seal(&begun).unwrap(), SIGN_IN_TIME);
    assert!(cookie.starts_with("wk_sign_in=") && cookie.contains("; HttpOnly; SameSite=Lax;"), "{cookie}");
    assert!(!cookie.contains(&begun.state) && !cookie.contains(&begun.verifier), "it is sealed");
    let state = Some(begun.state.as_str());
    // Of another browser, of another sign-in, of nobody.
    let other = oidc.begin("/".to_owned()).unwrap();
    let of_other = headers(&oidc.cookie(&oidc.seal(&other).unwrap(), SIGN_IN_TIME));
    assert!(matches!(oidc.take(&HeaderMap::new(), state), Err(OidcError::State(_))));
    assert!(matches!(oidc.take(&of_other, state), Err(OidcError::State(_))));
    assert!(matches!(oidc.take(&headers(&cookie), None), Err(OidcError::State(_))));
    assert!(matches!(oidc.take(&headers(&cookie), Some(&other.state)), Err(OidcError::State(_))));
    assert!(matches!(oidc.take(&headers("wk_sign_in=AAAA"), state), Err(OidcError::State(_))));
    let elsewhere = self::oidc("http://127.0.0.1:1");
    assert!(matches!(elsewhere.take(&headers(&cookie), state), Err(OidcError::State(_))), "of another server");
    // None of these has used it up.
    assert_eq!(oidc.take(&headers(&cookie), state).unwrap(), begun);
    assert!(matches!(oidc.take(&headers(&cookie), state), Err(OidcError::State(_))), "it comes back once");
}

#[test]
fn a_sign_in_ends() {
    let mut oidc = oidc("http://127.0.0.1:1");
    let begun = oidc.begin("/".to_owned()).unwrap();
    let cookie = oidc.cookie(&oidc.seal(&begun).unwrap(), SIGN_IN_TIME);
    oidc.began = oidc.began.checked_sub(SIGN_IN_TIME + Duration::from_secs(1)).unwrap();
    assert!(matches!(oidc.take(&headers(&cookie), Some(&begun.state)), Err(OidcError::Expired(_))));
}

#[test]
fn by_https_only_the_host_itself_can_have_set_the_cookie() {
    let cookie = oidc("https://wk.example").cookie("x", SIGN_IN_TIME);
    assert!(
        cookie.starts_with("__Host-wk_sign_in=x;") && cookie.contains("; Path=/;") && cookie.ends_with("; Secure"),
        "{cookie}"
    );
    assert!(session_cookie("x", true).ends_with("; Secure") && session_cookie("x", false).contains("SameSite=Strict"));
}

#[test]
fn one_goes_on_to_a_page_of_the_console_alone() {
    for (to, is_local) in [
        ("/", true),
        ("/detections?state=open#x", true),
        ("/entities/user/a%2Fb", true),
        ("/apiary", true),
        ("", false),
        ("detections", false),
        ("//evil.example", false),
        ("/\\evil.example", false),
        ("\\\\evil.example", false),
        ("/x//evil.example", false),
        ("/\t/evil.example", false),
        ("/\r\nset-cookie: a=b", false),
        (" /x", false),
        ("/ä", false),
        ("https://evil.example", false),
        ("javascript:alert(1)", false),
        ("/api/session/oidc/start", false),
        ("/api", false),
        ("/api?x", false),
        ("/v1/events", false),
    ] {
        assert_eq!(is_local_path(to), is_local, "{to:?}");
    }
    assert!(is_local_path(&format!("/{}", "x".repeat(TO_BYTES_MAX - 1))));
    assert!(!is_local_path(&format!("/{}", "x".repeat(TO_BYTES_MAX))));
}

proptest! {
    /// However browsers read what is let through (WHATWG URL), they stay where they are.
    #[test]
    fn no_path_that_is_let_through_leads_elsewhere(to in prop_oneof![
        "[/\\\\.@:a-c?#%&=\t\n\r 0-9-]{0,24}",
        "/[/\\\\.@:a-c?#%25cCfF&=0-9-]{0,24}",
        "/\\PC{0,24}",
    ]) {
        if is_local_path(&to) {
            for base in ["https://wk.example/", "http://127.0.0.1:7700/api/session/oidc/callback"] {
                let base = url::Url::parse(base).unwrap();
                let reached = base.join(&to).unwrap();
                prop_assert_eq!(reached.origin(), base.origin(), "{}", to);
                prop_assert!(axum::http::HeaderValue::from_str(&to).is_ok());
            }
        }
    }
}
