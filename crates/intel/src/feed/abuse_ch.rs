//! abuse.ch: URLhaus, ThreatFox, Feodo Tracker and MalwareBazaar, as CSV and as JSON.
//!
//! Their tables differ in their columns alone, so one reader takes all of them by the names of the columns.

use serde_json::{Map, Value as Json};

use super::{FeedError, Options, base, columns, time_s};
use crate::indicator::{Indicator, Kind, Reading};

/// Columns with a value, and what it is; of `ioc` another column says that.
const VALUES: &[(&str, Option<Kind>)] = &[
    ("url", Some(Kind::Url)),
    ("ioc_value", None),
    ("ioc", None),
    ("dst_ip", Some(Kind::Ip)),
    ("ip_address", Some(Kind::Ip)),
    ("sha256_hash", Some(Kind::Hash)),
    ("sha1_hash", Some(Kind::Hash)),
    ("md5_hash", Some(Kind::Hash)),
];
/// What an indicator is of, the most telling first.
const LABELS: [&str; 6] = ["malware_printable", "malware", "fk_malware", "signature", "threat", "threat_type"];
const FIRST: [&str; 4] = ["first_seen_utc", "first_seen", "dateadded", "date_added"];
const LAST: [&str; 4] = ["last_seen_utc", "last_seen", "last_online", "lastonline"];

pub(super) fn is_value_column(name: &str) -> bool {
    VALUES.iter().any(|(known, _)| *known == name)
}

pub(super) fn has_values(header: &[String]) -> bool {
    header.iter().any(|name| is_value_column(name))
}

pub(super) fn is_json(value: &Json) -> bool {
    rows(value).is_some_and(|rows| rows.first().is_some_and(|(_, row)| row.keys().any(|name| is_value_column(name))))
}

pub(super) fn read(text: &str, options: &Options) -> Result<Reading, FeedError> {
    let mut reading = Reading::default();
    if text.trim_start().starts_with(['{', '[']) {
        let wrong = |reason: String| FeedError::Json { format: "JSON of abuse.ch", reason };
        let value: Json = serde_json::from_str(text).map_err(|error| wrong(error.to_string()))?;
        let rows = rows(&value).ok_or_else(|| wrong("neither a list nor an object with a list of rows".to_owned()))?;
        for (_, row) in rows {
            let field = |name: &str| match row.get(name) {
                Some(Json::String(text)) => Some(text.clone()),
                Some(Json::Number(number)) => Some(number.to_string()),
                _ => None,
            };
            take(&mut reading, options, &field);
        }
        return Ok(reading);
    }
    let Some(header) = columns::header(text).filter(|header| has_values(header)) else {
        // A list that is empty today is still a list.
        let is_empty = text.lines().all(|line| line.trim().is_empty() || line.trim_start().starts_with('#'));
        let found = columns::header(text).unwrap_or_default();
        return if is_empty { Ok(reading) } else { Err(FeedError::Columns(found)) };
    };
    for line in text.lines().filter(|line| !line.trim().is_empty() && !line.trim_start().starts_with('#')) {
        let row = columns::fields(line);
        if row.iter().map(|field| field.to_lowercase()).eq(header.iter().cloned()) {
            continue;
        }
        let field = |name: &str| {
            let place = header.iter().position(|known| known == name)?;
            row.get(place).cloned()
        };
        take(&mut reading, options, &field);
    }
    Ok(reading)
}

/// A row of JSON, with the id that it stands under where there is one.
type JsonRow<'j> = (Option<&'j str>, &'j Map<String, Json>);

/// The rows of JSON: a list of them; a list under `data`; or lists under ids.
fn rows(value: &Json) -> Option<Vec<JsonRow<'_>>> {
    match value {
        Json::Array(list) => Some(list.iter().filter_map(|row| Some((None, row.as_object()?))).collect()),
        Json::Object(entries) => {
            if let Some(list) = entries.get("data").or_else(|| entries.get("urls")).and_then(Json::as_array) {
                return Some(list.iter().filter_map(|row| Some((None, row.as_object()?))).collect());
            }
            let lists = entries.iter().filter_map(|(id, rows)| Some((id.as_str(), rows.as_array()?)));
            let rows = lists.flat_map(|(id, rows)| rows.iter().filter_map(move |row| Some((Some(id), row.as_object()?))));
            Some(rows.collect())
        }
        _ => None,
    }
}

fn take(reading: &mut Reading, options: &Options, field: &dyn Fn(&str) -> Option<String>) {
    let given = |name: &str| field(name).filter(|text| !text.is_empty() && text != "None" && text != "n/a" && text != "null");
    let first = |names: &[&str]| names.iter().find_map(|name| given(name));
    let valid_from = first(&FIRST).as_deref().and_then(time_s);
    let last = first(&LAST).as_deref().and_then(time_s);
    let confidence = given("confidence_level").and_then(|level| level.parse().ok()).unwrap_or(options.confidence);
    let base = Indicator {
        confidence: confidence.min(100),
        valid_from,
        modified: last.or(valid_from).unwrap_or(0),
        label: first(&LABELS).as_deref().and_then(Indicator::label_of),
        ..base(options)
    };
    let mut any = false;
    for (name, kind) in VALUES {
        let Some(raw) = given(name) else { continue };
        // URLhaus has `url_status` beside `url`, and the JSON of ThreatFox has the value under `ioc`.
        let kind = kind.or_else(|| given("ioc_type").and_then(|kind| kind_of_ioc(&kind)));
        any = true;
        match kind {
            Some(Kind::Ip) => reading.take(
                &base,
                Kind::Ip,
                raw.rsplit_once(':').map_or(raw.as_str(), |(ip, port)| {
                    if port.bytes().all(|b| b.is_ascii_digit()) && !ip.contains(':') { ip } else { &raw }
                }),
            ),
            Some(kind) => reading.take(&base, kind, &raw),
            None => reading.problems.note("a type of ThreatFox that is not matched", &given("ioc_type").unwrap_or_default()),
        }
    }
    if !any {
        reading.problems.note("a row without a value", &first(&["id", "ioc_id"]).unwrap_or_default());
    }
}

