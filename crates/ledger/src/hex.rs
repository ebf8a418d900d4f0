//! Bytes as lower-case hexadecimal text in JSON, and lists of hashes.

pub(crate) use event::hex::{decode, decode_array, deserialize, encode, serialize};

/// Lists of hashes.
pub(crate) mod list {
    use serde::ser::SerializeSeq;
    use serde::{Deserialize, Deserializer, Serializer};

    use crate::tree::Hash;

    pub(crate) fn serialize<S: Serializer>(hashes: &[Hash], serializer: S) -> Result<S::Ok, S::Error> {
        let mut list = serializer.serialize_seq(Some(hashes.len()))?;
        hashes.iter().try_for_each(|hash| list.serialize_element(&super::encode(hash)))?;
        list.end()
    }

    pub(crate) fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Vec<Hash>, D::Error> {
        #[derive(Deserialize)]
        struct Hex(#[serde(with = "event::hex")] Hash);
        Ok(Vec::<Hex>::deserialize(deserializer)?.into_iter().map(|hash| hash.0).collect())
    }
}
