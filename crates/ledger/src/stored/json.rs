//! Fields and contents as JSON. `docs/reference/record-format.md` defines it.

use event::{ContentId, SubjectId};
use journal::ContentEntry;
use sanitize::Clean;
use serde::{Deserialize, Serialize};

use super::{StoredContent, StoredField, StoredSpan};
use crate::hex;
use crate::leaf::FieldType;
use crate::tree::Hash;

#[derive(Serialize, Deserialize)]
#[serde(untagged, deny_unknown_fields)]
pub(super) enum FieldJson {
    Open {
        path: String,
        r#type: u8,
        value: String,
        #[serde(with = "hex")]
        salt: [u8; 32],
    },
    Gone {
        #[serde(with = "hex")]
        hash: Hash,
    },
}

impl From<StoredField> for FieldJson {
    fn from(field: StoredField) -> Self {
        match field {
            StoredField::Open { path, kind, value, salt } => {
                let value = match kind {
                    // It was cut out of JSON text, which is UTF-8.
                    FieldType::Json => String::from_utf8_lossy(&value).into_owned(),
                    FieldType::Contents => hex::encode(&value),
                };
                Self::Open { path, r#type: kind as u8, value, salt }
            }
            StoredField::Gone { hash } => Self::Gone { hash },
        }
    }
}

impl TryFrom<FieldJson> for StoredField {
    type Error = &'static str;

    fn try_from(field: FieldJson) -> Result<Self, Self::Error> {
        Ok(match field {
            FieldJson::Open { path, r#type, value, salt } => {
                let (kind, value) = match r#type {
                    1 => (FieldType::Json, value.into_bytes()),
                    2 => (FieldType::Contents, hex::decode(&value).ok_or("value of type 2 must be lower-case hexadecimal")?),
                    _ => return Err("type of a field must be 1 (JSON) or 2 (contents)"),
                };
                Self::Open { path, kind, value, salt }
            }
            FieldJson::Gone { hash } => Self::Gone { hash },
        })
    }
}

#[derive(Serialize, Deserialize)]
#[serde(untagged, deny_unknown_fields)]
pub(super) enum ContentJson {
    Whole {
        id: ContentId,
        subject: SubjectId,
        #[serde(with = "hex")]
        salt: [u8; 16],
        text: Clean,
    },
    Redacted {
        id: ContentId,
        subject: SubjectId,
        #[serde(with = "hex")]
        template_salt: [u8; 16],
        template: Clean,
        spans: Vec<StoredSpan>,
    },
    Gone {
        id: ContentId,
    },
}

impl From<StoredContent> for ContentJson {
    fn from(content: StoredContent) -> Self {
        match content {
            StoredContent::Whole(ContentEntry { id, salt, subject, text }) => Self::Whole { id, subject, salt, text },
            StoredContent::Redacted { id, subject, template_salt, template, spans } => {
                Self::Redacted { id, subject, template_salt, template, spans }
            }
            StoredContent::Gone { id } => Self::Gone { id },
        }
    }
}

impl From<ContentJson> for StoredContent {
    fn from(content: ContentJson) -> Self {
        match content {
            ContentJson::Whole { id, subject, salt, text } => Self::Whole(ContentEntry { id, salt, subject, text }),
            ContentJson::Redacted { id, subject, template_salt, template, spans } => {
                Self::Redacted { id, subject, template_salt, template, spans }
            }
            ContentJson::Gone { id } => Self::Gone { id },
        }
    }
}
