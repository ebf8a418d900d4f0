//! Where a client's address is: looked up in files of the operator's, in the format of MaxMind (MMDB).
//!
//! The look-up is done before an event is sanitised and recorded, and what it finds is part of the event. Later nobody could: the
//! address itself does not stand in the record, and a newer file says something else of it. So whatever is built anew from the record
//! says what was known then, and which file said it.

use std::net::IpAddr;
use std::path::{Path, PathBuf};

use event::{Event, Key, Value, attr};
use maxminddb::{MaxMindDbError, Reader};
use serde::{Deserialize, Serialize};

/// Largest file. It is kept in memory; the largest that are sold have half of it.
const FILE_BYTES_MAX: u64 = 1024 * 1024 * 1024;

/// Longest name of a place or of who runs a network that is taken, in bytes.
const NAME_BYTES_MAX: usize = 256;

/// Where addresses are looked up.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct GeoipConfig {
    /// Countries and cities: a City or Country file.
    pub database: Option<PathBuf>,
    /// Autonomous systems: an ASN or ISP file.
    pub asn_database: Option<PathBuf>,
}

/// Why a file cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum GeoipError {
    /// It cannot be read.
    #[error("geoip.{field} = {path}: {source}")]
    Read {
        /// The field of the configuration.
        field: &'static str,
        /// The file.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// It is something else.
    #[error("geoip.{field} = {path}: {source}; a MaxMind DB file (.mmdb) is needed")]
    Format {
        /// The field of the configuration.
        field: &'static str,
        /// The file.
        path: PathBuf,
        /// What is wrong in it.
        source: MaxMindDbError,
    },
}

/// The files, in memory.
pub(crate) struct Places {
    files: Vec<File>,
}

struct File {
    reader: Reader<Vec<u8>>,
    /// Its type and the day it was made.
    label: String,
}

/// What a file says of an address: the fields of GeoLite2 and GeoIP2 that the record has.
#[derive(Debug, Default, Deserialize)]
struct Place<'f> {
    #[serde(borrow, default)]
    country: Country<'f>,
    #[serde(borrow, default)]
    subdivisions: Vec<Country<'f>>,
    #[serde(borrow, default)]
    city: City<'f>,
    #[serde(default)]
    autonomous_system_number: Option<u32>,
    #[serde(borrow, default)]
    autonomous_system_organization: Option<&'f str>,
}

#[derive(Debug, Default, Deserialize)]
struct Country<'f> {
    #[serde(borrow, default)]
    iso_code: Option<&'f str>,
}

#[derive(Debug, Default, Deserialize)]
struct City<'f> {
    #[serde(borrow, default)]
    names: Names<'f>,
}

#[derive(Debug, Default, Deserialize)]
struct Names<'f> {
    #[serde(borrow, default)]
    en: Option<&'f str>,
}

impl Places {
    /// Reads the files, as far as any are named.
    pub(crate) fn open(config: &GeoipConfig) -> Result<Self, GeoipError> {
        let named = [("database", &config.database), ("asn_database", &config.asn_database)];
        let named = named.into_iter().filter_map(|(field, path)| Some((field, path.as_deref()?)));
        Ok(Self { files: named.map(|(field, path)| File::open(field, path)).collect::<Result<_, _>>()? })
    }

    /// Adds to an event where its client is. What the source tells of that stands.
    pub(crate) fn tell<T: AsRef<str> + From<String>>(&self, event: &mut Event<T>) {
        if self.files.is_empty() {
            return;
        }
        let address = event.identity.client.as_ref().and_then(|client| client.address.as_ref());
        let Some(address) = address.and_then(|address| address.as_ref().trim().parse::<IpAddr>().ok()) else { return };
        let place_is_told = event.attributes.contains_key(&attr::GEO_COUNTRY_ISO_CODE)
            || event.attributes.contains_key(&attr::GEO_LOCALITY_NAME)
            || event.attributes.contains_key(&attr::GEO_REGION_ISO_CODE);
        let system_is_told = event.attributes.contains_key(&attr::AS_NUMBER);
        let mut labels = Vec::new();
        for File { reader, label } in &self.files {
            // A file that is broken at one address, or has none of its kind, says nothing of it.
            let Ok(found) = reader.lookup(address.to_canonical()).and_then(|found| found.decode::<Place<'_>>()) else { continue };
            let Some(found) = found else { continue };
            let before = event.attributes.len();
            let mut set = |key: Key, text: Option<String>| {
                if let Some(text) = text.filter(|text| !text.is_empty()) {
                    event.attributes.entry(key).or_insert_with(|| Value::Text(text.into()));
                }
            };
            if !place_is_told {
                let country = found.country.iso_code;
                let region = found.subdivisions.first().and_then(|region| region.iso_code);
                set(attr::GEO_COUNTRY_ISO_CODE, country.map(name));
                // ISO 3166-2 writes the country before it, the files do not.
                set(attr::GEO_REGION_ISO_CODE, country.zip(region).map(|(country, region)| name(&format!("{country}-{region}"))));
                set(attr::GEO_LOCALITY_NAME, found.city.names.en.map(name));
            }
            if !system_is_told {
                set(attr::AS_ORGANIZATION_NAME, found.autonomous_system_organization.map(name));
                if let Some(number) = found.autonomous_system_number {
                    event.attributes.entry(attr::AS_NUMBER).or_insert_with(|| Value::Int(i64::from(number)));
                }
            }
            if event.attributes.len() > before {
                labels.push(label.as_str());
            }
        }
        if !labels.is_empty() {
            event.attributes.insert(attr::GEO_DATABASE, Value::Text(labels.join(", ").into()));
        }
    }
}

impl File {
    fn open(field: &'static str, path: &Path) -> Result<Self, GeoipError> {
        let read = |source| GeoipError::Read { field, path: path.to_owned(), source };
        let bytes = files::read_named_at_most(path, FILE_BYTES_MAX).map_err(read)?;
        let bytes = bytes.ok_or_else(|| read(std::io::ErrorKind::NotFound.into()))?;
        let reader = Reader::from_source(bytes).map_err(|source| GeoipError::Format { field, path: path.to_owned(), source })?;
        let made = i64::try_from(reader.metadata().build_epoch).ok().and_then(|epoch| jiff::Timestamp::from_second(epoch).ok());
        let made = made.map_or_else(String::new, |made| made.strftime(" %Y-%m-%d").to_string());
        let label = format!("{}{made}", name(&reader.metadata().database_type));
        Ok(Self { reader, label })
    }
}

fn name(text: &str) -> String {
    text[..text.floor_char_boundary(NAME_BYTES_MAX)].to_owned()
}

#[cfg(test)]
#[path = "geoip_tests.rs"]
mod tests;
