//! What people read of a bundle: a page without scripts, and the template of a certificate. Nothing rests on them; the proofs
//! are in the other files.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use event::{Kind, Timestamp};
use ledger::{Disclosure, Leaf};

use crate::statement::Predicate;

/// Most of one value that the page shows; the JSON beside it has all of it.
const SHOWN_CHARS_MAX: usize = 4_000;

/// Forbids everything that the page could load or run.
const POLICY: &str = "default-src 'none'; style-src 'unsafe-inline'";

const STYLE: &str = "body{font:15px/1.5 system-ui,sans-serif;margin:2rem auto;max-width:70rem;padding:0 1rem}\
table{border-collapse:collapse;width:100%}td,th{border:1px solid #bbb;padding:.3rem .5rem;text-align:left;vertical-align:top}\
td{overflow-wrap:anywhere;white-space:pre-wrap}th{width:16rem;font-weight:600}h2{margin-top:2.5rem}";

/// The page `index.html`.
pub(crate) fn index(about: &Predicate, shown: &BTreeMap<u64, Disclosure>, custody: &BTreeMap<u64, Disclosure>) -> String {
    let mut page = format!(
        "<!DOCTYPE html>\n<html lang=\"en\"><head><meta charset=\"utf-8\"><meta http-equiv=\"Content-Security-Policy\" \
         content=\"{POLICY}\"><title>Evidence from {}</title><style>{STYLE}</style></head><body>\n<h1>Evidence from {}</h1>\n\
         <p>This page is for reading. What proves the records are the files beside it: verify the bundle with \
         <code>watchkeeper evidence verify</code>, or as <code>docs/reference/evidence-bundle.md</code> says.</p>\n<table>\n",
        escape(&about.origin),
        escape(&about.origin)
    );
    let range = match (about.first, about.last) {
        (Some(first), Some(last)) => format!("{} of {}, from {first} to {last}", about.records, about.records_selected),
        _ => format!("0 of {}", about.records_selected),
    };
    let selection = format!("{} {}", about.selection, about.selected);
    let searched = match about.not_searched {
        0 => format!("every record that the log still has; {} were dropped at the end of their retention", about.dropped),
        records => format!("the newest records: {records} older ones were not looked at"),
    };
    let witnessed = match about.witnessed {
        None => "the log has no witnesses",
        Some(true) => "yes, as data/policy asks",
        Some(false) => "no",
    };
    let withheld = if about.withheld.is_empty() { "nothing".to_owned() } else { about.withheld.join(", ") };
    for (name, value) in [
        ("Exported by", about.exported_by.as_str()),
        ("Operator (asserted)", about.operator_asserted.as_deref().unwrap_or("not said")),
        ("At", &about.exported_at),
        ("Reason", &about.reason),
        ("Withheld", &withheld),
        ("Witnessed", witnessed),
        ("Selection", selection.trim_end()),
        ("Records", &range),
        ("Searched", &searched),
        ("Log id", &about.log_id),
        ("Tree size", &about.tree_size.to_string()),
        ("Software", &about.software),
    ] {
        row(&mut page, name, value);
    }
    page.push_str("</table>\n");
    for (seq, record) in shown {
        put(&mut page, "r", *seq, record);
    }
    if !custody.is_empty() {
        page.push_str("<h1>Custody: who read, exported and held these records</h1>\n");
    }
    for (seq, record) in custody {
        put(&mut page, "c", *seq, record);
    }
    page.push_str("</body></html>\n");
    page
}

/// A record under a heading.
fn put(page: &mut String, anchor: &str, seq: u64, record: &Disclosure) {
    let leaf = Leaf::decode(record.leaf_bytes());
    let kind = leaf.as_ref().and_then(|leaf| Kind::ALL.into_iter().find(|kind| kind.code() == leaf.kind));
    let time = leaf.map_or_else(String::new, |leaf| rfc3339(leaf.time));
    let _ = writeln!(page, "<h2 id=\"{anchor}{seq}\">Record {seq}: {}, {time}</h2>\n<table>", kind.map_or("?", Kind::as_str));
    for field in record.fields().iter().filter(|field| field.r#type == 1) {
        row(page, &field.path, &field.value);
    }
    for content in record.contents() {
        if let Some(text) = content.text() {
            row(page, &format!("text {}", &content.id().to_string()[..12]), &text);
        }
    }
    for absent in record.not_shown() {
        row(page, &absent, "not shown");
    }
    page.push_str("</table>\n");
}

fn row(page: &mut String, name: &str, value: &str) {
    let cut: String = value.chars().take(SHOWN_CHARS_MAX).collect();
    let rest = if cut.len() < value.len() { " […]" } else { "" };
    let _ = writeln!(page, "<tr><th>{}</th><td>{}{rest}</td></tr>", escape(name), escape(&cut));
}