fn kind_of_ioc(kind: &str) -> Option<Kind> {
    Some(match kind {
        "url" => Kind::Url,
        "domain" => Kind::Domain,
        "ip:port" | "ip" => Kind::Ip,
        "md5_hash" | "sha1_hash" | "sha256_hash" => Kind::Hash,
        "email" | "email_address" => Kind::Email,
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Written by us in the documented form of each.
    const URLHAUS: &str = "################\n# abuse.ch URLhaus Database Dump (CSV - recent URLs only)\n#\n# \
        id,dateadded,url,url_status,last_online,threat,tags,urlhaus_link,reporter\n\
        \"7\",\"2026-01-31 12:00:00\",\"http://45.9.148.7:8081/m.sh\",\"online\",\"2026-02-01 00:00:00\",\"malware_download\",\
        \"elf,x\",\"https://urlhaus.example/url/7/\",\"somebody\"\n";
    const THREATFOX: &str = "# ThreatFox\n# \"first_seen_utc\",\"ioc_id\",\"ioc_value\",\"ioc_type\",\"threat_type\",\"fk_malware\",\
        \"malware_alias\",\"malware_printable\",\"last_seen_utc\",\"confidence_level\",\"is_compromised\",\"reference\",\"tags\",\
        \"anonymous\",\"reporter\"\n\
        \"2026-01-31 12:00:00\", \"9\", \"45.9.148.9:443\", \"ip:port\", \"botnet_cc\", \"win.x\", \"None\", \"Family X\", \"\", \
        \"75\", \"False\", \"\", \"\", \"0\", \"somebody\"\n\
        \"2026-01-31 12:00:00\", \"10\", \"ab\", \"sha3_384_hash\", \"payload\", \"win.x\", \"None\", \"Family X\", \"\", \"75\"\n";
    const FEODO: &str = "# Feodo Tracker\n#\nfirst_seen_utc,dst_ip,dst_port,c2_status,last_online,malware\n\
        2026-01-31 12:00:00,45.9.148.8,443,online,2026-02-01,Family Y\n# END 1 entries\n";

    #[test]
    fn tables_are_read_by_their_columns() {
        for (name, text, expected, problems) in [
            ("urlhaus", URLHAUS, vec!["url http://45.9.148.7:8081/m.sh 50 malware_download"], 0),
            ("threatfox", THREATFOX, vec!["ip 45.9.148.9 75 Family X"], 1),
            ("feodo", FEODO, vec!["ip 45.9.148.8 50 Family Y"], 0),
            (
                "json list",
                r#"[{"ip_address":"45.9.148.8","malware":"Y","port":443,"last_online":"2026-02-01"}]"#,
                vec!["ip 45.9.148.8 50 Y"],
                0,
            ),
            (
                "json by id",
                r#"{"7":[{"dateadded":"2026-01-31 12:00:00","url":"http://evil.example/a","threat":"t","tags":["x"]}]}"#,
                vec!["url http://evil.example/a 50 t"],
                0,
            ),
            (
                "json of the api",
                r#"{"query_status":"ok","data":[{"id":"1","ioc":"evil.example","ioc_type":"domain","confidence_level":100,"malware_printable":"Z"},{"id":"2"}]}"#,
                vec!["domain evil.example 100 Z"],
                1,
            ),
            (
                "bazaar",
                "\"first_seen_utc\",\"sha256_hash\",\"md5_hash\"\n\"2026-01-31\", \"aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa\",\"d41d8cd98f00b204e9800998ecf8427e\"\n",
                vec![
                    "hash aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa 50 ",
                    "hash d41d8cd98f00b204e9800998ecf8427e 50 ",
                ],
                0,
            ),
            ("empty today", "# nothing\n#\n", vec![], 0),
        ] {
            let reading = read(text, &Options::default()).unwrap_or_else(|error| panic!("{name}: {error}"));
            let found: Vec<String> = reading
                .indicators
                .iter()
                .map(|one| format!("{} {} {} {}", one.kind, one.value, one.confidence, one.label.as_deref().unwrap_or_default()))
                .collect();
            assert_eq!(
                (found, reading.problems.count()),
                (expected.into_iter().map(str::to_owned).collect(), problems),
                "{name}"
            );
        }
        let reading = read(URLHAUS, &Options::default()).unwrap();
        assert_eq!(reading.indicators[0].modified, 1_769_904_000, "when it was online last");
    }

    #[test]
    fn what_is_no_table_is_told() {
        for text in ["a,b\n1,2\n", "{", "\"x\""] {
            assert!(read(text, &Options::default()).is_err(), "{text}");
        }
    }
}
