//! What of a bundle's records is withheld: fields by their path, texts by who brought them or what they are, tokens by their type.

use std::collections::{BTreeMap, HashSet};

use event::ContentId;
use journal::content::tokens;
use ledger::{Disclosure, Selection, StoredBody, StoredContent, StoredRecord};

/// Most things that one export withholds.
const WITHHELD_MAX: usize = 100;

/// Longest of their names, in bytes: a path into an event.
const NAME_BYTES_MAX: usize = 1_024;

/// Most of the names that there are which an error lists.
const LISTED_MAX: usize = 40;

/// What is withheld.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Withhold {
    names: Vec<Name>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Name {
    /// The field of that path and all below it.
    Path(String),
    /// Texts: all, or those of one role or part.
    Content(Option<String>),
    /// Tokens, and fields that hold one: all, or those of one type.
    Tokens(Option<String>),
}

/// Why nothing can be withheld under a name.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum WithholdError {
    /// It has no form of a name.
    #[error(
        "withhold {0:?}: must be the path of a field (`/identity`, `/attributes/KEY`), `content`, `content:NAME` with a role or a \
         part, `tokens`, or `tokens:TYPE`"
    )]
    Form(String),
    /// There are too many.
    #[error("withhold: at most {WITHHELD_MAX} names")]
    TooMany,
    /// Nothing of it is in the selection: a slip of the pen would show what was to be withheld.
    #[error("withhold {name:?}: the selection has nothing of that name, so nothing was exported; it has {there}")]
    Nothing {
        /// The name.
        name: String,
        /// What there is instead.
        there: String,
    },
}

/// What is shown of a set of records.
pub(crate) struct Shown<'w> {
    withhold: &'w Withhold,
    /// Contents that are withheld as a whole.
    contents: HashSet<ContentId>,
    /// Whether these are the records that were selected: of others tokens alone are withheld.
    selected: bool,
}

/// What stands in a set of records that could be withheld.
#[derive(Default)]
struct There {
    paths: HashSet<String>,
    /// Roles and parts of texts, with the contents.
    classes: BTreeMap<String, HashSet<ContentId>>,
    /// The pieces that bring a content in.
    pieces: Vec<(String, ContentId)>,
    types: HashSet<String>,
}

impl Withhold {
    /// Reads the names.
    pub(crate) fn read(names: &[String]) -> Result<Self, WithholdError> {
        if names.len() > WITHHELD_MAX {
            return Err(WithholdError::TooMany);
        }
        Ok(Self { names: names.iter().map(|name| Name::read(name)).collect::<Result<_, _>>()? })
    }

    /// What of these records is shown. Each name must stand for something in them.
    pub(crate) fn of<'w>(
        &'w self,
        records: &[StoredRecord],
        contents: &dyn Fn(ContentId) -> Option<StoredContent>,
    ) -> Result<Shown<'w>, WithholdError> {
        if self.names.is_empty() {
            return Ok(Shown { withhold: self, contents: HashSet::new(), selected: true });
        }
        let there = There::of(records, contents);
        let mut withheld = HashSet::new();
        for name in &self.names {
            let is_there = match name {
                Name::Path(path) => {
                    // A text without the piece that says whose it is would be a text out of nowhere.
                    let below = there.pieces.iter().filter(|(piece, _)| is_below(piece, path)).map(|(_, content)| *content);
                    withheld.extend(below);
                    there.paths.iter().any(|known| is_below(known, path))
                }
                Name::Content(class) => {
                    let is_of = |known: &str| class.as_ref().is_none_or(|class| class == known);
                    let of_class = || there.classes.iter().filter(|(known, _)| is_of(known)).flat_map(|(_, contents)| contents);
                    withheld.extend(of_class().copied());
                    of_class().next().is_some()
                }
                Name::Tokens(None) => !there.types.is_empty(),
                Name::Tokens(Some(kind)) => there.types.contains(kind),
            };
            if !is_there {
                return Err(WithholdError::Nothing { name: name.to_string(), there: there.like(name) });
            }
        }
        Ok(Shown { withhold: self, contents: withheld, selected: true })
    }

    /// What of other records is shown, which were not selected but come along: tokens are withheld there, too.
    pub(crate) fn beside(&self) -> Shown<'_> {
        Shown { withhold: self, contents: HashSet::new(), selected: false }
    }

    /// The names, as they were given.
    pub(crate) fn names(&self) -> Vec<String> {
        self.names.iter().map(Name::to_string).collect()
    }

    fn hides_token(&self, token: &str) -> bool {
        self.names.iter().any(|name| match name {
            Name::Tokens(kind) => kind.as_ref().is_none_or(|kind| type_of(token) == Some(kind)),
            _ => false,
        })
    }
}

