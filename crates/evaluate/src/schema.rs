//! JSON Schema, as far as structured outputs go: the keywords of types, values, objects, arrays, texts and numbers, their combinations, and
//! references within the schema. A keyword that is not known is refused and never passed over: a schema that checks less than it says
//! would call a broken answer a good one.

use std::collections::BTreeMap;

use regex::{Regex, RegexBuilder};
use serde_json::{Map, Value as Json};

/// Most schemas within a schema, and how deep they may stand.
const NODES_MAX: usize = 2_000;
/// How deep schemas stand within each other, references included, while a value is held against them.
const DEPTH_MAX: usize = 128;
/// Most memory of a compiled pattern, in bytes.
const REGEX_BYTES_MAX: usize = 1024 * 1024;
/// Keywords that say nothing about a value (`format` is an annotation in draft 2020-12).
const ANNOTATIONS: [&str; 12] = [
    "$schema",
    "$id",
    "$comment",
    "title",
    "description",
    "default",
    "examples",
    "deprecated",
    "readOnly",
    "writeOnly",
    "format",
    "strict",
];

/// A schema (draft 2020-12) that values can be held against.
#[derive(Debug, Clone)]
pub struct Schema {
    nodes: Vec<Node>,
    root: usize,
}

/// Why a schema cannot be used.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("schema{at}: {what}")]
pub struct SchemaError {
    /// Where, as a JSON pointer.
    at: String,
    what: String,
}

#[derive(Debug, Clone, Default)]
struct Node {
    never: bool,
    rules: Vec<Rule>,
}

#[derive(Debug, Clone)]
enum Rule {
    Type(Vec<String>),
    Enum(Vec<Json>),
    Properties(BTreeMap<String, usize>),
    /// Properties that the others do not name, with the names and patterns of the others.
    Additional {
        known: Vec<String>,
        patterns: Vec<Regex>,
        schema: usize,
    },
    PatternProperties(Vec<(Regex, usize)>),
    PropertyNames(usize),
    Required(Vec<String>),
    PropertyCount {
        min: u64,
        max: u64,
    },
    Prefix(Vec<usize>),
    /// Items from a place on.
    Items {
        from: usize,
        schema: usize,
    },
    Contains {
        schema: usize,
        min: u64,
        max: u64,
    },
    ItemCount {
        min: u64,
        max: u64,
    },
    Unique,
    Length {
        min: u64,
        max: u64,
    },
    Pattern(Regex),
    Minimum(f64),
    Maximum(f64),
    ExclusiveMinimum(f64),
    ExclusiveMaximum(f64),
    MultipleOf(f64),
    All(Vec<usize>),
    Any(Vec<usize>),
    One(Vec<usize>),
    Not(usize),
    If {
        condition: usize,
        then: Option<usize>,
        otherwise: Option<usize>,
    },
    Reference(usize),
}

impl Schema {
    /// Reads a schema.
    ///
    /// # Errors
    /// When it is none, has a keyword that is not known, or refers to what is not in it.
    pub fn read(schema: &Json) -> Result<Self, SchemaError> {
        let mut reader = Reader { document: schema, nodes: Vec::new(), known: BTreeMap::new() };
        let root = reader.node(schema, String::new())?;
        Ok(Self { nodes: reader.nodes, root })
    }

    /// Whether a value is as the schema says. What stands deeper than can be followed is not.
    #[must_use]
    pub fn is_valid(&self, value: &Json) -> bool {
        self.holds(self.root, value, 0)
    }

    fn holds(&self, node: usize, value: &Json, depth: usize) -> bool {
        let Some(node) = self.nodes.get(node).filter(|node| !node.never && depth < DEPTH_MAX) else { return false };
        node.rules.iter().all(|rule| self.rule_holds(rule, value, depth + 1))
    }

