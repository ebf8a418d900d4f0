//! How managers write a package, its version and where it comes from, in one word.

use serde::Deserialize;

use super::Installation;

/// A way of writing.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum Syntax {
    /// The name alone.
    #[default]
    Name,
    /// `name[extra]==1.2`, `name @ URL` (PEP 508).
    Pep508,
    /// `name@1.2`, `@scope/name@1.2`, `alias@npm:name@1.2`, `github:owner/name`.
    At,
    /// `name=1.2`.
    Equals,
    /// `name:1.2`.
    Colon,
    /// `registry/name:tag@digest`.
    Image,
}

/// How a URL begins that installs from where it leads.
const URL_BEGINNINGS: [&str; 10] = ["http://", "https://", "git+", "git://", "ssh://", "git@", "file:", "hg+", "svn+", "ftp://"];

/// Short names of code hosts in npm's and others' specs.
const HOSTS: [&str; 4] = ["github:", "gitlab:", "bitbucket:", "gist:"];

/// Ends of files that are packages by themselves.
const FILES: [&str; 9] = [".whl", ".tar.gz", ".tgz", ".zip", ".deb", ".rpm", ".gem", ".apk", ".vsix"];

/// Reads one word.
pub(super) fn read(manager: &str, syntax: Syntax, word: &str) -> Installation {
    let mut found = Installation { manager: manager.to_owned(), ..Installation::default() };
    if syntax == Syntax::Image {
        image(word, &mut found);
        return found;
    }
    let at_url = word.split_once('@').filter(|(_, url)| syntax == Syntax::Pep508 && is_place(url.trim()));
    if let Some((name, url)) = at_url.filter(|(name, _)| !is_place(name)) {
        found.package = Some(without_extras(name.trim()).to_owned());
        found.source = Some(url.trim().to_owned());
        return found;
    }
    if syntax == Syntax::At {
        // `alias@npm:name@1.2` installs `name`.
        if let Some((_, aliased)) = word.split_once("@npm:") {
            return read(manager, syntax, aliased);
        }
        let aliased = word.strip_prefix("npm:").unwrap_or(word);
        if aliased != word {
            return read(manager, syntax, aliased);
        }
    }
    if is_place(word) {
        place(word, &mut found);
        return found;
    }
    let (name, version) = match syntax {
        Syntax::Name | Syntax::Image => (word, None),
        Syntax::Pep508 => {
            let end = word.find(['=', '<', '>', '!', '~', ';', '@']).unwrap_or(word.len());
            let (name, rest) = word.split_at(end);
            let rest = rest.split(';').next().unwrap_or_default();
            let version = rest.strip_prefix("===").or_else(|| rest.strip_prefix("==")).or_else(|| rest.strip_prefix('@'));
            (without_extras(name), Some(version.unwrap_or(rest)))
        }
        // The first character may be the `@` of a scope.
        Syntax::At => match word.char_indices().skip(1).filter(|(_, next)| *next == '@').last() {
            Some((at, _)) => (&word[..at], Some(&word[at + 1..])),
            None => (word, None),
        },
        Syntax::Equals => match word.find(['=', '<', '>', '~']) {
            Some(at) => (&word[..at], Some(word[at..].trim_start_matches('='))),
            None => (word, None),
        },
        Syntax::Colon => match word.rsplit_once(':') {
            Some((name, version)) => (name, Some(version)),
            None => (word, None),
        },
    };
    found.package = (!name.is_empty()).then(|| name.trim().to_owned());
    found.version = version.map(str::trim).filter(|version| !version.is_empty()).map(str::to_owned);
    found
}

/// Whether a word says where something is instead of what it is called.
fn is_place(word: &str) -> bool {
    let beginnings = [".", "/", "~/"];
    URL_BEGINNINGS.iter().chain(&HOSTS).chain(&beginnings).any(|beginning| word.starts_with(beginning))
        || FILES.iter().any(|end| word.ends_with(end))
}

/// A URL, a file or a directory, and the name that it tells.
fn place(word: &str, found: &mut Installation) {
    found.source = Some(word.to_owned());
    let (place, fragment) = word.split_once('#').unwrap_or((word, ""));
    if let Some(name) = fragment.split('&').find_map(|part| part.strip_prefix("egg=")) {
        found.package = Some(without_extras(name).to_owned());
        return;
    }
    let place = place.split('?').next().unwrap_or(place);
    // `git+https://host/owner/name.git@v1`
    let (place, version) = match place.rsplit_once('@') {
        Some((before, version)) if !version.contains(['/', ':']) && before.contains('/') => (before, Some(version)),
        _ => (place, None),
    };
    let name = place.trim_end_matches('/').rsplit(['/', ':']).next().unwrap_or_default();
    let name = FILES.iter().find_map(|end| name.strip_suffix(end)).unwrap_or(name);
    let name = name.strip_suffix(".git").unwrap_or(name);
    found.package = (!name.is_empty() && !name.chars().all(|next| next == '.')).then(|| name.to_owned());
    found.version = version.or(Some(fragment)).filter(|version| !version.is_empty()).map(str::to_owned);
}

fn image(word: &str, found: &mut Installation) {
    let (name, digest) = word.split_once('@').map_or((word, None), |(name, digest)| (name, Some(digest)));
    let (name, tag) = match name.rsplit_once(':') {
        Some((before, tag)) if !tag.contains('/') => (before, Some(tag)),
        _ => (name, None),
    };
    // The first part is a registry when it looks like a host (the rule of the Docker reference grammar).
    let (registry, name) = match name.split_once('/') {
        Some((host, rest)) if host.contains(['.', ':']) || host == "localhost" => (Some(host), rest),
        _ => (None, name),
    };
    found.package = (!name.is_empty()).then(|| name.to_owned());
    found.version = digest.or(tag).map(str::to_owned);
    found.source = registry.map(str::to_owned);
}

fn without_extras(name: &str) -> &str {
    name.split('[').next().unwrap_or(name).trim()
}
