//! People sign in at the console by OpenID Connect.

use std::collections::HashSet;
use std::path::PathBuf;

use http::Uri;
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject as _;
use serde::{Deserialize, Serialize};

use super::gateway::read_secret;
use crate::access::Role;
use crate::outbound::{Guarded, is_this_machine, read_url};

/// Where the provider sends browsers back to, below the console's public address.
pub(crate) const CALLBACK_PATH: &str = "/api/session/oidc/callback";

/// Longest text of a field, in bytes.
const FIELD_BYTES_MAX: usize = 1_024;

/// Most scopes, and most values of the claim that give a role.
const LIST_MAX: usize = 100;

/// The provider, and whom of its people it lets in.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct OidcConfig {
    /// What the button at the sign-in calls it.
    #[serde(default = "single_sign_on")]
    pub name: String,
    /// The provider as its tokens name it (`iss`): https, or http on this machine. `/.well-known/openid-configuration` is asked below it.
    pub issuer: String,
    /// Who this console is there.
    pub client_id: String,
    /// By what it shows that: `env:VARIABLE` or `file:/path`. None for a public client, which PKCE alone protects.
    #[serde(default)]
    pub client_secret: Option<String>,
    /// Where browsers come back to: the console's public address with `/api/session/oidc/callback`.
    pub redirect_url: String,
    /// What is asked for.
    #[serde(default = "scopes")]
    pub scopes: Vec<String>,
    /// The claim whose values give a role. Dots lead into objects: `realm_access.roles`.
    #[serde(default = "groups")]
    pub claim: String,
    /// Which values give which role. Whoever has none of them is not let in.
    pub roles: OidcRoles,
    /// Certificates in PEM of authorities for the provider, beside those of the system.
    #[serde(default)]
    pub roots: Option<PathBuf>,
}

/// Values of the claim by the role that they give. Of several roles a person has the first.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct OidcRoles {
    /// Administrators.
    pub admin: Vec<String>,
    /// Analysts.
    pub analyst: Vec<String>,
    /// Auditors.
    pub auditor: Vec<String>,
}

fn single_sign_on() -> String {
    "single sign-on".to_owned()
}

fn scopes() -> Vec<String> {
    ["openid", "profile", "email"].map(str::to_owned).into()
}

fn groups() -> String {
    "groups".to_owned()
}

/// Why people cannot sign in that way.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("oidc.{field}: {what}")]
pub struct OidcConfigError {
    /// The field.
    pub(crate) field: &'static str,
    /// What is wrong with it, and what to write.
    pub(crate) what: String,
}

fn wrong(field: &'static str, what: impl Into<String>) -> OidcConfigError {
    OidcConfigError { field, what: what.into() }
}

impl OidcRoles {
    /// Every role with its values, the one that allows the most first.
    fn all(&self) -> [(Role, &'static str, &[String]); 3] {
        [
            (Role::Admin, "roles.admin", &self.admin),
            (Role::Analyst, "roles.analyst", &self.analyst),
            (Role::Auditor, "roles.auditor", &self.auditor),
        ]
    }

    /// The role of somebody with these values.
    pub(crate) fn role_of(&self, values: &[&str]) -> Option<Role> {
        let has = |(_, _, giving): &(Role, &str, &[String])| giving.iter().any(|value| values.contains(&value.as_str()));
        self.all().into_iter().find(has).map(|(role, ..)| role)
    }
}

impl OidcConfig {
    /// Refuses what cannot work, and what would send codes or secrets in the clear.
    pub(crate) fn check(&self) -> Result<(), OidcConfigError> {
        self.issuer_url()?;
        self.callback()?;
        for (field, text) in [("name", &self.name), ("client_id", &self.client_id), ("claim", &self.claim)] {
            if text.trim().is_empty() || text.len() > FIELD_BYTES_MAX || text.chars().any(char::is_control) {
                return Err(wrong(field, format!("must be 1 to {FIELD_BYTES_MAX} bytes without control characters")));
            }
        }
        let is_token =
            |scope: &String| !scope.is_empty() && scope.bytes().all(|b| b.is_ascii_graphic() && !matches!(b, b'"' | b'\\'));
        if self.scopes.len() > LIST_MAX || !self.scopes.iter().all(is_token) {
            return Err(wrong("scopes", format!("must be at most {LIST_MAX} words")));
        }
        if !self.scopes.iter().any(|scope| scope == "openid") {
            return Err(wrong("scopes", "must have \"openid\" among them: without it the provider gives no ID token"));
        }
        let mut seen = HashSet::new();
        for (_, field, values) in self.roles.all() {
            if values.len() > LIST_MAX || values.iter().any(|value| value.is_empty() || value.len() > FIELD_BYTES_MAX) {
                return Err(wrong(field, format!("must be at most {LIST_MAX} values of 1 to {FIELD_BYTES_MAX} bytes")));
            }
            if let Some(twice) = values.iter().find(|value| !seen.insert(value.as_str())) {
                return Err(wrong(
                    field,
                    format!("{twice:?} stands there twice or gives another role, too; leave it in one place"),
                ));
            }
        }
        if seen.is_empty() {
            return Err(wrong("roles", "nobody could sign in: name values of the claim for admin, analyst or auditor"));
        }
        Ok(())
    }

    /// The provider.
    pub(crate) fn issuer_url(&self) -> Result<Uri, OidcConfigError> {
        let url = read_guarded(&self.issuer).map_err(|what| wrong("issuer", what))?;
        if self.issuer.contains(['?', '#']) {
            return Err(wrong("issuer", "must have no query and no fragment: it is the provider's `issuer`, letter by letter"));
        }
        Ok(url)
    }