    fn rule_holds(&self, rule: &Rule, value: &Json, depth: usize) -> bool {
        let holds = |node: usize, value: &Json| self.holds(node, value, depth);
        let count = |number: usize| u64::try_from(number).unwrap_or(u64::MAX);
        let number = |holds: &dyn Fn(f64) -> bool| value.as_f64().is_none_or(holds);
        match rule {
            Rule::Type(types) => types.iter().any(|name| is_of_type(value, name)),
            Rule::Enum(values) => values.iter().any(|one| equal(one, value)),
            Rule::Properties(properties) => value.as_object().is_none_or(|object| {
                object.iter().all(|(key, value)| properties.get(key).is_none_or(|node| holds(*node, value)))
            }),
            Rule::Additional { known, patterns, schema } => value.as_object().is_none_or(|object| {
                let is_other = |key: &str| !known.iter().any(|one| one == key) && !patterns.iter().any(|one| one.is_match(key));
                object.iter().all(|(key, value)| !is_other(key) || holds(*schema, value))
            }),
            Rule::PatternProperties(patterns) => value.as_object().is_none_or(|object| {
                object
                    .iter()
                    .all(|(key, value)| patterns.iter().all(|(pattern, node)| !pattern.is_match(key) || holds(*node, value)))
            }),
            Rule::PropertyNames(node) => {
                value.as_object().is_none_or(|object| object.keys().all(|key| holds(*node, &Json::String(key.clone()))))
            }
            Rule::Required(names) => value.as_object().is_none_or(|object| names.iter().all(|name| object.contains_key(name))),
            Rule::PropertyCount { min, max } => {
                value.as_object().is_none_or(|object| (*min..=*max).contains(&count(object.len())))
            }
            Rule::Prefix(nodes) => {
                value.as_array().is_none_or(|list| list.iter().zip(nodes).all(|(value, node)| holds(*node, value)))
            }
            Rule::Items { from, schema } => {
                value.as_array().is_none_or(|list| list.iter().skip(*from).all(|value| holds(*schema, value)))
            }
            Rule::Contains { schema, min, max } => value
                .as_array()
                .is_none_or(|list| (*min..=*max).contains(&count(list.iter().filter(|value| holds(*schema, value)).count()))),
            Rule::ItemCount { min, max } => value.as_array().is_none_or(|list| (*min..=*max).contains(&count(list.len()))),
            Rule::Unique => value.as_array().is_none_or(|list| {
                list.iter().enumerate().all(|(index, one)| !list.iter().take(index).any(|other| equal(one, other)))
            }),
            Rule::Length { min, max } => value.as_str().is_none_or(|text| (*min..=*max).contains(&count(text.chars().count()))),
            Rule::Pattern(pattern) => value.as_str().is_none_or(|text| pattern.is_match(text)),
            Rule::Minimum(limit) => number(&|value| value >= *limit),
            Rule::Maximum(limit) => number(&|value| value <= *limit),
            Rule::ExclusiveMinimum(limit) => number(&|value| value > *limit),
            Rule::ExclusiveMaximum(limit) => number(&|value| value < *limit),
            Rule::MultipleOf(of) => number(&|value| {
                let times = value / of;
                (times - times.round()).abs() <= 1e-9 * times.abs().max(1.0)
            }),
            Rule::All(nodes) => nodes.iter().all(|node| holds(*node, value)),
            Rule::Any(nodes) => nodes.iter().any(|node| holds(*node, value)),
            Rule::One(nodes) => nodes.iter().filter(|node| holds(**node, value)).count() == 1,
            Rule::Not(node) => !holds(*node, value),
            Rule::If { condition, then, otherwise } => {
                let branch = if holds(*condition, value) { then } else { otherwise };
                branch.is_none_or(|node| holds(node, value))
            }
            Rule::Reference(node) => holds(*node, value),
        }
    }
}

fn is_of_type(value: &Json, name: &str) -> bool {
    match value {
        Json::Null => name == "null",
        Json::Bool(_) => name == "boolean",
        Json::Number(number) => {
            name == "number"
                || (name == "integer"
                    && (number.is_i64() || number.is_u64() || number.as_f64().is_some_and(|value| value.fract() == 0.0)))
        }
        Json::String(_) => name == "string",
        Json::Array(_) => name == "array",
        Json::Object(_) => name == "object",
    }
}

/// Equal as JSON Schema has it: 1 and 1.0 are one number.
fn equal(a: &Json, b: &Json) -> bool {
    match (a, b) {
        (Json::Number(a), Json::Number(b)) => a == b || a.as_f64() == b.as_f64(),
        (Json::Array(a), Json::Array(b)) => a.len() == b.len() && a.iter().zip(b).all(|(a, b)| equal(a, b)),
        (Json::Object(a), Json::Object(b)) => {
            a.len() == b.len() && a.iter().all(|(key, a)| b.get(key).is_some_and(|b| equal(a, b)))
        }
        _ => a == b,
    }
}

