//! Look-ups in files that a test writes.

use event::{Client, Kind, Source, SourcePath};
use serde_json::json;

use super::*;

#[path = "../../../tests/mmdb.rs"]
mod mmdb;

/// 2026-11-01.
const MADE: u32 = 1_793_491_200;

fn files(dir: &Path) -> GeoipConfig {
    let city = json!({
        "country": { "iso_code": "CH", "names": { "en": "Switzerland" } }, "city": { "names": { "en": "Bern", "de": "Bern" } },
        "subdivisions": [{ "iso_code": "BE" }], "location": { "latitude": 46 },
    });
    let country = json!({ "country": { "iso_code": "NO" } });
    let asn = json!({ "autonomous_system_number": 64_500, "autonomous_system_organization": "Example Net" });
    let (places, systems) = (dir.join("city.mmdb"), dir.join("asn.mmdb"));
    let city = mmdb::write("GeoLite2-City", MADE, &[("203.0.113.0", 24, city), ("2001:db8::", 32, country)]);
    std::fs::write(&places, city).unwrap();
    std::fs::write(&systems, mmdb::write("GeoLite2-ASN", MADE, &[("203.0.113.0", 25, asn)])).unwrap();
    GeoipConfig { database: Some(places), asn_database: Some(systems) }
}

fn from(address: &str) -> Event<String> {
    let mut event = Event::new(Kind::Session, "x".to_owned(), Source::new(SourcePath::Api, Key::of("api")));
    event.identity.client = Some(Client { address: Some(address.to_owned()), user_agent: None });
    event
}

/// Country, region, city, number, organisation and file, `-` for what is not told.
fn told(places: &Places, mut event: Event<String>) -> String {
    places.tell(&mut event);
    let keys = [
        attr::GEO_COUNTRY_ISO_CODE,
        attr::GEO_REGION_ISO_CODE,
        attr::GEO_LOCALITY_NAME,
        attr::AS_NUMBER,
        attr::AS_ORGANIZATION_NAME,
        attr::GEO_DATABASE,
    ];
    let text = |key: &Key| match event.attributes.get(key) {
        Some(Value::Text(text)) => text.clone(),
        Some(Value::Int(number)) => number.to_string(),
        _ => "-".to_owned(),
    };
    keys.iter().map(text).collect::<Vec<_>>().join("|")
}

#[test]
fn an_address_is_looked_up_in_every_file_and_the_event_says_which_one_said_it() {
    let dir = tempfile::tempdir().unwrap();
    let places = Places::open(&files(dir.path())).unwrap();
    for (address, expected) in [
        ("203.0.113.9", "CH|CH-BE|Bern|64500|Example Net|GeoLite2-City 2026-11-01, GeoLite2-ASN 2026-11-01"),
        ("::ffff:203.0.113.9", "CH|CH-BE|Bern|64500|Example Net|GeoLite2-City 2026-11-01, GeoLite2-ASN 2026-11-01"),
        ("203.0.113.200", "CH|CH-BE|Bern|-|-|GeoLite2-City 2026-11-01"),
        ("2001:db8::1", "NO|-|-|-|-|GeoLite2-City 2026-11-01"),
        ("127.0.0.1", "-|-|-|-|-|-"),
        ("localhost", "-|-|-|-|-|-"),
    ] {
        assert_eq!(told(&places, from(address)), expected, "{address}");
    }
    assert_eq!(told(&Places::open(&GeoipConfig::default()).unwrap(), from("203.0.113.9")), "-|-|-|-|-|-");
}

#[test]
fn what_the_source_tells_stands() {
    let dir = tempfile::tempdir().unwrap();
    let places = Places::open(&files(dir.path())).unwrap();
    let mut event = from("203.0.113.9");
    event.set(attr::GEO_COUNTRY_ISO_CODE, "DE");
    assert_eq!(told(&places, event), "DE|-|-|64500|Example Net|GeoLite2-ASN 2026-11-01");
}

#[test]
fn a_file_that_is_none_is_named_with_its_field() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("city.mmdb");
    let open =
        || Places::open(&GeoipConfig { asn_database: Some(path.clone()), ..GeoipConfig::default() }).err().unwrap().to_string();
    assert!(open().starts_with("geoip.asn_database = "), "{}", open());
    std::fs::write(&path, b"no database").unwrap();
    assert!(open().contains(".mmdb"), "{}", open());
}

#[test]
fn a_broken_file_breaks_no_event() {
    let dir = tempfile::tempdir().unwrap();
    let config = files(dir.path());
    let whole = std::fs::read(config.database.as_ref().unwrap()).unwrap();
    let mut opened = 0;
    for at in 0..whole.len() {
        let mut broken = whole.clone();
        broken[at] ^= 0xff;
        std::fs::write(config.database.as_ref().unwrap(), broken).unwrap();
        let Ok(places) = Places::open(&GeoipConfig { asn_database: None, ..config.clone() }) else { continue };
        opened += 1;
        for address in ["203.0.113.9", "2001:db8::1", "198.51.100.1"] {
            told(&places, from(address));
        }
    }
    assert!(opened > whole.len() / 2, "most of what is broken opens: {opened} of {}", whole.len());
}