impl Shown<'_> {
    /// Asks it with a selection.
    pub(crate) fn select<T>(&self, ask: impl FnOnce(Selection<'_>) -> T) -> T {
        ask(Selection {
            field: &|path, value| self.shows_field(path, value),
            content: &|id, _| !self.contents.contains(&id),
            token: &|token| !self.withhold.hides_token(token),
        })
    }

    fn shows_field(&self, path: &str, value: &[u8]) -> bool {
        let is_named = |name: &Name| matches!(name, Name::Path(withheld) if is_below(path, withheld));
        if self.selected && self.withhold.names.iter().any(is_named) {
            return false;
        }
        let text = String::from_utf8_lossy(value);
        !tokens(&text).any(|token| self.withhold.hides_token(token.text))
    }
}

impl There {
    fn of(records: &[StoredRecord], contents: &dyn Fn(ContentId) -> Option<StoredContent>) -> Self {
        let mut there = Self::default();
        for stored in records {
            // The leaf's log is not looked at here.
            if let Ok(shown) = Disclosure::of(stored, [0; 16], &Selection::all()) {
                for field in shown.fields() {
                    there.learn_tokens(&field.value);
                    there.paths.insert(field.path.clone());
                }
            }
            let Some(event) = stored.for_reading().and_then(|record| record.event().ok()) else { continue };
            for (number, piece) in event.pieces.iter().enumerate() {
                let id = piece.content.id;
                there.pieces.push((format!("/pieces/{number}"), id));
                for class in [name_of(&piece.meta.role), name_of(&piece.meta.part)].into_iter().flatten() {
                    there.classes.entry(class).or_default().insert(id);
                }
                let brought = match &stored.body {
                    StoredBody::Whole(record) => {
                        record.contents.iter().find(|content| content.id == id).cloned().map(StoredContent::Whole)
                    }
                    StoredBody::Redacted(record) => record.contents.iter().find(|content| content.id() == id).cloned(),
                };
                if let Some(text) = brought.or_else(|| contents(id)).and_then(|content| content.text()) {
                    there.learn_tokens(text.as_str());
                }
            }
        }
        there
    }

    fn learn_tokens(&mut self, text: &str) {
        self.types.extend(tokens(text).filter_map(|token| type_of(token.text).map(str::to_owned)));
    }

    /// What there is of the kind that was asked for, for a person who mistyped.
    fn like(&self, name: &Name) -> String {
        let mut known: Vec<String> = match name {
            Name::Path(_) => self.paths.iter().filter(|path| path.starts_with('/')).cloned().collect(),
            Name::Content(_) => self.classes.keys().map(|class| format!("content:{class}")).collect(),
            Name::Tokens(_) => self.types.iter().map(|kind| format!("tokens:{kind}")).collect(),
        };
        if known.is_empty() {
            return "none of that kind".to_owned();
        }
        known.sort_unstable();
        let more = known.len().saturating_sub(LISTED_MAX);
        known.truncate(LISTED_MAX);
        let more = if more > 0 { format!(" and {more} more") } else { String::new() };
        format!("{}{more}", known.join(", "))
    }
}