struct Reader<'a> {
    document: &'a Json,
    nodes: Vec<Node>,
    /// Schemas that are read, or being read, by where they stand.
    known: BTreeMap<String, usize>,
}

impl<'a> Reader<'a> {
    fn node(&mut self, schema: &'a Json, at: String) -> Result<usize, SchemaError> {
        if let Some(known) = self.known.get(&at) {
            return Ok(*known);
        }
        let wrong = |what: &str| SchemaError { at: at.clone(), what: what.to_owned() };
        if self.nodes.len() >= NODES_MAX || at.len() > 8 * 1024 {
            return Err(wrong("has more schemas in it than are taken"));
        }
        let place = self.nodes.len();
        self.nodes.push(Node::default());
        self.known.insert(at.clone(), place);
        match schema {
            Json::Bool(holds) => self.nodes[place].never = !holds,
            Json::Object(object) => {
                let rules = self.rules(object, &at)?;
                self.nodes[place].rules = rules;
            }
            _ => return Err(wrong("an object or a boolean is needed")),
        }
        Ok(place)
    }

    fn rules(&mut self, object: &'a Map<String, Json>, at: &str) -> Result<Vec<Rule>, SchemaError> {
        let mut rules = Vec::new();
        let wrong = |key: &str, what: &str| SchemaError { at: format!("{at}/{key}"), what: what.to_owned() };
        for (key, value) in object {
            let below = format!("{at}/{}", escape(key));
            let number = || value.as_f64().ok_or_else(|| wrong(key, "a number is needed"));
            match key.as_str() {
                key if ANNOTATIONS.contains(&key) => {}
                "$defs" | "definitions" => {
                    let definitions = value.as_object().ok_or_else(|| wrong(key, "an object is needed"))?;
                    for (name, schema) in definitions {
                        self.node(schema, format!("{below}/{}", escape(name)))?;
                    }
                }
                "type" => {
                    let names = words(value).ok_or_else(|| wrong(key, "a type, or a list of them, is needed"))?;
                    let known = ["null", "boolean", "integer", "number", "string", "array", "object"];
                    if let Some(name) = names.iter().find(|name| !known.contains(&name.as_str())) {
                        return Err(wrong(key, &format!("{name:?} is no type")));
                    }
                    rules.push(Rule::Type(names));
                }
                "enum" => rules.push(Rule::Enum(value.as_array().ok_or_else(|| wrong(key, "a list is needed"))?.clone())),
                "const" => rules.push(Rule::Enum(vec![value.clone()])),
                "properties" => rules.push(Rule::Properties(self.named(value, &below)?.into_iter().collect())),
                "patternProperties" => {
                    let named = self.named(value, &below)?;
                    let compiled = named.into_iter().map(|(name, node)| Ok((pattern(&name, &below)?, node)));
                    rules.push(Rule::PatternProperties(compiled.collect::<Result<_, SchemaError>>()?));
                }
                "additionalProperties" => {
                    let keys = |key: &str| object.get(key).and_then(Json::as_object).into_iter().flat_map(Map::keys);
                    let known = keys("properties").cloned().collect();
                    let patterns = keys("patternProperties").map(|name| pattern(name, at)).collect::<Result<_, _>>()?;
                    rules.push(Rule::Additional { known, patterns, schema: self.node(value, below)? });
                }
                "propertyNames" => rules.push(Rule::PropertyNames(self.node(value, below)?)),
                "required" => {
                    let names = value.as_array().and_then(|_| words(value));
                    rules.push(Rule::Required(names.ok_or_else(|| wrong(key, "a list of names is needed"))?));
                }
                "minProperties" => rules.push(Rule::PropertyCount { min: whole(value, &below)?, max: u64::MAX }),
                "maxProperties" => rules.push(Rule::PropertyCount { min: 0, max: whole(value, &below)? }),
                "prefixItems" => rules.push(Rule::Prefix(self.list(value, &below)?)),
                "items" => {
                    let from = object.get("prefixItems").and_then(Json::as_array).map_or(0, Vec::len);
                    rules.push(Rule::Items { from, schema: self.node(value, below)? });
                }
                "contains" => {
                    let bound = |name: &str, or: u64| object.get(name).map_or(Ok(or), |value| whole(value, &below));
                    let (min, max) = (bound("minContains", 1)?, bound("maxContains", u64::MAX)?);
                    rules.push(Rule::Contains { schema: self.node(value, below.clone())?, min, max });
                }
                "minContains" | "maxContains" if object.contains_key("contains") => {}
                "minItems" => rules.push(Rule::ItemCount { min: whole(value, &below)?, max: u64::MAX }),
                "maxItems" => rules.push(Rule::ItemCount { min: 0, max: whole(value, &below)? }),
                "uniqueItems" => {
                    if value.as_bool().ok_or_else(|| wrong(key, "true or false is needed"))? {
                        rules.push(Rule::Unique);
                    }
                }
                "minLength" => rules.push(Rule::Length { min: whole(value, &below)?, max: u64::MAX }),
                "maxLength" => rules.push(Rule::Length { min: 0, max: whole(value, &below)? }),
                "pattern" => {
                    let text = value.as_str().ok_or_else(|| wrong(key, "a text is needed"))?;
                    rules.push(Rule::Pattern(pattern(text, at)?));
                }
                "minimum" => rules.push(Rule::Minimum(number()?)),
                "maximum" => rules.push(Rule::Maximum(number()?)),
                "exclusiveMinimum" => rules.push(Rule::ExclusiveMinimum(number()?)),
                "exclusiveMaximum" => rules.push(Rule::ExclusiveMaximum(number()?)),
                "multipleOf" => match number()? {
                    of if of > 0.0 => rules.push(Rule::MultipleOf(of)),
                    _ => return Err(wrong(key, "a number above 0 is needed")),
                },
                "allOf" => rules.push(Rule::All(self.list(value, &below)?)),
                "anyOf" => rules.push(Rule::Any(self.list(value, &below)?)),
                "oneOf" => rules.push(Rule::One(self.list(value, &below)?)),
                "not" => rules.push(Rule::Not(self.node(value, below)?)),
                "if" => {
                    let mut branch = |name: &str| object.get(name).map(|one| self.node(one, format!("{at}/{name}"))).transpose();
                    let (then, otherwise) = (branch("then")?, branch("else")?);
                    rules.push(Rule::If { condition: self.node(value, below)?, then, otherwise });
                }
                "then" | "else" if object.contains_key("if") => {}
                "$ref" => {
                    let to = value.as_str().and_then(|to| to.strip_prefix('#'));
                    let to = to.ok_or_else(|| wrong(key, "only references within the schema are followed, as #/$defs/NAME"))?;
                    let target = if to.is_empty() { Some(self.document) } else { self.document.pointer(to) };
                    let target = target.ok_or_else(|| wrong(key, "leads to nothing"))?;
                    rules.push(Rule::Reference(self.node(target, to.to_owned())?));
                }
                _ => return Err(wrong(key, "is a keyword that is not supported: a check that is not made would pass for one")),
            }
        }
        Ok(rules)
    }

