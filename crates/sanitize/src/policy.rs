//! What is done with what is found: an action for each type, and types of the operator.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::custom::{CustomError, CustomSpec, CustomTypes, TYPES_MAX};
use crate::{Action, Category, Sanitizer, SensitiveType, TokenKey, TypeName};

/// A policy as the configuration has it (`[sanitize]`). The default: everything becomes a token, and card verification values are
/// dropped.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct PolicySpec {
    /// What is done with values, by the name of the type or of a category: `secrets`, `personal`, `custom`, and the parts of
    /// `personal`, [`Category`]. A type goes before
    /// its category.
    pub actions: BTreeMap<String, Action>,
    /// Types of the operator.
    pub types: Vec<CustomSpec>,
}

/// A policy that was checked.
#[derive(Debug)]
pub struct Policy {
    /// By `SensitiveType as usize`.
    actions: Vec<Action>,
    custom_actions: BTreeMap<String, Action>,
    pub(crate) custom: CustomTypes,
    digest: Option<String>,
}

/// Why a policy cannot be used.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum PolicyError {
    /// There is no such type.
    #[error(
        "sanitize.actions.{0}: there is no type or category of that name; docs/reference/sanitiser.md lists the types, the categories \
         are {CATEGORIES}"
    )]
    Unknown(String),
    /// A card verification value must not be kept in any form.
    #[error("sanitize.actions.{0}: a card verification value is always dropped (PCI DSS 3.3.1); leave it out")]
    Verification(String),
    /// A secret must not be kept.
    #[error("sanitize.actions.{0} = \"keep\": a secret is never kept; choose token, mask, drop or encrypt")]
    Secret(String),
    /// A card number must not be kept.
    #[error("sanitize.actions.{0} = \"keep\": a card number is never kept (PCI DSS 3.5.1); choose token, mask, drop or encrypt")]
    Card(String),
    /// Keeping is decided type by type.
    #[error("sanitize.actions.{0} = \"keep\": name each type that is to be kept; a category cannot be")]
    Category(String),
    /// The credential of a caller.
    #[error("sanitize.actions.{0}: the credential of a caller is always a token, so that its use can be followed; leave it out")]
    Credential(String),
    /// Too many types.
    #[error("sanitize.types: at most {TYPES_MAX}")]
    TooMany,
    /// A type.
    #[error("sanitize.types, {name:?}: {error}")]
    Type {
        /// Its name as it was given.
        name: String,
        /// What is wrong.
        error: CustomError,
    },
}

/// The categories, for people.
const CATEGORIES: &str = "secrets, personal, custom, and of personal contact, national_id, financial, health and device";
/// Hexadecimal digits of a policy's digest: 128 bits.
const DIGEST_CHARS: usize = 32;

impl PolicySpec {
    /// Whether some type's values are sealed.
    #[must_use]
    pub fn encrypts(&self) -> bool {
        self.actions.values().chain(self.types.iter().map(|one| &one.action)).any(|action| *action == Action::Encrypt)
    }
}

impl Default for Policy {
    fn default() -> Self {
        Self {
            actions: SensitiveType::ALL.iter().map(|kind| kind.action()).collect(),
            custom_actions: BTreeMap::new(),
            custom: CustomTypes::default(),
            digest: None,
        }
    }
}

impl Policy {
    /// Checks a policy, its types with their examples included.
    ///
    /// # Errors
    /// [`PolicyError`], which names the field.
    pub fn new(spec: &PolicySpec) -> Result<Self, PolicyError> {
        if spec.types.len() > TYPES_MAX {
            return Err(PolicyError::TooMany);
        }
        let wrong = |(index, error): (usize, CustomError)| {
            let name = spec.types.get(index).map_or_else(String::new, |one| one.name.clone());
            PolicyError::Type { name, error }
        };
        let mut policy = Self { custom: CustomTypes::new(&spec.types).map_err(wrong)?, ..Self::default() };
        policy.custom_actions = spec.types.iter().map(|one| (one.name.clone(), one.action)).collect();
        let (mut categories, types): (Vec<_>, Vec<_>) = spec.actions.iter().partition(|(name, _)| is_category(name));
        // The wider first: what is said of a part of them goes before it.
        categories.sort_by_key(|(name, _)| Category::from_name(name).is_some());
        for (name, action) in categories {
            policy.set_category(name, *action)?;
        }
        for (name, action) in types {
            policy.set(name, *action)?;
        }
        if *spec != PolicySpec::default() {
            policy.digest = Some(digest(spec));
        }
        policy.with_examples_checked(&spec.types).map_err(wrong)
    }

