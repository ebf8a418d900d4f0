//! NOVA's form, line by line, as its own parser reads it.

use std::collections::{BTreeMap, BTreeSet};

/// Most keywords, semantics or questions of a rule.
const VARIABLES_MAX: usize = 1_000;
/// Longest condition, in bytes.
const CONDITION_BYTES_MAX: usize = 16 * 1024;

/// A rule.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Rule {
    pub(super) meta: BTreeMap<String, String>,
    /// By name, without the dollar.
    pub(super) keywords: BTreeMap<String, Keyword>,
    pub(super) semantics: BTreeSet<String>,
    pub(super) llm: BTreeSet<String>,
    pub(super) condition: String,
}

#[derive(Debug, PartialEq, Eq)]
pub(super) struct Keyword {
    pub(super) text: String,
    pub(super) is_regex: bool,
    /// Whether capitals count: in a regex without `/i`, and where `case:true` says so.
    pub(super) cased: bool,
}

/// The rules of a file, each by its name, or what is wrong with it.
pub(super) fn rules(text: &str) -> Vec<(String, Result<Rule, String>)> {
    let mut rules = Vec::new();
    let mut lines = text.lines().map(str::trim).filter(|line| !line.is_empty() && !is_comment(line)).peekable();
    while let Some(line) = lines.next() {
        let Some(name) = head(line) else { continue };
        let mut body = Vec::new();
        while let Some(line) = lines.next_if(|line| head(line).is_none()) {
            body.push(line);
        }
        rules.push((name.to_owned(), rule(&body)));
    }
    rules
}

fn is_comment(line: &str) -> bool {
    line.starts_with("//") || line.starts_with('#')
}

/// The name of the rule that a line begins: `rule NAME` and perhaps a brace.
fn head(line: &str) -> Option<&str> {
    let rest = line.strip_prefix("rule")?;
    let name = rest.trim_end().strip_suffix('{').unwrap_or(rest).trim();
    let is_name = !name.is_empty() && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_');
    (is_name && rest.starts_with(char::is_whitespace)).then_some(name)
}

fn rule(lines: &[&str]) -> Result<Rule, String> {
    let mut rule = Rule::default();
    let mut section = "";
    for (at, line) in lines.iter().enumerate() {
        match *line {
            "{" => continue,
            "}" => break,
            line if line.ends_with(':') && line[..line.len() - 1].trim().bytes().all(|byte| byte.is_ascii_alphabetic()) => {
                section = line[..line.len() - 1].trim();
                let known = ["meta", "keywords", "semantics", "llm", "condition"];
                if !known.iter().any(|name| section.eq_ignore_ascii_case(name)) {
                    return Err(format!("the section {section:?} is none that is known"));
                }
                continue;
            }
            _ => {}
        }
        match section.to_ascii_lowercase().as_str() {
            "condition" => {
                // A brace at the end of the last line closes the rule.
                let is_last = lines[at + 1..].iter().all(|line| *line == "}");
                let line = if is_last { line.strip_suffix('}').unwrap_or(line) } else { line };
                rule.condition.push(' ');
                rule.condition.push_str(line.trim());
                if rule.condition.len() > CONDITION_BYTES_MAX {
                    return Err(format!("its condition is longer than {CONDITION_BYTES_MAX} bytes"));
                }
            }
            "meta" => {
                if let Some((name, value)) = line.split_once('=') {
                    rule.meta.insert(name.trim().to_owned(), unquoted(value.trim()).unwrap_or(value.trim()).to_owned());
                }
            }
            "keywords" => {
                let (name, value) = variable(line)?;
                let keyword = keyword(value).ok_or_else(|| format!("the keyword ${name} is neither quoted nor a regex"))?;
                if rule.keywords.insert(name.clone(), keyword).is_some() {
                    return Err(format!("two keywords are called ${name}"));
                }
            }
            "semantics" => drop(rule.semantics.insert(variable(line)?.0)),
            "llm" => drop(rule.llm.insert(variable(line)?.0)),
            _ => return Err(format!("the line {:?} is in no section", line.chars().take(40).collect::<String>())),
        }
        if [rule.keywords.len(), rule.semantics.len(), rule.llm.len(), rule.meta.len()].iter().any(|&count| count > VARIABLES_MAX)
        {
            return Err(format!("it has over {VARIABLES_MAX} lines of one kind"));
        }
    }
    if rule.condition.trim().is_empty() { Err("it has no condition".to_owned()) } else { Ok(rule) }
}

