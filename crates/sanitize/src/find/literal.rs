//! What begins with a known literal: provider keys, tokens, armoured keys, and words that announce a secret.

use std::sync::LazyLock;

use aho_corasick::{AhoCorasick, Anchored, Input, MatchKind, StartKind};

use super::announced::{self, What};
use super::{Match, assignment, card, device, email, person, place, secret, vendor};
use crate::SensitiveType as Kind;
use secret::Shape;

/// What a literal announces.
#[derive(Clone, Copy)]
enum Announces {
    /// A key that consists of the literal and a run of characters.
    Key(Shape),
    /// A key that is named by its vendor.
    Vendor(Shape, &'static str),
    /// Such a run after the literal, which is not part of it.
    After(Shape),
    Jwt,
    Armour,
    SendGrid,
    /// `access token`: a random run behind it.
    Run,
    /// `P<`: the machine-readable zone of a passport.
    Zone,
    /// `password`: a sentence that gives one.
    Password,
    AuthorizationHeader,
    Bearer,
    Basic,
    Verification,
    /// `[at]`, `(at)`: an address spelled for people.
    SpelledAddress,
    Mailchimp,
    Airtable,
    /// `Cookie:` and `Set-Cookie:`.
    Cookies,
    /// The same without its colon.
    CookiePair,
    /// A line of a password file of PostgreSQL.
    PasswordFile,
    /// `login ann password ...`.
    NetworkFile,
    /// A word that says what the value behind it is, and its first letter where that is cut off.
    Words(What, u8),
    /// `Mr`, `Dr`: a name.
    Title,
    /// `Dear`, `Regards,`: a name that is known as one.
    Letter,
    /// A part of a street's name.
    Street,
}

use Announces::{
    After, Airtable, Armour, AuthorizationHeader, Basic, Bearer, CookiePair, Cookies, Jwt, Key, Letter, Mailchimp, NetworkFile,
    Password, PasswordFile, Run, SendGrid, SpelledAddress, Street, Title, Verification, Zone,
};

/// Where two literals begin at one place, the longer one is taken.
static LITERALS: &[(&str, Announces)] = &[
    ("sk-ant-", Key(Shape::new(Kind::AnthropicKey, 16))),
    ("sk-proj-", Key(Shape::new(Kind::OpenaiKey, 16))),
    ("sk-svcacct-", Key(Shape::new(Kind::OpenaiKey, 16))),
    ("sk-admin-", Key(Shape::new(Kind::OpenaiKey, 16))),
    ("sk-or-v1-", Key(Shape::new(Kind::ApiKey, 20))),
    ("sk-", Key(Shape::new(Kind::OpenaiKey, 20).mixed().bounded())),
    ("AKIA", Key(Shape::new(Kind::AwsAccessKeyId, 16).upper().at_most(16))),
    ("ASIA", Key(Shape::new(Kind::AwsAccessKeyId, 16).upper().at_most(16))),
    ("ABIA", Key(Shape::new(Kind::AwsAccessKeyId, 16).upper().at_most(16))),
    ("ACCA", Key(Shape::new(Kind::AwsAccessKeyId, 16).upper().at_most(16))),
    ("ghp_", Key(Shape::new(Kind::GithubToken, 30))),
    ("gho_", Key(Shape::new(Kind::GithubToken, 30))),
    ("ghu_", Key(Shape::new(Kind::GithubToken, 30))),
    ("ghs_", Key(Shape::new(Kind::GithubToken, 30))),
    ("ghr_", Key(Shape::new(Kind::GithubToken, 30))),
    ("github_pat_", Key(Shape::new(Kind::GithubToken, 22))),
    ("wk_", Key(Shape::new(Kind::WatchkeeperKey, 40))),
    ("wkrun_", Key(Shape::new(Kind::WatchkeeperKey, 40))),
    ("glpat-", Key(Shape::new(Kind::GitlabToken, 20))),
    ("gldt-", Key(Shape::new(Kind::GitlabToken, 20))),
    ("glrt-", Key(Shape::new(Kind::GitlabToken, 20))),
    ("glptt-", Key(Shape::new(Kind::GitlabToken, 20))),
    ("xoxb-", Key(Shape::new(Kind::SlackToken, 10))),
    ("xoxa-", Key(Shape::new(Kind::SlackToken, 10))),
    ("xoxp-", Key(Shape::new(Kind::SlackToken, 10))),
    ("xoxr-", Key(Shape::new(Kind::SlackToken, 10))),
    ("xoxs-", Key(Shape::new(Kind::SlackToken, 10))),
    ("xoxe-", Key(Shape::new(Kind::SlackToken, 10))),
    ("xoxe.xox", Key(Shape::new(Kind::SlackToken, 10))),
    ("xapp-", Key(Shape::new(Kind::SlackToken, 16).mixed())),
    ("hooks.slack.com/services/", After(Shape::new(Kind::SlackToken, 24).base64())),
    ("sk_live_", Key(Shape::new(Kind::StripeKey, 10))),
    ("rk_live_", Key(Shape::new(Kind::StripeKey, 10))),
    ("sk_test_", Key(Shape::new(Kind::StripeKey, 10))),
    ("rk_test_", Key(Shape::new(Kind::StripeKey, 10))),
    ("whsec_", Key(Shape::new(Kind::StripeKey, 16))),
    ("AIza", Key(Shape::new(Kind::GoogleKey, 35))),
    ("ya29.", Key(Shape::new(Kind::GoogleKey, 20))),
    ("GOCSPX-", Key(Shape::new(Kind::GoogleKey, 20))),
    ("AccountKey=", After(Shape::new(Kind::AzureKey, 32).base64())),
    ("SharedAccessKey=", After(Shape::new(Kind::AzureKey, 32).base64())),
    ("SharedAccessSignature=", After(Shape::new(Kind::AzureKey, 32).base64())),
    ("SG.", SendGrid),
    ("npm_", Key(Shape::new(Kind::NpmToken, 36).mixed())),
    ("pypi-", Key(Shape::new(Kind::PypiToken, 40).mixed())),
    ("hf_", Key(Shape::new(Kind::HuggingFaceToken, 30).bounded().solid())),
    ("gsk_", Key(Shape::new(Kind::ApiKey, 32).mixed())),
    ("xai-", Key(Shape::new(Kind::ApiKey, 32).mixed())),
    ("pplx-", Key(Shape::new(Kind::ApiKey, 32).mixed())),
    ("nvapi-", Key(Shape::new(Kind::ApiKey, 32).mixed())),
    ("tvly-", Key(Shape::new(Kind::ApiKey, 20).mixed())),
    ("lsv2_pt_", Key(Shape::new(Kind::ApiKey, 24))),
    ("lsv2_sk_", Key(Shape::new(Kind::ApiKey, 24))),
    ("dop_v1_", Key(Shape::new(Kind::ApiKey, 32))),
    ("shpat_", Key(Shape::new(Kind::ApiKey, 24))),
    ("dckr_pat_", Key(Shape::new(Kind::ApiKey, 20))),
    ("figd_", Key(Shape::new(Kind::ApiKey, 20).mixed())),
    ("lin_api_", Key(Shape::new(Kind::ApiKey, 24))),
    ("sq0csp-", Key(Shape::new(Kind::ApiKey, 24))),
    ("AGE-SECRET-KEY-1", Key(Shape::new(Kind::PrivateKey, 40))),
    ("eyJ", Jwt),
    ("-----BEGIN ", Armour),
    ("assword", Password),
    ("ASSWORD", Password),
    ("assphrase", Password),
    ("asscode", Password),
    ("asswort", Password),
    ("パスワード", Password),
    ("密码", Password),
    ("密碼", Password),
    ("비밀번호", Password),
    ("ontraseña", Password),
    ("alasana", Password),
    ("ösenord", Password),
    ("asło", Password),
    ("achtwoord", Password),
    ("ennwort", Password),
    ("ot de passe", Password),
    ("dgangskode", Password),
    ("assord", Password),
    ("ароль", Password),
    ("şifre", Password),
    ("Şifre", Password),
    ("enha", Password),
    ("ecret key", Run),
    ("ccess key", Run),
    ("ccess token", Run),
    ("lient secret", Run),
    ("ecret_key", Run),
    ("ECRET_KEY", Run),
    ("ccess_key", Run),
    ("CCESS_KEY", Run),
    ("ccess_token", Run),
    ("lient_secret", Run),
    ("api_key", Run),
    ("API_KEY", Run),
    ("ecretAccessKey", Run),
    ("PI key", Run),
    ("pi key", Run),
    ("PI secret", Run),
    ("efresh token", Run),
    ("lave secreta", Run),
    ("lé secrète", Run),
    ("API-Schlüssel", Run),
    ("P<", Zone),
    ("uthorization", AuthorizationHeader),
    ("UTHORIZATION", AuthorizationHeader),
    ("earer ", Bearer),
    ("EARER ", Bearer),
    ("Basic ", Basic),
    ("basic ", Basic),
    ("cvv", Verification),
    ("CVV", Verification),
    ("Cvv", Verification),
    ("cvc", Verification),
    ("CVC", Verification),
    ("Cvc", Verification),
    ("ecurity code", Verification),
    ("ecurity Code", Verification),
    ("erification value", Verification),
    ("rüfnummer", Verification),
    ("ryptogramme", Verification),
    ("digo de seguridad", Verification),
    ("digo de segurança", Verification),
    ("odice di sicurezza", Verification),
    ("安全码", Verification),
    ("セキュリティコード", Verification),
    ("보안코드", Verification),
    ("[at]", SpelledAddress),
    ("(at)", SpelledAddress),
    ("[AT]", SpelledAddress),
    ("(AT)", SpelledAddress),
    (" dot ", SpelledAddress),
    (" DOT ", SpelledAddress),
    ("pat", Airtable),
    ("-us", Mailchimp),
    ("&sig=", After(Shape::new(Kind::AzureKey, 40).base64())),
    ("?sig=", After(Shape::new(Kind::AzureKey, 40).base64())),
    ("ookie: ", Cookies),
    ("OOKIE: ", Cookies),
    ("ookie ", CookiePair),
    (":5432:", PasswordFile),
    (" login ", NetworkFile),
    ("Mr. ", Title),
    ("Mrs. ", Title),
    ("Ms. ", Title),
    ("Dr. ", Title),
    ("Mr ", Title),
    ("Mrs ", Title),
    ("Ms ", Title),
    ("Miss ", Title),
    ("Prof. ", Title),
    ("Professor ", Title),
    ("Herr ", Title),
    ("Herrn ", Title),
    ("Frau ", Title),
    ("Monsieur ", Title),
    ("Madame ", Title),
    ("Mme ", Title),
    ("Señor ", Title),
    ("Señora ", Title),
    ("Sr. ", Title),
    ("Sra. ", Title),
    ("Signor ", Title),
    ("Signora ", Title),
    ("Sig. ", Title),
    ("Dott. ", Title),
    ("Dear ", Letter),
    ("egards,\n", Letter),
    ("incerely,\n", Letter),
    ("traße ", Street),
    ("trasse ", Street),
    ("tr. ", Street),
    ("gasse ", Street),
    ("allee ", Street),
    ("Allee ", Street),
    ("platz ", Street),
    ("Platz ", Street),
    ("weg ", Street),
    ("Weg ", Street),
    ("damm ", Street),
    ("ufer ", Street),
    ("markt ", Street),
    ("traat ", Street),
    ("laan ", Street),
    ("plein ", Street),
    ("gracht ", Street),
    ("gatan ", Street),
    ("vägen ", Street),
    ("gade ", Street),
    ("katu ", Street),
    ("Calle ", Street),
    ("C/ ", Street),
    ("Avenida ", Street),
    ("Avda. ", Street),
    ("Paseo ", Street),
    ("Plaza ", Street),
    ("Carrer ", Street),
    ("Via ", Street),
    ("Viale ", Street),
    ("Piazza ", Street),
    ("Corso ", Street),
    ("Rua ", Street),
    ("Av. ", Street),
    ("Travessa ", Street),
    ("Praça ", Street),
    ("Alameda ", Street),
    ("ulica ", Street),
    ("ul. ", Street),
];

struct Sweeper {
    /// Finds what begins at a place.
    searcher: AhoCorasick,
    announces: Vec<Announces>,
    /// The first letters of the literals: hardly any place of a text has them, and the set lies in the nearest cache, which the
    /// searcher's table does not.
    beginnings: Box<[u64; SET_WORDS]>,
}

/// Letters of a literal that are looked at first; the shorter ones are in the set with every letter behind them.
const BEGINNING: usize = 3;
const SET_WORDS: usize = 1024;
const FIRST_LETTERS: u32 = 0x00FF_FFFF;

/// The place of a beginning in the set: a word, and a bit of it.
fn place_of(letters: u32) -> (usize, u32) {
    let hash = letters.wrapping_mul(0x9E37_79B1) >> 16;
    (hash as usize / 64, hash % 64)
}

fn letters(beginning: [u8; BEGINNING]) -> u32 {
    u32::from_le_bytes([beginning[0], beginning[1], beginning[2], 0])
}

impl Sweeper {
    /// The next literal at `at` or behind it, the longest of those that begin at its place.
    fn next(&self, text: &str, mut at: usize) -> Option<aho_corasick::Match> {
        let bytes = text.as_bytes();
        loop {
            // one letter more than is looked at: so it is one load
            let step = bytes.get(at..)?.array_windows::<{ BEGINNING + 1 }>().position(|letters| {
                let (word, bit) = place_of(u32::from_le_bytes(*letters) & FIRST_LETTERS);
                self.beginnings[word] >> bit & 1 == 1
            });
            // what is too short for the set stands at the end
            at = step.map_or_else(|| at.max(bytes.len().saturating_sub(BEGINNING)), |step| at + step);
            if at >= bytes.len() {
                return None;
            }
            let hit = self.searcher.find(Input::new(text).range(at..).anchored(Anchored::Yes));
            if hit.is_some() {
                return hit;
            }
            at += 1;
        }
    }
}

/// `None` would need a literal set that the searcher refuses, which a test excludes.
static SWEEPER: LazyLock<Option<Sweeper>> = LazyLock::new(|| {
    let mut all: Vec<(String, Announces)> = LITERALS.iter().map(|(literal, what)| ((*literal).to_owned(), *what)).collect();
    all.extend(vendor::KEYS.iter().map(|(literal, vendor, shape)| ((*literal).to_owned(), Announces::Vendor(*shape, vendor))));
    all.extend(announced::literals().into_iter().map(|(literal, what, first)| (literal, Announces::Words(what, first))));
    let mut beginnings = Box::new([0; SET_WORDS]);
    for (literal, _) in &all {
        let mut add = |beginning: [u8; BEGINNING]| {
            let (word, bit) = place_of(letters(beginning));
            beginnings[word] |= 1 << bit;
        };
        match *literal.as_bytes() {
            [first, second, third, ..] => add([first, second, third]),
            [first, second] => (0..=u8::MAX).for_each(|third| add([first, second, third])),
            _ => return None,
        }
    }
    let searcher = AhoCorasick::builder()
        .match_kind(MatchKind::LeftmostLongest)
        .start_kind(StartKind::Anchored)
        .kind(Some(aho_corasick::AhoCorasickKind::DFA))
        .build(all.iter().map(|(literal, _)| literal))
        .ok()?;
    Some(Sweeper { searcher, beginnings, announces: all.into_iter().map(|(_, what)| what).collect() })
});

pub(super) fn sweep(text: &str, found: &mut Vec<Match>) {
    let Some(sweeper) = SWEEPER.as_ref() else { return };
    let mut at = 0;
    // A header inside the value of a header is not read again, which keeps a chain of them linear.
    let (mut header_end, mut cookies_end) = (0, 0);
    while let Some(hit) = sweeper.next(text, at) {
        let (start, end) = (hit.start(), hit.end());
        let Some(announces) = sweeper.announces.get(hit.pattern().as_usize()) else { return };
        let taken = match announces {
            Key(shape) => secret::key(text, start, end, (*shape, ""), found),
            Announces::Vendor(shape, vendor) => secret::key(text, start, end, (*shape, vendor), found),
            After(shape) => secret::after(text, end, *shape, found),
            Jwt => secret::jwt(text, start, found),
            Armour => secret::armour(text, start, found),
            SendGrid => secret::sendgrid(text, start, end, found),
            Run => assignment::run(text, end, found),
            Zone => device::passport_zone(text, start, found),
            Password => assignment::sentence(text, start, end, found),
            AuthorizationHeader if start < header_end => None,
            AuthorizationHeader => {
                let from = assignment::authorization(text, end, found);
                header_end = from.and(found.last()).map_or(header_end, |last| last.end);
                from
            }
            Bearer => assignment::bearer(text, end, found),
            Basic => assignment::basic(text, end, found),
            Verification => card::verification(text, start, end, found),
            SpelledAddress => email::spelled(text, start, end, found),
            // words begin with it that announce something
            Airtable => {
                at = secret::airtable(text, start, end, found).unwrap_or(start + 1);
                continue;
            }
            Mailchimp => secret::mailchimp(text, start, end, found),
            Cookies | CookiePair if end < cookies_end => None,
            CookiePair if !assignment::begins_pair(text, end) => None,
            // a key of a known provider in it is the better reading
            Cookies | CookiePair => {
                cookies_end = assignment::cookies(text, end, found);
                None
            }
            PasswordFile => assignment::password_file(text, start, end, found),
            NetworkFile => assignment::network_file(text, end, found),
            // what is behind these may be announced again by what is in it, so they take nothing from the sweep
            Announces::Words(what, first) => {
                announced::prose(text, start, end, *what, *first, found);
                None
            }
            Title if super::begins(text.as_bytes(), start) => {
                name(text, end, person::titled(text, end), found);
                None
            }
            Letter => {
                name(text, end, person::known(text, end), found);
                None
            }
            Street => {
                place::named(text, start, found);
                None
            }
            Title => None,
        };
        at = taken.unwrap_or(end).max(end);
    }
}

/// Where the literals end that announce what has several words.
pub(super) fn announcements(text: &str) -> Vec<usize> {
    let Some(sweeper) = SWEEPER.as_ref() else { return Vec::new() };
    let mut at = 0;
    let hits = std::iter::from_fn(|| {
        let hit = sweeper.next(text, at)?;
        at = hit.end();
        Some(hit)
    });
    hits.filter(|hit| {
        let announces = sweeper.announces.get(hit.pattern().as_usize());
        matches!(announces, Some(Announces::Words(..) | Title | Letter | Street | NetworkFile))
    })
    .map(|hit| hit.end())
    .collect()
}

fn name(text: &str, start: usize, end: Option<usize>, found: &mut Vec<Match>) {
    if let Some((end, name)) = end.and_then(|end| Some((end, text.get(start..end)?))) {
        found.push(Match::new(start, end, Kind::Person, person::normal(name)));
    }
}

#[cfg(test)]
mod tests {
    #[test]
    fn the_searcher_takes_the_literals() {
        assert!(super::SWEEPER.is_some());
    }
}