impl Name {
    fn read(name: &str) -> Result<Self, WithholdError> {
        let refuse = || WithholdError::Form(name.chars().take(NAME_BYTES_MAX).collect());
        if name.len() > NAME_BYTES_MAX {
            return Err(refuse());
        }
        let class = |class: &str| if class.is_empty() { Err(refuse()) } else { Ok(Some(class.to_owned())) };
        match name.split_once(':') {
            _ if name.len() > 1 && name.starts_with('/') => Ok(Self::Path(name.trim_end_matches('/').to_owned())),
            None if name == "content" => Ok(Self::Content(None)),
            None if name == "tokens" => Ok(Self::Tokens(None)),
            Some(("content", name)) => Ok(Self::Content(class(name)?)),
            Some(("tokens", name)) => Ok(Self::Tokens(class(name)?)),
            _ => Err(refuse()),
        }
    }
}

impl std::fmt::Display for Name {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Path(path) => f.write_str(path),
            Self::Content(None) => f.write_str("content"),
            Self::Content(Some(class)) => write!(f, "content:{class}"),
            Self::Tokens(None) => f.write_str("tokens"),
            Self::Tokens(Some(kind)) => write!(f, "tokens:{kind}"),
        }
    }
}

/// Whether a path is that of the field, or of one below it.
fn is_below(path: &str, field: &str) -> bool {
    path.strip_prefix(field).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
}

/// The type that a token states.
fn type_of(token: &str) -> Option<&str> {
    tokens(token).next().and_then(|token| token.placeholder()[0].strip_prefix('<'))
}

/// As JSON has it.
fn name_of(value: &impl serde::Serialize) -> Option<String> {
    serde_json::to_value(value).ok()?.as_str().map(str::to_owned)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(names: &[&str]) -> Result<Withhold, WithholdError> {
        Withhold::read(&names.iter().map(|&name| name.to_owned()).collect::<Vec<_>>())
    }

    #[test]
    fn names_are_paths_and_classes_and_nothing_else() {
        let names = ["/identity", "/attributes/a~1b", "content", "content:user", "tokens", "tokens:SECRET:OPENAI_KEY"];
        assert_eq!(read(&names).unwrap().names(), names);
        assert_eq!(read(&["/identity/"]).unwrap().names(), ["/identity"]);
        for bad in ["", "/", "identity", "content:", "tokens:", "texts", "content.user"] {
            assert!(matches!(read(&[bad]), Err(WithholdError::Form(_))), "{bad}");
        }
        assert!(matches!(read(&["/a"; WITHHELD_MAX + 1]), Err(WithholdError::TooMany)));
    }

    #[test]
    fn a_path_is_the_field_and_what_is_below_it() {
        let shown = |names: &[&str], path: &str, value: &str| {
            let withhold = read(names).unwrap();
            let shown = Shown { withhold: &withhold, contents: HashSet::new(), selected: true };
            shown.shows_field(path, value.as_bytes())
        };
        assert!(!shown(&["/attributes"], "/attributes/x", "1"));
        assert!(!shown(&["/identity"], "/identity", "{}"));
        assert!(shown(&["/identity"], "/identity2", "{}"));
        assert!(shown(&["/pieces/1"], "/pieces/10", "{}"));
        let token = format!("{{\"id\":\"<EMAIL:v26:{}>\"}}", "a".repeat(32));
        assert!(!shown(&["tokens"], "/identity", &token) && !shown(&["tokens:EMAIL"], "/identity", &token));
        assert!(shown(&["tokens:PHONE"], "/identity", &token) && shown(&["content"], "/identity", &token));
        let withhold = read(&["/identity", "tokens"]).unwrap();
        let beside = withhold.beside();
        assert!(beside.shows_field("/identity", b"{}") && !beside.shows_field("/identity", token.as_bytes()));
    }

    #[test]
    fn what_is_not_there_cannot_be_withheld() {
        let error = read(&["/identiy"]).unwrap().of(&[], &|_| None).err().unwrap();
        assert!(error.to_string().contains("/identiy"), "{error}");
    }
}
