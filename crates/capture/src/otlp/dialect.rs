//! Dialects: tables that say how an instrumentation names things, compiled for one look-up per attribute.
//!
//! A table is a TOML file in `content/dialects/`; [`Table`] is its schema. The code knows *shapes* (how a conversation
//! may be laid out in attributes), the tables choose among them. Adding an emitter means adding a table.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::sync::LazyLock;

use event::{Key, Kind, attr};
use opentelemetry_proto::tonic::common::v1::KeyValue;

use super::table::{BODY, ContentRule, KindRule, Slot, Table};
use super::value;

/// The tables that ship with the product, in the order in which they are asked whether attributes are theirs.
const SHIPPED: &[(&str, &str)] = &[
    ("common", include_str!("../../../../content/dialects/common.toml")),
    ("claude-code", include_str!("../../../../content/dialects/claude-code.toml")),
    ("codex", include_str!("../../../../content/dialects/codex.toml")),
    ("gemini-cli", include_str!("../../../../content/dialects/gemini-cli.toml")),
    ("vercel-ai", include_str!("../../../../content/dialects/vercel-ai.toml")),
    ("mlflow", include_str!("../../../../content/dialects/mlflow.toml")),
    ("langfuse", include_str!("../../../../content/dialects/langfuse.toml")),
    ("openinference", include_str!("../../../../content/dialects/openinference.toml")),
    ("openllmetry", include_str!("../../../../content/dialects/openllmetry.toml")),
    ("openlit", include_str!("../../../../content/dialects/openlit.toml")),
    ("otel-genai", include_str!("../../../../content/dialects/otel-genai.toml")),
    ("generic", include_str!("../../../../content/dialects/generic.toml")),
];

/// The dialect of what no table recognises.
const FALLBACK: &str = "generic";

/// Keys that only Watchkeeper sets: a stranger's are kept, but never believed.
const RESERVED_PREFIX: &str = "watchkeeper.";

/// Every dialect that the decoder speaks.
#[derive(Debug, Default)]
pub struct Dialects {
    dialects: Vec<Dialect>,
    fallback: usize,
}

/// Why a dialect table cannot be used.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum DialectError {
    /// It is not TOML of the schema.
    #[error("dialect table {table}: {reason}")]
    Syntax {
        /// Which table.
        table: String,
        /// What is wrong, with line and column.
        reason: String,
    },
    /// It names something that does not exist.
    #[error("dialect table {table}: {field} names {value:?}, which {problem}")]
    Reference {
        /// Which table.
        table: String,
        /// The field.
        field: &'static str,
        /// The value.
        value: String,
        /// What is wrong with it.
        problem: &'static str,
    },
}

/// What type a canonical attribute has. A value that does not fit is kept as unmapped: it is not what its key says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Type {
    /// Any value.
    Any,
    /// A text; numbers and truth values are written out.
    Text,
    /// A whole number, not negative.
    Count,
    /// A number.
    Number,
    /// A truth value.
    Bool,
    /// A list of texts; one text is a list of one.
    Texts,
}

/// What to do with an attribute.
#[derive(Debug, Clone)]
pub(super) enum Action {
    /// Nothing is known of it but that a kind rule looks at it.
    Unmapped,
    /// It is an attribute of the event.
    Attribute { key: Key, ty: Type, values: Option<HashMap<String, String>> },
    /// It is a field of the event; the lower rank wins.
    Slot(Slot, usize),
    /// It is content: the rules for this key, of which the first that holds for the event is taken.
    Content(Vec<usize>),
}

/// An attribute key that the dialect knows.
#[derive(Debug, Clone)]
pub(super) struct Entry {
    /// Which of the values that kind rules look at it is.
    pub(super) selector: Option<usize>,
    /// What to do with it.
    pub(super) action: Action,
}

/// A kind rule, compiled.
#[derive(Debug)]
pub(super) struct CompiledRule {
    /// Which of the selected attributes it looks at.
    selector: Option<usize>,
    pub(super) rule: KindRule,
    pub(super) set: Vec<(Key, String)>,
    pub(super) copy: Vec<(Key, Key)>,
}

/// A dialect, compiled.
#[derive(Debug)]
pub(super) struct Dialect {
    pub(super) name: Key,
    pub(super) table: Table,
    entries: HashMap<String, Entry>,
    indexed: Vec<(String, Entry)>,
    kinds: Vec<CompiledRule>,
    pub(super) selectors: usize,
    pub(super) body: Option<Entry>,
    json: Vec<(Key, Vec<(String, Key)>)>,
    inline_span_events: HashSet<String>,
}

