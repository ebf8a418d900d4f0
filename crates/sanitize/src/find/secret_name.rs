//! What a name says of the secret that it is the name of, by its last words.

use std::sync::LazyLock;

/// Longest name that is looked at.
pub(super) const NAME_BYTES_MAX: usize = 64;

/// How much a name says of its value.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Named {
    Password,
    Secret,
    Token,
    Verification,
}

/// Ends of names of passwords, by their letters; and last words, where the letters end many other words as well.
#[rustfmt::skip]
const PASSWORD_ENDS: &[&str] = &["password", "passwd", "passphrase", "passcode", "passwort", "kennwort", "motdepasse", "senha", "wachtwoord", "salasana",
    "adgangskode", "passord", "userpwd", "dbpwd", "dbpass", "mysqlpwd"];
const PASSWORD_LAST: &[&str] = &["pwd", "pass", "pw", "psw"];
#[rustfmt::skip]
const SECRET_ENDS: &[&str] = &["secret", "apikey", "accesskey", "secretkey", "privatekey", "encryptionkey", "signingkey", "accountkey", "authkey", "masterkey",
    "sharedkey", "servicekey", "subscriptionkey", "clientkey", "appkey", "accesskeyid", "licensekey", "secrets", "webhookkey", "hmackey", "keydata",
    "applicationkey", "storagekey", "geheimnis", "clavesecreta"];
#[rustfmt::skip]
const TOKEN_ENDS: &[&str] = &["accesstoken", "authtoken", "refreshtoken", "bearertoken", "sessiontoken", "idtoken", "apitoken", "csrftoken", "bottoken",
    "jsessionid", "phpsessid", "aspsessionid", "connectsid"];
const TOKEN_LAST: &[&str] = &["token", "jwt", "bearer", "credential", "credentials", "auth", "cookie", "session"];
/// Vocabulary of models and of paging.
#[rustfmt::skip]
const OTHER_TOKENS: &[&str] = &["nexttoken", "nextpagetoken", "pagetoken", "continuationtoken", "padtoken", "eostoken", "bostoken", "unktoken", "masktoken",
    "stoptoken"];
#[rustfmt::skip]
const VERIFICATION: &[&str] = &["cvv", "cvc", "securitycode", "cardverificationvalue", "cardverificationcode", "kartenpruefnummer"];

const PASSWORD_ENDS_BEYOND_ASCII: &[&str] =
    &["パスワード", "비밀번호", "密码", "密碼", "şifre", "пароль", "hasło", "lösenord", "contraseña"];
const SECRET_ENDS_BEYOND_ASCII: &[&str] = &["clé secrète", "api-schlüssel", "密钥", "비밀키"];

/// The last two letters of names that are looked for. Hardly any other name has them, so that most are put aside at once.
static SECRET_TAILS: LazyLock<Tails> = LazyLock::new(|| {
    let beyond_ascii = [PASSWORD_ENDS_BEYOND_ASCII, SECRET_ENDS_BEYOND_ASCII];
    let lists = [PASSWORD_ENDS, PASSWORD_LAST, SECRET_ENDS, TOKEN_ENDS, TOKEN_LAST, VERIFICATION].into_iter().chain(beyond_ascii);
    Tails::of(lists.flatten().map(|word| word.as_bytes()))
});

/// Pairs of letters.
pub(super) struct Tails(Box<[u64; 1024]>);

impl Tails {
    pub(super) fn of<'a>(words: impl Iterator<Item = &'a [u8]>) -> Self {
        let mut pairs = Box::new([0; 1024]);
        for word in words {
            if let [.., first, last] = word {
                let pair = usize::from(*first) << 8 | usize::from(*last);
                pairs[pair / 64] |= 1 << (pair % 64);
            }
        }
        Self(pairs)
    }

    /// Whether the last letters of the name, without what parts them, are such a pair. Beyond ASCII everything may be.
    pub(super) fn may_end(&self, name: &[u8]) -> bool {
        let mut letters = name.iter().rev().filter(|b| b.is_ascii_alphanumeric() || **b >= 0x80);
        match (letters.next(), letters.next()) {
            (Some(last), Some(first)) if last.is_ascii() && first.is_ascii() => {
                let pair = usize::from(first.to_ascii_lowercase()) << 8 | usize::from(last.to_ascii_lowercase());
                self.0[pair / 64] >> (pair % 64) & 1 == 1
            }
            (Some(last), first) => !last.is_ascii() || first.is_some_and(|first| !first.is_ascii()),
            _ => false,
        }
    }
}

/// Whether a name may say that its value is secret.
pub(super) fn may_be_secret(name: &[u8]) -> bool {
    let digits = name.iter().rev().take_while(|b| b.is_ascii_digit()).count();
    SECRET_TAILS.may_end(&name[..name.len() - digits])
}

/// What a name says, by its last words.
pub(super) fn name_of(name: &[u8]) -> Option<Named> {
    if !name.is_ascii() {
        let lower = String::from_utf8_lossy(name.get(name.len().saturating_sub(NAME_BYTES_MAX)..)?).to_lowercase();
        let ends_with = |words: &[&str]| words.iter().any(|word| lower.trim_end().ends_with(word));
        let named = ends_with(PASSWORD_ENDS_BEYOND_ASCII)
            .then_some(Named::Password)
            .or_else(|| ends_with(SECRET_ENDS_BEYOND_ASCII).then_some(Named::Secret));
        if named.is_some() {
            return named;
        }
    }
    let mut joined = [0_u8; NAME_BYTES_MAX];
    let mut len = 0;
    for byte in name.get(name.len().saturating_sub(NAME_BYTES_MAX)..)? {
        if byte.is_ascii_alphanumeric() {
            joined[len] = byte.to_ascii_lowercase();
            len += 1;
        }
    }
    let whole = joined.get(..len)?;
    let joined = whole.get(..whole.iter().rposition(|b| !b.is_ascii_digit())? + 1)?;
    let ends_with = |words: &[&str]| words.iter().any(|word| joined.ends_with(word.as_bytes()));
    // the last word alone, where its letters end many other words as well
    let last = last_word(name);
    let is_last = |words: &[&str]| words.iter().any(|word| last.eq_ignore_ascii_case(word.as_bytes()));
    if ends_with(PASSWORD_ENDS) || is_last(PASSWORD_LAST) {
        return Some(Named::Password);
    }
    if ends_with(SECRET_ENDS) {
        return Some(Named::Secret);
    }
    if is_last(TOKEN_LAST) || ends_with(TOKEN_ENDS) {
        return (!ends_with(OTHER_TOKENS)).then_some(Named::Token);
    }
    if VERIFICATION.iter().any(|word| {
        whole == word.as_bytes()
            || joined == word.as_bytes()
            || joined.ends_with(word.as_bytes()) && (word.len() > 3 || is_last(&["cvv", "cvc", "cvv2", "cvc2"]))
    }) {
        return Some(Named::Verification);
    }
    None
}

/// The last word of a name: after a separator, or from the last capital that follows a small letter.
pub(super) fn last_word(name: &[u8]) -> &[u8] {
    let digits = name.iter().rev().take_while(|b| b.is_ascii_digit()).count();
    let name = &name[..name.len() - digits];
    let from = (1..name.len())
        .rev()
        .find(|i| !name[i - 1].is_ascii_alphanumeric() || (name[*i].is_ascii_uppercase() && name[i - 1].is_ascii_lowercase()))
        .unwrap_or(0);
    &name[from..]
}
