//! Keys of vendors that mark them by a prefix: data alone. The facts are those of the vendors' documentation and of the public
//! rules of secret scanners.
//!
//! Each has the literal that the key begins with, the vendor as its token names it, and what follows the literal. A literal that
//! words begin or end with must begin a word (`bounded`) and be followed by digits and letters both (`mixed`).

use super::secret::Shape;
use crate::SensitiveType as Kind;

const fn api(len_min: usize) -> Shape {
    Shape::new(Kind::ApiKey, len_min)
}

/// A literal that is unlike anything else.
const fn plain(len_min: usize) -> Shape {
    api(len_min).mixed()
}

/// A short literal: letters and digits behind it, exactly so many.
const fn exact(len: usize) -> Shape {
    api(len).at_most(len).solid().mixed().bounded()
}

/// So many hexadecimal digits, exactly.
const fn hex(len: usize) -> Shape {
    api(len).at_most(len).hex().bounded()
}

#[rustfmt::skip]
pub(super) const KEYS: &[(&str, &str, Shape)] = &[
    ("hvs.", "vault", api(24).mixed().bounded()),
    ("hvb.", "vault", api(60).mixed().bounded()),
    ("hvr.", "vault", api(60).mixed().bounded()),
    (".atlasv1.", "terraform", api(60).back(14)),
    ("ATATT3", "atlassian", api(40).base64()),
    ("ATCTT3", "atlassian", api(40).base64()),
    ("ATBB", "bitbucket", api(24).solid().mixed().bounded()),
    ("dapi", "databricks", hex(32)),
    ("NRAK-", "newrelic", plain(27)),
    ("NRJS-", "newrelic", plain(19)),
    ("NRII-", "newrelic", plain(32)),
    ("NRAA-", "newrelic", plain(27)),
    ("ntn_", "notion", plain(40).bounded()),
    ("secret_", "notion", exact(43)),
    ("key-", "mailgun", hex(32)),
    ("pubkey-", "mailgun", hex(32)),
    ("EAA", "facebook", api(80).solid().mixed().bounded()),
    ("EAAA", "square", api(56).mixed().bounded()),
    ("IGQV", "instagram", api(80).mixed().bounded()),
    ("sl.B", "dropbox", api(100).mixed().bounded()),
    ("sl.u.", "dropbox", api(100).mixed().bounded()),
    ("glsa_", "grafana", plain(36).bounded()),
    ("glc_", "grafana", api(32).base64().mixed().bounded()),
    ("eyJrIjoi", "grafana", api(60).solid().bounded()),
    ("sntrys_", "sentry", api(60).base64()),
    ("sntryu_", "sentry", hex(64)),
    ("pul-", "pulumi", hex(40)),
    ("dp.pt.", "doppler", api(40).solid().mixed()),
    ("dp.ct.", "doppler", api(40).solid().mixed()),
    ("dp.sa.", "doppler", api(40).solid().mixed()),
    ("dp.st.", "doppler", api(40).dotted().mixed()),
    ("PMAK-", "postman", plain(50)),
    ("rubygems_", "rubygems", hex(48)),
    ("oy2", "nuget", exact(43)),
    ("cio", "crates-io", exact(32)),
    ("nfp_", "netlify", plain(36).bounded()),
    ("nfo_", "netlify", plain(36).bounded()),
    ("fo1_", "fly", plain(40).bounded()),
    ("fm1r_", "fly", api(60).base64().mixed()),
    ("fm1a_", "fly", api(60).base64().mixed()),
    ("fm2_", "fly", api(60).base64().mixed()),
    ("sbp_", "supabase", hex(40)),
    ("sb_secret_", "supabase", plain(20)),
    ("pscale_tkn_", "planetscale", plain(32)),
    ("pscale_pw_", "planetscale", plain(32)),
    ("pscale_oauth_", "planetscale", plain(32)),
    ("LTAI", "alibaba", api(12).at_most(24).solid().mixed().bounded()),
    ("AKID", "tencent", api(28).at_most(40).solid().mixed().bounded()),
    ("AQVN", "yandex", api(35).mixed().bounded()),
    ("y0_A", "yandex", api(48).mixed().bounded()),
    ("YCAJE", "yandex", api(20).mixed().bounded()),
    ("r8_", "replicate", api(37).solid().mixed().bounded()),
    ("tgp_v1_", "together", plain(40)),
    ("fw_", "fireworks", api(22).at_most(26).solid().mixed().bounded()),
    ("sk_", "elevenlabs", hex(48)),
    ("pcsk_", "pinecone", plain(40).bounded()),
    ("wandb_v1_", "wandb", plain(40)),
    ("v1.0-", "cloudflare", api(150).bounded()),
    ("HRKU-", "heroku", plain(36)),
    ("WPL_AP1.", "linkedin", api(16).dotted()),
    ("shpss_", "shopify", hex(32)),
    ("shpca_", "shopify", hex(32)),
    ("shppa_", "shopify", hex(32)),
    ("sq0atp-", "square", api(22)),
    ("sqOatp-", "square", api(22)),
    ("p8e-", "adobe", hex(32)),
    ("AKCp", "artifactory", api(60).solid().mixed().bounded()),
    ("cmVmd", "artifactory", api(56).solid().mixed().bounded()),
    ("CLOJARS_", "clojars", plain(50)),
    ("CFPAT-", "contentful", plain(40)),
    ("duffel_test_", "duffel", plain(40)),
    ("duffel_live_", "duffel", plain(40)),
    ("EZAK", "easypost", api(50).solid().mixed().bounded()),
    ("EZTK", "easypost", api(50).solid().mixed().bounded()),
    ("FLWSECK-", "flutterwave", plain(32)),
    ("FLWSECK_TEST-", "flutterwave", plain(12)),
    ("fio-u-", "frameio", plain(60)),
    ("ico-", "infracost", exact(32)),
    ("sha256~", "openshift", api(40).mixed().at_most(48)),
    ("access-sandbox-", "plaid", plain(36)),
    ("access-development-", "plaid", plain(36)),
    ("access-production-", "plaid", plain(36)),
    ("pnu_", "prefect", exact(36)),
    ("rdme_", "readme", plain(60)),
    ("xkeysib-", "brevo", plain(64)),
    ("shippo_live_", "shippo", hex(40)),
    ("shippo_test_", "shippo", hex(40)),
    ("sgp_", "sourcegraph", plain(40).bounded()),
    ("tfp_", "typeform", plain(44).bounded()),
    ("ops_eyJ", "onepassword", api(100).base64()),
    ("mdb_sa_sk_", "mongodb", plain(32)),
    ("napi_", "neon", plain(60).bounded()),
    ("dckr_oat_", "docker", plain(20)),
    ("bkua_", "buildkite", plain(40)),
    ("CCIPAT_", "circleci", plain(40)),
    ("CCIPRJ_", "circleci", plain(40)),
    ("rnd_", "render", api(28).solid().mixed().bounded()),
    ("jina_", "jina", plain(50)),
    ("csk-", "cerebras", api(40).solid().mixed().bounded()),
    ("fc-", "firecrawl", hex(32)),
    ("apify_api_", "apify", plain(30)),
    ("phx_", "posthog", plain(40).bounded()),
    ("rpa_", "runpod", api(36).solid().mixed().bounded()),
    ("dt0c01.", "dynatrace", api(80).dotted()),
    ("dt0s01.", "dynatrace", api(80).dotted()),
    ("lin_oauth_", "linear", plain(40)),
    ("figu_", "figma", plain(36)),
    ("doo_v1_", "digitalocean", hex(64)),
    ("dor_v1_", "digitalocean", hex(64)),
    ("tskey-", "tailscale", plain(20)),
    ("vcp_", "vercel", plain(40).bounded()),
    ("vck_", "vercel", plain(40).bounded()),
    ("sess-", "openai", exact(40)),
    ("xoxc-", "slack", Shape::new(Kind::SlackToken, 20).mixed()),
    ("xoxd-", "slack", Shape::new(Kind::SlackToken, 20).base64()),
    ("xoxo-", "slack", Shape::new(Kind::SlackToken, 10)),
    ("glcbt-", "gitlab", Shape::new(Kind::GitlabToken, 20)),
    ("glimt-", "gitlab", Shape::new(Kind::GitlabToken, 20)),
    ("glagent-", "gitlab", Shape::new(Kind::GitlabToken, 20)),
    ("glsoat-", "gitlab", Shape::new(Kind::GitlabToken, 20)),
    ("gloas-", "gitlab", Shape::new(Kind::GitlabToken, 20)),
    ("GR1348941", "gitlab", Shape::new(Kind::GitlabToken, 20).bounded()),
    ("sk_prod_", "stripe", Shape::new(Kind::StripeKey, 10)),
    ("rk_prod_", "stripe", Shape::new(Kind::StripeKey, 10)),
    ("1//0", "google", Shape::new(Kind::GoogleKey, 40).mixed().bounded()),
    ("ABSK", "aws", Shape::new(Kind::AwsSecretKey, 60).base64().mixed().bounded()),
    ("IQoJb3JpZ2lu", "aws", Shape::new(Kind::AwsSecretKey, 100).base64().bounded()),
    ("FwoGZXIvYXdz", "aws", Shape::new(Kind::AwsSecretKey, 100).base64().bounded()),
    ("8Q~", "azure", Shape::new(Kind::AzureKey, 31).at_most(34).dotted().back(3)),
    ("7Q~", "azure", Shape::new(Kind::AzureKey, 31).at_most(34).dotted().back(3)),
    ("$2a$", "bcrypt", Shape::new(Kind::PasswordHash, 50).crypt()),
    ("$2b$", "bcrypt", Shape::new(Kind::PasswordHash, 50).crypt()),
    ("$2y$", "bcrypt", Shape::new(Kind::PasswordHash, 50).crypt()),
    ("$argon2", "argon2", Shape::new(Kind::PasswordHash, 40).crypt()),
    ("$scrypt$", "scrypt", Shape::new(Kind::PasswordHash, 40).crypt()),
    ("$6$", "crypt", Shape::new(Kind::PasswordHash, 80).crypt()),
    ("$5$", "crypt", Shape::new(Kind::PasswordHash, 40).crypt()),
    ("$1$", "crypt", Shape::new(Kind::PasswordHash, 24).crypt()),
    ("$y$", "yescrypt", Shape::new(Kind::PasswordHash, 40).crypt()),
    ("$apr1$", "crypt", Shape::new(Kind::PasswordHash, 24).crypt()),
    ("$pbkdf2", "pbkdf2", Shape::new(Kind::PasswordHash, 40).crypt()),
    ("pbkdf2_sha256$", "pbkdf2", Shape::new(Kind::PasswordHash, 40).crypt()),
    ("{SSHA}", "ldap", Shape::new(Kind::PasswordHash, 28).base64()),
    ("{SSHA512}", "ldap", Shape::new(Kind::PasswordHash, 80).base64()),
];

#[cfg(test)]
mod tests {
    #[test]
    fn no_literal_is_written_twice() {
        let mut literals: Vec<&str> = super::KEYS.iter().map(|(literal, ..)| *literal).collect();
        literals.sort_unstable();
        let all = literals.len();
        literals.dedup();
        assert_eq!(literals.len(), all);
    }
}