impl Dialects {
    /// The dialects that ship with the product (`content/dialects/`).
    #[must_use]
    pub fn shipped() -> &'static Self {
        // That the shipped tables load is held by a test; an empty set keeps every attribute as unmapped.
        static SHIPPED_DIALECTS: LazyLock<Dialects> = LazyLock::new(|| Dialects::parse(SHIPPED).unwrap_or_default());
        &SHIPPED_DIALECTS
    }

    /// Reads tables: pairs of a name for error messages and TOML text. The order is the order in which they are asked.
    pub fn parse(tables: &[(&str, &str)]) -> Result<Self, DialectError> {
        let tables = tables
            .iter()
            .map(|(file, text)| {
                toml::from_str::<Table>(text)
                    .map_err(|error| DialectError::Syntax { table: (*file).to_owned(), reason: error.to_string() })
            })
            .collect::<Result<Vec<_>, _>>()?;
        let dialects = tables.iter().map(|table| compile(table, &tables)).collect::<Result<Vec<_>, _>>()?;
        let fallback = dialects.iter().position(|dialect| dialect.name.as_str() == FALLBACK).ok_or(DialectError::Reference {
            table: FALLBACK.to_owned(),
            field: "name",
            value: FALLBACK.to_owned(),
            problem: "must be there: it reads what no other table recognises",
        })?;
        Ok(Self { dialects, fallback })
    }

    /// The reference of the dialects, in Markdown: what is recognised and where each key goes.
    #[must_use]
    pub fn reference(&self) -> String {
        super::reference::write(self)
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = &Dialect> {
        self.dialects.iter()
    }

    /// The dialect of a scope or service, where its name tells.
    pub(super) fn by_origin(&self, scope: &str, service: &str) -> Option<&Dialect> {
        let by_scope = self
            .dialects
            .iter()
            .flat_map(|dialect| dialect.table.scopes.iter().map(move |prefix| (prefix, dialect)))
            .filter(|(prefix, _)| match prefix.strip_suffix('$') {
                Some(whole) => scope == whole,
                None => scope.starts_with(prefix.as_str()),
            })
            // The longest beginning knows best.
            .max_by_key(|(prefix, _)| prefix.len())
            .map(|(_, dialect)| dialect);
        by_scope.or_else(|| self.dialects.iter().find(|dialect| dialect.table.services.iter().any(|name| name == service)))
    }

    /// The dialect of attributes and an event name, asked when the origin does not tell.
    pub(super) fn by_content(&self, attributes: &[KeyValue], event_name: &str) -> Option<&Dialect> {
        self.dialects.iter().find(|dialect| {
            dialect.table.events.iter().any(|prefix| event_name.starts_with(prefix.as_str()))
                || attributes.iter().any(|pair| dialect.table.keys.iter().any(|prefix| pair.key.starts_with(prefix.as_str())))
        })
    }

    pub(super) fn fallback(&self) -> Option<&Dialect> {
        self.dialects.get(self.fallback)
    }
}

impl Dialect {
    /// What is known of a key.
    pub(super) fn entry(&self, key: &str) -> Option<&Entry> {
        self.entries
            .get(key)
            .or_else(|| self.indexed.iter().find(|(prefix, _)| key.starts_with(prefix.as_str())).map(|(_, entry)| entry))
    }

    /// Whether the attributes of a span event of that name are its span's.
    pub(super) fn is_inline(&self, span_event: &str) -> bool {
        self.inline_span_events.contains(span_event)
    }

    /// Whether a span event of that name is dropped and counted.
    pub(super) fn is_dropped(&self, span_event: &str) -> bool {
        self.table.drop_span_events.iter().any(|pattern| fits(pattern, span_event))
    }

    /// Whether a span event of that name is an event of its own.
    pub(super) fn is_own(&self, span_event: &str) -> bool {
        self.table.own_span_events.iter().any(|name| name == span_event)
    }

    /// Whether span events of that name are the items of a list.
    pub(super) fn is_listed(&self, span_event: &str) -> bool {
        self.table.listed_span_events.iter().any(|name| name == span_event)
    }