/// The template of a certificate by a qualified person.
pub(crate) fn certificate(about: &Predicate) -> String {
    let (first, last) =
        (about.first.map_or_else(String::new, |seq| seq.to_string()), about.last.map_or_else(String::new, |seq| seq.to_string()));
    format!(
        "# Certification of electronic records (template)\n\n\
         For use under Federal Rules of Evidence 902(13), 902(14) and 902(11). A template, not legal advice: have counsel review it. Fill \
         in what stands in square brackets.\n\n\
         1. My name is [NAME]. I am [POSITION] at [ORGANISATION]. My qualifications are: [TRAINING, EXPERIENCE].\n\
         2. The records in this bundle were generated by an electronic process: {software} recorded each event when it received it, \
         and committed to it in a Merkle tree (RFC 6962) whose root is signed by the log `{origin}`, id `{log_id}`.\n\
         3. The bundle holds {records} records, from {first} to {last}, chosen by: {selection} {selected}. It was taken out on {at} by \
         {by}, for this reason: {reason}.\n\
         4. I verified the bundle on [DATE] with [PROGRAM AND VERSION]. The SHA-256 of each file was the one in `manifest-sha256.txt`, each \
         record's proof led to the checkpoint of {size} records, and the statement's signature was valid. The SHA-256 of \
         `tagmanifest-sha256.txt` was [DIGEST].\n\
         5. The key of the log was compared with a copy that was kept at [WHERE]: [YES OR NO]. Witnesses that cosigned the \
         checkpoint, and authorities that put a time on one, as verified: [WHICH, OR NONE].\n\
         6. The process produces an accurate result: [WHY, FOR THIS SYSTEM AND TIME].\n\n\
         I declare under penalty of perjury under the laws of the United States of America that the foregoing is true and \
         correct (28 U.S.C. § 1746).\n\n\
         Executed on [DATE], at [PLACE]: [SIGNATURE]\n",
        software = line(&about.software),
        origin = line(&about.origin),
        log_id = about.log_id,
        records = about.records,
        selection = about.selection,
        selected = line(&about.selected),
        at = about.exported_at,
        by = line(&about.exported_by),
        reason = line(&about.reason),
        size = about.tree_size,
    )
}

/// The bag's metadata (RFC 8493, section 2.2.2).
pub(crate) fn bag_info(about: &Predicate) -> String {
    format!(
        "Source-Organization: {}\nBagging-Date: {}\nBag-Software-Agent: {}\nExternal-Description: {} {}, {} records\n",
        line(&about.origin),
        about.exported_at.get(..10).unwrap_or_default(),
        line(&about.software),
        about.selection,
        line(&about.selected),
        about.records
    )
}

/// A time in UTC with whole seconds.
pub(crate) fn rfc3339(time: Timestamp) -> String {
    rfc3339_of_seconds(time.unix_ns() / 1_000_000_000)
}

/// Seconds since 1970 as [`rfc3339`] writes them; nothing where they are beyond what nanoseconds can tell (the year 2554).
pub(crate) fn rfc3339_of_seconds(seconds: u64) -> String {
    seconds.checked_mul(1_000_000_000).map(|ns| Timestamp::from_unix_ns(ns).rfc3339()).unwrap_or_default()
}

/// Text in one line, and without what Markdown would take for markup of its own.
fn line(text: &str) -> String {
    text.chars().map(|c| if c.is_control() || matches!(c, '`' | '<' | '>' | '[' | ']') { ' ' } else { c }).collect()
}

fn escape(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '&' => escaped.push_str("&amp;"),
            '<' => escaped.push_str("&lt;"),
            '>' => escaped.push_str("&gt;"),
            '"' => escaped.push_str("&quot;"),
            '\'' => escaped.push_str("&#39;"),
            // Marks that turn the direction of text could show a reader another order than is written.
            '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}' => {
                let _ = write!(escaped, "\\u{{{:x}}}", u32::from(c));
            }
            c if c.is_control() && c != '\n' && c != '\t' => {
                let _ = write!(escaped, "\\u{{{:x}}}", u32::from(c));
            }
            c => escaped.push(c),
        }
    }
    escaped
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_of_a_record_is_markup() {
        let escaped = escape("<script>'\"&\u{202e}\u{7}\n");
        assert_eq!(escaped, "&lt;script&gt;&#39;&quot;&amp;\\u{202e}\\u{7}\n");
        assert_eq!(line("a`<b>\n[c]"), "a  b   c ");
    }

    #[test]
    fn times_are_those_of_the_calendar() {
        assert_eq!(rfc3339(Timestamp::from_unix_ns(1_700_000_000_999_999_999)), "2023-11-14T22:13:20Z");
        assert_eq!(rfc3339(Timestamp::from_unix_ns(u64::MAX)), "2554-07-21T23:34:33Z");
    }
}