/// `$name = value`: the name and the value.
fn variable(line: &str) -> Result<(String, &str), String> {
    let (name, value) = line.split_once('=').ok_or_else(|| "a variable without a value".to_owned())?;
    let name = name.trim().strip_prefix('$').unwrap_or_default();
    if name.is_empty() || !name.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_') {
        return Err("a name that is not `$` with letters, digits and _".to_owned());
    }
    Ok((name.to_owned(), value.trim()))
}

fn keyword(value: &str) -> Option<Keyword> {
    const CASED: &str = "case:true";
    if let Some(regex) = value.strip_prefix('/') {
        let (regex, flagged) = match regex.strip_suffix('i').and_then(|regex| regex.strip_suffix('/')) {
            Some(regex) => (regex, true),
            None => (regex.strip_suffix('/')?, false),
        };
        return Some(Keyword { text: regex.to_owned(), is_regex: true, cased: !flagged })
            .filter(|keyword| !keyword.text.is_empty());
    }
    let (text, cased) = match value.strip_suffix(CASED) {
        Some(text) => (text.trim_end(), true),
        None => (value, false),
    };
    let text = unquoted(text)?;
    // NOVA's own parser finds it within the quotes.
    let (text, cased) = match text.split_once(CASED) {
        Some((text, _)) => (text.trim(), true),
        None => (text, cased),
    };
    (!text.trim().is_empty()).then(|| Keyword { text: text.to_owned(), is_regex: false, cased })
}

fn unquoted(text: &str) -> Option<&str> {
    let inner = |mark: char| text.strip_prefix(mark).and_then(|text| text.strip_suffix(mark));
    inner('"').or_else(|| inner('\''))
}

#[cfg(test)]
mod tests {
    use super::*;

    const FILE: &str = r#"
// A comment
rule First
{
    meta:
        description = "Asks for secrets"
        severity = "high"
    keywords:
        $a = "open the vault"
        $b = /combination\s+of/i
        $c = /Vault[0-9]/
        $d = "VAULT" case:true
    semantics:
        $s = "asking for a (secret) code" (0.4)
    llm:
        $l = "Is this about a vault?" (0.7)
    condition:
        any of keywords.* or
        semantics.$s
}
rule Second {
    keywords:
        $a = 'x y'
    condition:
        keywords.$a }
rule Third
{
    keywords:
        a = "x"
    condition:
        $a
}
"#;

    #[test]
    fn rules_are_read_and_a_wrong_one_does_not_take_the_others_with_it() {
        let rules = rules(FILE);
        assert_eq!(rules.iter().map(|(name, _)| name.as_str()).collect::<Vec<_>>(), ["First", "Second", "Third"]);
        let first = rules[0].1.as_ref().unwrap();
        let keyword = |name: &str| {
            let keyword = &first.keywords[name];
            (keyword.text.as_str(), keyword.is_regex, keyword.cased)
        };
        assert_eq!(keyword("a"), ("open the vault", false, false));
        assert_eq!(keyword("b"), (r"combination\s+of", true, false));
        assert_eq!(keyword("c"), ("Vault[0-9]", true, true));
        assert_eq!(keyword("d"), ("VAULT", false, true));
        assert_eq!((first.meta["severity"].as_str(), first.semantics.len(), first.llm.len()), ("high", 1, 1));
        assert_eq!(first.condition.trim(), "any of keywords.* or semantics.$s");
        let second = rules[1].1.as_ref().unwrap();
        assert_eq!((second.keywords["a"].text.as_str(), second.condition.trim()), ("x y", "keywords.$a"));
        assert!(rules[2].1.as_ref().unwrap_err().contains("name"));
    }

    proptest::proptest! {
        #[test]
        fn any_text_is_read(text in "(rule A\n|\\{|\\}|keywords:\n|condition:|meta:|\\$a = \"|/|\"|\n|any of|[\\PC]){0,40}") {
            rules(&text);
        }
    }
}