    /// The event name without the dialect's own beginning.
    pub(super) fn bare_event_name<'a>(&self, name: &'a str) -> &'a str {
        self.table.event_prefix.as_deref().and_then(|prefix| name.strip_prefix(prefix)).unwrap_or(name)
    }

    /// Whether the service that reports is itself the agent.
    pub(super) fn agent_is_service(&self) -> bool {
        self.table.agent_is_service
    }

    /// The first kind rule that fits.
    pub(super) fn kind(
        &self,
        selected: &[Option<&str>],
        event_name: Option<&str>,
        span_name: &str,
        span_kind: Option<&str>,
    ) -> Option<&CompiledRule> {
        self.kinds.iter().find(|CompiledRule { selector, rule, .. }| {
            let attribute = selector.is_none_or(|index| {
                selected
                    .get(index)
                    .copied()
                    .flatten()
                    .is_some_and(|value| rule.values.is_empty() || rule.values.iter().any(|wanted| wanted == value))
            });
            attribute
                && (rule.events.is_empty() || event_name.is_some_and(|name| rule.events.iter().any(|wanted| wanted == name)))
                && (rule.names.is_empty() || event_name.is_none() && rule.names.iter().any(|pattern| fits(pattern, span_name)))
                && (rule.span_kinds.is_empty()
                    || span_kind.is_some_and(|kind| rule.span_kinds.iter().any(|wanted| wanted == kind)))
        })
    }

    /// The kind of what no rule names.
    pub(super) fn kind_default(&self) -> Kind {
        self.table.kind_default.unwrap_or(Kind::AgentStep)
    }

    /// The canonical keys that fields of a JSON attribute fill.
    pub(super) fn json_fields(&self) -> &[(Key, Vec<(String, Key)>)] {
        &self.json
    }

    /// The content rule for a key that holds for this event.
    pub(super) fn content_rule(&self, rules: &[usize], kind: Kind, event_name: Option<&str>) -> Option<(usize, &ContentRule)> {
        rules.iter().filter_map(|index| Some((*index, self.table.contents.get(*index)?))).find(|(_, rule)| {
            (rule.kinds.is_empty() || rule.kinds.contains(&kind))
                && (rule.events.is_empty() || event_name.is_some_and(|name| rule.events.iter().any(|wanted| wanted == name)))
        })
    }
}

/// The type of a canonical attribute.
pub(super) fn type_of(key: &str) -> Type {
    const COUNTS: &[Key] = &[
        attr::GEN_AI_REQUEST_MAX_TOKENS,
        attr::GEN_AI_USAGE_INPUT_TOKENS,
        attr::GEN_AI_USAGE_OUTPUT_TOKENS,
        attr::GEN_AI_USAGE_CACHE_READ_INPUT_TOKENS,
        attr::GEN_AI_USAGE_CACHE_CREATION_INPUT_TOKENS,
        attr::GEN_AI_USAGE_REASONING_OUTPUT_TOKENS,
        attr::SERVER_PORT,
        attr::HTTP_RESPONSE_STATUS_CODE,
        attr::HTTP_REQUEST_BODY_SIZE,
        attr::HTTP_RESPONSE_BODY_SIZE,
        attr::DB_RESPONSE_RETURNED_ROWS,
        attr::AS_NUMBER,
    ];
    const NUMBERS: &[Key] = &[
        attr::GEN_AI_REQUEST_TEMPERATURE,
        attr::GEN_AI_RESPONSE_TIME_TO_FIRST_CHUNK,
        attr::GEN_AI_GUARDRAIL_SECURITY_RISK_SCORE,
    ];
    let one_of = |keys: &[Key]| keys.iter().any(|candidate| candidate.as_str() == key);
    if one_of(COUNTS) || key == "gen_ai.usage.total_tokens" {
        Type::Count
    } else if one_of(NUMBERS) || key == "gen_ai.usage.cost" || key.starts_with("llm.cost.") {
        Type::Number
    } else if key == attr::GEN_AI_REQUEST_STREAM.as_str() {
        Type::Bool
    } else if key == attr::GEN_AI_RESPONSE_FINISH_REASONS.as_str() {
        Type::Texts
    } else if one_of(attr::ALL) {
        Type::Text
    } else {
        Type::Any
    }
}

fn fits(pattern: &str, name: &str) -> bool {
    match (pattern.strip_prefix('*'), pattern.strip_suffix('*')) {
        (Some(ending), _) => name.ends_with(ending),
        (None, Some(beginning)) => name.starts_with(beginning),
        (None, None) => name == pattern,
    }
}