    fn named(&mut self, value: &'a Json, at: &str) -> Result<Vec<(String, usize)>, SchemaError> {
        let object =
            value.as_object().ok_or_else(|| SchemaError { at: at.to_owned(), what: "an object is needed".to_owned() })?;
        object.iter().map(|(name, schema)| Ok((name.clone(), self.node(schema, format!("{at}/{}", escape(name)))?))).collect()
    }

    fn list(&mut self, value: &'a Json, at: &str) -> Result<Vec<usize>, SchemaError> {
        let list = value.as_array().filter(|list| !list.is_empty());
        let list =
            list.ok_or_else(|| SchemaError { at: at.to_owned(), what: "a list that is not empty is needed".to_owned() })?;
        list.iter().enumerate().map(|(index, schema)| self.node(schema, format!("{at}/{index}"))).collect()
    }
}

fn words(value: &Json) -> Option<Vec<String>> {
    match value {
        Json::String(word) => Some(vec![word.clone()]),
        Json::Array(list) => list.iter().map(|word| word.as_str().map(str::to_owned)).collect(),
        _ => None,
    }
}

fn whole(value: &Json, at: &str) -> Result<u64, SchemaError> {
    value.as_u64().ok_or_else(|| SchemaError { at: at.to_owned(), what: "a whole number of 0 or more is needed".to_owned() })
}

