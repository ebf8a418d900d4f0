//! What the arguments of a tool call say, as a digest by which calls are compared.

use std::borrow::Cow;

use event::ContentRef;
use rusqlite::Result;

use crate::actions::Texts;
use crate::partition::Partition;
use crate::row::Fnv;

/// Longest arguments that are compared by what they say; longer ones are compared byte by byte.
const CANONICAL_BYTES_MAX: usize = 1024 * 1024;

/// A digest of what arguments say: white space and the order of keys do not count, nor whether no arguments are
/// written as nothing, `null` or `{}`.
pub(crate) fn hash_of(partition: &mut Partition, content: Option<&ContentRef>, texts: &dyn Texts) -> Result<Option<i64>> {
    let Some(content) = content else { return Ok(None) };
    let stored;
    let text = match texts.text(content) {
        Some(text) => text,
        None => match partition.content(&content.id)? {
            Some(number) => {
                stored = partition.text(number)?.unwrap_or_default();
                Cow::Borrowed(stored.as_str())
            }
            None => return Ok(None),
        },
    };
    let mut hash = Fnv::default();
    let parsed = (text.len() <= CANONICAL_BYTES_MAX).then(|| serde_json::from_str(&text).ok()).flatten();
    match parsed {
        Some(serde_json::Value::String(inner)) => match serde_json::from_str(&inner) {
            Ok(value) => canonical(&value, &mut hash),
            Err(_) => hash.field(inner.as_bytes()),
        },
        Some(serde_json::Value::Null) => canonical(&serde_json::Value::Object(serde_json::Map::new()), &mut hash),
        Some(value) => canonical(&value, &mut hash),
        None if text.trim().is_empty() => canonical(&serde_json::Value::Object(serde_json::Map::new()), &mut hash),
        None => hash.field(text.as_bytes()),
    }
    Ok(Some(hash.finish()))
}

/// Depth is bounded by `serde_json`'s own limit of 128.
fn canonical(value: &serde_json::Value, hash: &mut Fnv) {
    match value {
        serde_json::Value::Object(map) => {
            hash.field(b"{");
            let mut entries: Vec<_> = map.iter().collect();
            entries.sort_unstable_by_key(|(key, _)| *key);
            for (key, value) in entries {
                hash.field(key.as_bytes());
                canonical(value, hash);
            }
            hash.field(b"}");
        }
        serde_json::Value::Array(items) => {
            hash.field(b"[");
            items.iter().for_each(|item| canonical(item, hash));
            hash.field(b"]");
        }
        scalar => hash.field(scalar.to_string().as_bytes()),
    }
}