/// A table and what it extends, as one.
fn flatten(table: &Table, all: &[Table]) -> Result<Table, DialectError> {
    let mut merged = table.clone();
    for parent in &table.extends {
        let parent = all.iter().find(|candidate| &candidate.name == parent).ok_or_else(|| DialectError::Reference {
            table: table.name.clone(),
            field: "extends",
            value: parent.clone(),
            problem: "is not a table",
        })?;
        if parent.name == table.name || parent.extends.contains(&table.name) {
            return Err(DialectError::Reference {
                table: table.name.clone(),
                field: "extends",
                value: parent.name.clone(),
                problem: "extends this one",
            });
        }
        let parent = flatten_parent(parent, all)?;
        for (from, to) in parent.attributes {
            merged.attributes.entry(from).or_insert(to);
        }
        for (key, fields) in parent.json {
            merged.json.entry(key).or_insert(fields);
        }
        for (key, values) in parent.values {
            merged.values.entry(key).or_insert(values);
        }
        for (slot, keys) in parent.identity {
            let own = merged.identity.entry(slot).or_default();
            own.extend(keys.into_iter().filter(|key| !table.identity.get(&slot).is_some_and(|own| own.contains(key))));
        }
        merged.keep.extend(parent.keep);
        merged.kinds.extend(parent.kinds);
        merged.contents.extend(parent.contents);
        merged.inline_span_events.extend(parent.inline_span_events);
        merged.drop_span_events.extend(parent.drop_span_events);
        merged.own_span_events.extend(parent.own_span_events);
        merged.listed_span_events.extend(parent.listed_span_events);
        merged.kind_default = merged.kind_default.or(parent.kind_default);
    }
    Ok(merged)
}

/// Two levels are enough, and keep a table readable: what a parent extends may not extend anything.
fn flatten_parent(parent: &Table, all: &[Table]) -> Result<Table, DialectError> {
    let grand =
        |name: &String| all.iter().find(|candidate| &candidate.name == name).is_some_and(|table| !table.extends.is_empty());
    match parent.extends.iter().find(|name| grand(name)) {
        Some(deep) => Err(DialectError::Reference {
            table: parent.name.clone(),
            field: "extends",
            value: deep.clone(),
            problem: "extends a further table; two levels is all there is",
        }),
        None if parent.extends.is_empty() => Ok(parent.clone()),
        None => flatten(parent, all),
    }
}

fn compile(table: &Table, all: &[Table]) -> Result<Dialect, DialectError> {
    let merged = flatten(table, all)?;
    let reference = |field: &'static str, value: &str, problem: &'static str| DialectError::Reference {
        table: table.name.clone(),
        field,
        value: value.to_owned(),
        problem,
    };
    let canonical = |field: &'static str, name: &str| -> Result<Key, DialectError> {
        // What is known when the program is built costs no allocation per event.
        match attr::ALL.iter().find(|key| key.as_str() == name) {
            Some(key) => Ok(key.clone()),
            None => Key::parse(name).map_err(|_| reference(field, name, "is not a canonical key (a-z, 0-9, '_', '.', '-')")),
        }
    };

    let mut entries: HashMap<String, Entry> = HashMap::new();
    let mut add = |key: &str, action: Action| {
        entries.entry(key.to_owned()).or_insert(Entry { selector: None, action });
    };
    let mut indexed = Vec::new();
    let mut body = Vec::new();
    // What a table says itself comes first: `or_insert` keeps it.
    let mut content_keys: BTreeMap<(&str, bool), Vec<usize>> = BTreeMap::new();
    for (index, rule) in merged.contents.iter().enumerate() {
        content_keys.entry((&rule.key, rule.shape.is_indexed())).or_default().push(index);
    }
    for ((key, is_indexed), rules) in content_keys {
        if key == BODY {
            body = rules;
        } else if is_indexed {
            indexed.push((format!("{key}."), Entry { selector: None, action: Action::Content(rules) }));
        } else {
            add(key, Action::Content(rules));
        }
    }
    for (slot, keys) in &merged.identity {
        for (rank, key) in keys.iter().enumerate() {
            add(key, Action::Slot(*slot, rank));
        }
    }
    let kept = merged.keep.iter().map(|key| (key, key));
    for (from, to) in merged.attributes.iter().chain(kept) {
        let key = canonical("attributes", to)?;
        let values = merged.values.get(to).map(|values| values.clone().into_iter().collect());
        add(from, Action::Attribute { ty: type_of(key.as_str()), key, values });
    }
    for key in attr::ALL.iter().filter(|key| !key.as_str().starts_with(RESERVED_PREFIX)) {
        let values = merged.values.get(key.as_str()).map(|values| values.clone().into_iter().collect());
        add(key.as_str(), Action::Attribute { key: key.clone(), ty: type_of(key.as_str()), values });
    }

    let mut selectors = 0;
    let mut kinds = Vec::new();
    for rule in &merged.kinds {
        let selector = rule.key.as_ref().map(|key| {
            let entry = entries.entry(key.clone()).or_insert(Entry { selector: None, action: Action::Unmapped });
            *entry.selector.get_or_insert_with(|| {
                selectors += 1;
                selectors - 1
            })
        });
        let set = rule
            .set
            .iter()
            .map(|(key, value)| Ok((canonical("kind.set", key)?, value.clone())))
            .collect::<Result<Vec<_>, DialectError>>()?;
        let copy = rule
            .copy
            .iter()
            .map(|(from, to)| Ok((canonical("kind.copy", from)?, canonical("kind.copy", to)?)))
            .collect::<Result<Vec<_>, DialectError>>()?;
        kinds.push(CompiledRule { selector, rule: rule.clone(), set, copy });
    }
    let mut json = Vec::new();
    for (from, fields) in &merged.json {
        let fields =
            fields.iter().map(|(field, to)| Ok((field.clone(), canonical("json", to)?))).collect::<Result<_, DialectError>>()?;
        json.push((canonical("json", from)?, fields));
    }
    Ok(Dialect {
        json,
        name: canonical("name", &table.name)?,
        entries,
        indexed,
        kinds,
        selectors,
        body: (!body.is_empty()).then_some(Entry { selector: None, action: Action::Content(body) }),
        inline_span_events: merged.inline_span_events.iter().cloned().collect(),
        table: merged,
    })
}