fn pattern(text: &str, at: &str) -> Result<Regex, SchemaError> {
    let compiled = RegexBuilder::new(text).size_limit(REGEX_BYTES_MAX).dfa_size_limit(REGEX_BYTES_MAX).build();
    compiled.map_err(|error| SchemaError { at: at.to_owned(), what: format!("pattern {text:?}: {error}") })
}

/// A key as a JSON pointer writes it.
fn escape(key: &str) -> String {
    key.replace('~', "~0").replace('/', "~1")
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn values_are_held_against_schemas() {
        let person = json!({
            "type": "object", "properties": {"name": {"type": "string", "minLength": 1}, "age": {"type": ["integer", "null"], "minimum": 0}},
            "required": ["name"], "additionalProperties": false
        });
        let tree = json!({"$defs": {"node": {"type": "object", "properties": {"next": {"anyOf": [{"$ref": "#/$defs/node"}, {"type": "null"}]}},
            "required": ["next"]}}, "$ref": "#/$defs/node"});
        for (schema, value, holds) in [
            (&person, json!({"name": "Jo", "age": 4}), true),
            (&person, json!({"name": "Jo", "age": 4.0}), true),
            (&person, json!({"name": "", "age": 4}), false),
            (&person, json!({"name": "Jo", "age": -1}), false),
            (&person, json!({"age": 4}), false),
            (&person, json!({"name": "Jo", "shoe": 4}), false),
            (&tree, json!({"next": {"next": {"next": null}}}), true),
            (&tree, json!({"next": {"next": 5}}), false),
            (&json!({"enum": [1, "a"]}), json!(1.0), true),
            (&json!({"const": {"a": [1]}}), json!({"a": [2]}), false),
            (&json!({"prefixItems": [{"type": "string"}], "items": {"type": "number"}}), json!(["a", 1, 2]), true),
            (&json!({"prefixItems": [{"type": "string"}], "items": false}), json!(["a", 1]), false),
            (&json!({"type": "array", "uniqueItems": true}), json!([1, 2, 1.0]), false),
            (&json!({"contains": {"type": "number"}, "minContains": 2}), json!([1, "a"]), false),
            (&json!({"oneOf": [{"multipleOf": 3}, {"multipleOf": 5}]}), json!(15), false),
            (&json!({"multipleOf": 0.01}), json!(19.99), true),
            (&json!({"not": {"type": "string"}}), json!("a"), false),
            (
                &json!({"if": {"properties": {"a": {"const": 1}}, "required": ["a"]}, "then": {"required": ["b"]}}),
                json!({"a": 1}),
                false,
            ),
            (&json!({"patternProperties": {"^x": {"type": "number"}}, "additionalProperties": false}), json!({"x1": 2}), true),
            (&json!({"patternProperties": {"^x": {"type": "number"}}, "additionalProperties": false}), json!({"y": 2}), false),
            (&json!({"pattern": "^[a-z]+$", "maxLength": 3}), json!("äb"), false),
            (&json!(false), json!(1), false),
            (&json!(true), json!(1), true),
        ] {
            assert_eq!(Schema::read(schema).unwrap().is_valid(&value), holds, "{schema} {value}");
        }
    }

    #[test]
    fn what_is_not_understood_is_refused_and_named() {
        for (schema, named) in [
            (json!({"unevaluatedProperties": false}), "/unevaluatedProperties"),
            (json!({"properties": {"a": {"type": "text"}}}), "/properties/a/type"),
            (json!({"$ref": "http://example.org/schema"}), "/$ref"),
            (json!({"$ref": "#/$defs/nothing"}), "leads to nothing"),
            (json!({"pattern": "(?=x)"}), "pattern"),
            (json!([]), "an object or a boolean"),
            (json!({"minLength": -1}), "/minLength"),
        ] {
            let error = Schema::read(&schema).unwrap_err().to_string();
            assert!(error.contains(named), "{schema}: {error}");
        }
    }

    #[test]
    fn a_schema_that_refers_to_itself_ends() {
        let schema =
            Schema::read(&json!({"$defs": {"a": {"$ref": "#/$defs/b"}, "b": {"$ref": "#/$defs/a"}}, "$ref": "#/$defs/a"}))
                .unwrap();
        assert!(!schema.is_valid(&json!(1)));
    }
}