    /// Names the policy in records: the first 128 bits of SHA-256 over its JSON, in hexadecimal digits. None: the default.
    #[must_use]
    pub fn digest(&self) -> Option<&str> {
        self.digest.as_deref()
    }

    /// What is done with values of a type.
    #[must_use]
    pub fn action(&self, kind: &TypeName) -> Action {
        match kind {
            TypeName::Builtin(kind) => self.actions.get(*kind as usize).copied().unwrap_or_else(|| kind.action()),
            TypeName::Custom(name) => self.custom_actions.get(&**name).copied().unwrap_or(Action::Token),
        }
    }

    /// The length of the placeholder of a dropped value of the operator that `text` begins with.
    pub(crate) fn dropped_len(&self, text: &[u8]) -> Option<usize> {
        self.custom.names().find_map(|name| {
            let rest = text.strip_prefix(b"<")?.strip_prefix(name.as_bytes())?;
            rest.starts_with(crate::token::DROPPED_END.as_bytes()).then_some(1 + name.len() + crate::token::DROPPED_END.len())
        })
    }

    fn set_category(&mut self, name: &str, action: Action) -> Result<(), PolicyError> {
        if action == Action::Keep {
            return Err(PolicyError::Category(name.to_owned()));
        }
        if name == "custom" {
            self.custom_actions.values_mut().for_each(|slot| *slot = action);
            return Ok(());
        }
        for kind in SensitiveType::ALL {
            let is_fixed = matches!(kind, SensitiveType::Cvv | SensitiveType::Credential);
            let is_of = match Category::from_name(name) {
                Some(category) => kind.category() == category,
                None => kind.is_secret() == (name == "secrets"),
            };
            if is_of && !is_fixed {
                self.put(*kind, action);
            }
        }
        Ok(())
    }

    fn set(&mut self, name: &str, action: Action) -> Result<(), PolicyError> {
        if let Some(slot) = self.custom_actions.get_mut(name) {
            if action == Action::Keep {
                return Err(PolicyError::Type { name: name.to_owned(), error: CustomError::Keep });
            }
            *slot = action;
            return Ok(());
        }
        let kind = SensitiveType::from_name(name).ok_or_else(|| PolicyError::Unknown(name.to_owned()))?;
        let name = || name.to_owned();
        match (kind, action) {
            (SensitiveType::Cvv, Action::Drop) | (SensitiveType::Credential, Action::Token) => return Ok(()),
            (SensitiveType::Cvv, _) => return Err(PolicyError::Verification(name())),
            (SensitiveType::Credential, _) => return Err(PolicyError::Credential(name())),
            (SensitiveType::CreditCard, Action::Keep) => return Err(PolicyError::Card(name())),
            (_, Action::Keep) if kind.is_secret() => return Err(PolicyError::Secret(name())),
            _ => {}
        }
        self.put(kind, action);
        Ok(())
    }

    fn put(&mut self, kind: SensitiveType, action: Action) {
        if let Some(slot) = self.actions.get_mut(kind as usize) {
            *slot = action;
        }
    }

    /// The policy, if each type is found where its examples say so and nowhere else.
    fn with_examples_checked(self, specs: &[CustomSpec]) -> Result<Self, (usize, CustomError)> {
        let sanitizer = Sanitizer::new(TokenKey::new([0; 32], "examples")).with_policy(self);
        for (index, spec) in specs.iter().enumerate() {
            let is_in = |text: &String| {
                let found = sanitizer.text(text).replacements;
                found.iter().any(|one| one.kind.is_custom() && one.kind.as_str() == spec.name)
            };
            if spec.positive.is_empty() {
                return Err((index, CustomError::NoExample));
            }
            if let Some(at) = spec.positive.iter().position(|text| !is_in(text)) {
                return Err((index, CustomError::Missed(at + 1)));
            }
            if let Some(at) = spec.negative.iter().position(is_in) {
                return Err((index, CustomError::Found(at + 1)));
            }
        }
        Ok(sanitizer.policy)
    }
}

fn is_category(name: &str) -> bool {
    ["secrets", "personal", "custom"].contains(&name) || Category::from_name(name).is_some()
}

fn digest(spec: &PolicySpec) -> String {
    let json = serde_json::to_vec(spec).unwrap_or_default();
    let hash = aws_lc_rs::digest::digest(&aws_lc_rs::digest::SHA256, &json);
    let digits: String = hash.as_ref().iter().map(|byte| format!("{byte:02x}")).collect();
    digits.get(..DIGEST_CHARS).unwrap_or_default().to_owned()
}