/// The value of an attribute that a kind rule looks at.
pub(super) fn selector_text(pair: &KeyValue) -> &str {
    // Any value that is not a text counts as present and equals nothing.
    pair.value.as_ref().and_then(value::as_str).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_shipped_tables_load() {
        let dialects = Dialects::parse(SHIPPED).unwrap();
        assert_eq!(dialects.dialects.len(), SHIPPED.len());
        for (dialect, (file, _)) in dialects.iter().zip(SHIPPED) {
            assert_eq!(dialect.name.as_str(), *file, "the file is named after the dialect");
        }
    }

    #[test]
    fn a_bad_table_is_refused_with_its_field() {
        let generic = "name = 'generic'\nabout = ''";
        for (bad, complaint) in [
            ("name = 'x'", "about"),
            ("name = 'x'\nabout = ''\nextends = ['nowhere']", "extends"),
            ("name = 'x'\nabout = ''\n[attributes]\n'a' = 'Not A Key'", "attributes"),
            ("name = 'x'\nabout = ''\nkin = 1", "kin"),
            ("name = 'x'\nabout = ''\n[[content]]\nkey='a'\nshape='round'\ndirection='input'\nrole='user'", "round"),
        ] {
            let error = Dialects::parse(&[("x", bad), ("generic", generic)]).unwrap_err().to_string();
            assert!(error.contains(complaint), "{error}");
        }
    }

    #[test]
    fn the_origin_routes_before_the_content() {
        let dialects = Dialects::shipped();
        for (scope, service, name) in [
            ("opentelemetry.instrumentation.openai_v2", "", "otel-genai"),
            ("opentelemetry.instrumentation.genai.openai", "", "otel-genai"),
            ("opentelemetry.util.genai.handler", "", "otel-genai"),
            ("opentelemetry.instrumentation.openai.v1", "", "openllmetry"),
            ("opentelemetry.instrumentation.anthropic", "", "openllmetry"),
            ("openinference.instrumentation.openai", "", "openinference"),
            ("com.anthropic.claude_code.events", "", "claude-code"),
            ("whatever", "claude-code", "claude-code"),
            ("opentelemetry.instrumentation.httpx", "", "generic"),
            ("ai", "", "vercel-ai"),
            ("aim", "", "generic"),
            ("langfuse-sdk", "", "langfuse"),
            ("openlit.instrumentation.openai", "", "openlit"),
            ("gemini-cli", "", "gemini-cli"),
            ("codex_otel.log_only", "codex_cli_rs", "codex"),
        ] {
            let found = dialects.by_origin(scope, service).map(|dialect| dialect.name.as_str());
            assert_eq!(found.unwrap_or("generic"), name, "{scope}");
        }
        for (key, name) in [
            ("openinference.span.kind", "openinference"),
            ("llm.input_messages.0.message.role", "openinference"),
            ("traceloop.span.kind", "openllmetry"),
            ("gen_ai.prompt.0.role", "openllmetry"),
            ("gen_ai.input.messages", "otel-genai"),
            ("mcp.method.name", "otel-genai"),
            ("ai.operationId", "vercel-ai"),
            ("mlflow.spanType", "mlflow"),
            ("langfuse.observation.type", "langfuse"),
        ] {
            let pair = KeyValue { key: key.to_owned(), ..Default::default() };
            let found = dialects.by_content(&[pair], "").map(|dialect| dialect.name.as_str());
            assert_eq!(found, Some(name), "{key}");
        }
    }
}