    /// Where browsers come back to.
    pub(crate) fn callback(&self) -> Result<Uri, OidcConfigError> {
        let url = read_safe(&self.redirect_url).map_err(|what| wrong("redirect_url", what))?;
        if url.path() != CALLBACK_PATH || self.redirect_url.contains(['?', '#']) {
            return Err(wrong("redirect_url", format!("must be the console's public address with the path {CALLBACK_PATH}")));
        }
        Ok(url)
    }

    /// By what this console shows who it is. Read when it is needed, so that it can be exchanged without a restart.
    pub(crate) fn secret(&self) -> Result<Option<String>, OidcConfigError> {
        let secret = self.client_secret.as_deref().map(read_secret).transpose();
        secret.map(|secret| secret.map(|secret| secret.trim().to_owned())).map_err(|what| wrong("client_secret", what))
    }

    /// The authorities that are believed beside those of the system.
    pub(crate) fn roots(&self) -> Result<Vec<CertificateDer<'static>>, OidcConfigError> {
        let Some(path) = &self.roots else { return Ok(Vec::new()) };
        let not_pem = |what: String| wrong("roots", format!("{}: {what}; it must hold certificates in PEM", path.display()));
        let found = CertificateDer::pem_file_iter(path).and_then(Iterator::collect::<Result<Vec<_>, _>>);
        let found = found.map_err(|error| not_pem(error.to_string()))?;
        if found.is_empty() { Err(not_pem("there is no certificate".to_owned())) } else { Ok(found) }
    }
}

/// Reads a URL that codes and tokens may pass: https, or http within this machine.
pub(crate) fn read_safe(url: &str) -> Result<Uri, String> {
    if url.len() > 2 * FIELD_BYTES_MAX {
        return Err("is too long".to_owned());
    }
    let uri = read_url(url)?;
    if uri.authority().is_some_and(|authority| authority.as_str().contains('@')) {
        return Err("holds a user or a password".to_owned());
    }
    if uri.scheme_str() == Some("http") && !is_this_machine(&uri) {
        return Err("is http:// beyond this machine: whoever is between could sign in as anybody; use https://".to_owned());
    }
    Ok(uri)
}

/// As [`read_safe`], for a URL that this server asks itself.
pub(crate) fn read_guarded(url: &str) -> Result<Uri, String> {
    let uri = read_safe(url)?;
    Guarded::of(&uri)?;
    Ok(uri)
}

#[cfg(test)]
mod tests {
    use super::*;

    const WHOLE: &str = "issuer = 'https://login.example/realms/x'\nclient_id = 'watchkeeper'\n\
                         redirect_url = 'https://wk.example/api/session/oidc/callback'\n";

    fn check(text: &str) -> Result<(), OidcConfigError> {
        toml::from_str::<OidcConfig>(text).unwrap_or_else(|error| panic!("{text}: {error}")).check()
    }

    #[test]
    fn what_cannot_work_is_named() {
        check(&format!("{WHOLE}[roles]\nadmin = ['wk-admins']")).unwrap();
        check(&format!("{WHOLE}claim = 'realm_access.roles'\nclient_secret = 'env:X'\n[roles]\nauditor = ['a']")).unwrap();
        for (more, field) in [
            ("[roles]", "roles"),
            ("[roles]\nadmin = ['a']\nanalyst = ['a']", "roles.analyst"),
            ("[roles]\nadmin = ['']", "roles.admin"),
            ("scopes = ['profile']\n[roles]\nadmin = ['a']", "scopes"),
            ("scopes = ['openid', 'a b']\n[roles]\nadmin = ['a']", "scopes"),
            ("claim = ' '\n[roles]\nadmin = ['a']", "claim"),
            ("name = \"a\\nb\"\n[roles]\nadmin = ['a']", "name"),
        ] {
            assert_eq!(check(&format!("{WHOLE}{more}")).unwrap_err().field, field, "{more}");
        }
        assert!(toml::from_str::<OidcConfig>(&format!("{WHOLE}[roles]\nsensor = ['a']")).is_err(), "a person is no sensor");
    }

    #[test]
    fn codes_and_tokens_go_through_no_clear_line() {
        for (issuer, is_good) in [
            ("https://login.example", true),
            ("https://login.example/", true),
            ("http://127.0.0.1:8080/realms/x", true),
            ("http://[::1]:8080", true),
            ("http://localhost:8080", true),
            ("http://login.example", false),
            ("http://10.0.0.1", false),
            ("https://u:p@login.example", false),
            ("https://login.example/?x", false),
            ("https://169.254.169.254/", false),
            ("ftp://login.example", false),
            ("login.example", false),
        ] {
            let text = WHOLE.replace("https://login.example/realms/x", issuer);
            assert_eq!(check(&format!("{text}[roles]\nadmin = ['a']")).is_ok(), is_good, "{issuer}");
        }
        for url in [
            "http://wk.example/api/session/oidc/callback",
            "https://wk.example/",
            "https://wk.example/api/session/oidc/callback?x=1",
        ] {
            let text = WHOLE.replace("https://wk.example/api/session/oidc/callback", url);
            assert_eq!(check(&format!("{text}[roles]\nadmin = ['a']")).unwrap_err().field, "redirect_url", "{url}");
        }
    }

    #[test]
    fn the_role_that_allows_the_most_counts() {
        let roles = OidcRoles { admin: vec!["a".to_owned()], analyst: vec!["b".to_owned()], auditor: vec!["c".to_owned()] };
        assert_eq!(roles.role_of(&["c", "b"]), Some(Role::Analyst));
        assert_eq!(roles.role_of(&["x", "a", "c"]), Some(Role::Admin));
        assert_eq!((roles.role_of(&["A", ""]), roles.role_of(&[])), (None, None));
    }
}
