//! NOVA's conditions in the words of signatures.

use std::collections::BTreeMap;

use inspect::format::SignaturePattern;

use super::parse::Rule;

/// Deepest nesting of parentheses and `not`.
const DEPTH_MAX: usize = 24;

/// What a condition of a signature calls a keyword.
pub(super) fn name_of(variable: &str) -> String {
    match variable {
        "and" | "or" | "not" | "of" | "any" | "all" | "them" => format!("{variable}_"),
        _ => variable.to_owned(),
    }
}

/// The condition of a rule over the keywords that were taken; `None` where each of them is enough. `lost` are those that were not.
pub(super) fn translate(
    rule: &Rule,
    lost: &[String],
    taken: &BTreeMap<String, SignaturePattern>,
) -> Result<Option<String>, String> {
    let tokens = tokens(&rule.condition)?;
    let mut parser = Parser { tokens: &tokens, at: 0, rule, lost };
    let node = parser.any(0)?;
    if parser.at < tokens.len() {
        return Err(format!("its condition has {:?} where `and`, `or` or the end should be", tokens[parser.at]));
    }
    match node.simple(true)? {
        Node::False => Err("it cannot fire by keywords that can be taken alone".to_owned()),
        Node::Of(1, names) if names.len() == taken.len() => Ok(None),
        node => Ok(Some(node.text(false))),
    }
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Node {
    /// What asks a model, or a keyword that could not be taken.
    False,
    /// So many of these keywords.
    Of(usize, Vec<String>),
    Not(Box<Node>),
    All(Vec<Node>),
    Any(Vec<Node>),
}

impl Node {
    /// Without what is never true. That is an error below a `not`: the rule would fire where its author excluded it.
    fn simple(self, is_asked_for: bool) -> Result<Self, String> {
        Ok(match self {
            Self::False if !is_asked_for => {
                return Err("what keeps it from firing asks a model, or cannot be taken".to_owned());
            }
            Self::False | Self::Of(..) => self,
            Self::Not(node) => Self::Not(Box::new(node.simple(!is_asked_for)?)),
            Self::All(nodes) => {
                let nodes = nodes.into_iter().map(|node| node.simple(is_asked_for)).collect::<Result<Vec<_>, _>>()?;
                if nodes.contains(&Self::False) { Self::False } else { Self::All(nodes) }
            }
            Self::Any(nodes) => {
                let mut nodes = nodes.into_iter().map(|node| node.simple(is_asked_for)).collect::<Result<Vec<_>, _>>()?;
                nodes.retain(|node| *node != Self::False);
                match nodes.len() {
                    0 => Self::False,
                    1 => nodes.remove(0),
                    _ => Self::Any(nodes),
                }
            }
        })
    }

    fn text(&self, inner: bool) -> String {
        let joined = |nodes: &[Self], word: &str| {
            let text = nodes.iter().map(|node| node.text(true)).collect::<Vec<_>>().join(word);
            if inner { format!("({text})") } else { text }
        };
        match self {
            Self::False => String::new(),
            Self::Of(_, names) if names.len() == 1 => name_of(&names[0]),
            Self::Of(count, names) => {
                let names = names.iter().map(|name| name_of(name)).collect::<Vec<_>>().join(", ");
                format!("{count} of ({names})")
            }
            Self::Not(node) => format!("not {}", node.text(true)),
            Self::All(nodes) => joined(nodes, " and "),
            Self::Any(nodes) => joined(nodes, " or "),
        }
    }
}

fn tokens(text: &str) -> Result<Vec<&str>, String> {
    let mut tokens = Vec::new();
    let mut rest = text.trim_start();
    while let Some(first) = rest.chars().next() {
        let length = match first {
            '(' | ')' | ',' => 1,
            _ => rest
                .find(|one: char| !(one.is_ascii_alphanumeric() || matches!(one, '_' | '*' | '$' | '.')))
                .unwrap_or(rest.len()),
        };
        if length == 0 {
            return Err(format!("its condition has {first:?}"));
        }
        tokens.push(&rest[..length]);
        rest = rest[length..].trim_start();
    }
    Ok(tokens)
}

struct Parser<'p> {
    tokens: &'p [&'p str],
    at: usize,
    rule: &'p Rule,
    lost: &'p [String],
}

impl<'p> Parser<'p> {
    fn peek(&self) -> Option<&'p str> {
        self.tokens.get(self.at).copied()
    }

    fn take(&mut self, word: &str) -> bool {
        let is_there = self.peek().is_some_and(|token| token.eq_ignore_ascii_case(word));
        self.at += usize::from(is_there);
        is_there
    }

    fn next(&mut self) -> Result<&'p str, String> {
        let token = self.peek().ok_or("its condition ends too early")?;
        self.at += 1;
        Ok(token)
    }

    fn any(&mut self, depth: usize) -> Result<Node, String> {
        let mut nodes = vec![self.all(depth)?];
        while self.take("or") {
            nodes.push(self.all(depth)?);
        }
        Ok(if nodes.len() == 1 { nodes.remove(0) } else { Node::Any(nodes) })
    }

    fn all(&mut self, depth: usize) -> Result<Node, String> {
        let mut nodes = vec![self.one(depth)?];
        while self.take("and") {
            nodes.push(self.one(depth)?);
        }
        Ok(if nodes.len() == 1 { nodes.remove(0) } else { Node::All(nodes) })
    }

    fn one(&mut self, depth: usize) -> Result<Node, String> {
        if depth > DEPTH_MAX {
            return Err(format!("its condition is nested deeper than {DEPTH_MAX}"));
        }
        if self.take("not") {
            return Ok(Node::Not(Box::new(self.one(depth + 1)?)));
        }
        if self.take("(") {
            let node = self.any(depth + 1)?;
            return if self.take(")") { Ok(node) } else { Err("its condition has a parenthesis that is not closed".to_owned()) };
        }
        let word = self.next()?;
        if !self.take("of") {
            return self.some(1, &[word]);
        }
        let mut of = Vec::new();
        if self.take("(") {
            loop {
                of.push(self.next()?);
                if self.take(")") {
                    break;
                }
                if !self.take(",") {
                    return Err("its condition has a group without commas".to_owned());
                }
            }
        } else {
            of.push(self.next()?);
        }
        match word.to_ascii_lowercase().as_str() {
            "any" => self.some(1, &of),
            "all" => self.every(&of),
            number => match number.parse() {
                Ok(0) => Err("its condition asks for 0 of something".to_owned()),
                Ok(count) => self.some(count, &of),
                Err(_) => Err(format!("its condition has {number:?} before `of`")),
            },
        }
    }

    fn some(&self, count: usize, of: &[&str]) -> Result<Node, String> {
        let (taken, _) = self.named(of)?;
        Ok(if taken.len() < count { Node::False } else { Node::Of(count, taken) })
    }

    fn every(&self, of: &[&str]) -> Result<Node, String> {
        let (taken, others) = self.named(of)?;
        Ok(if others || taken.is_empty() { Node::False } else { Node::Of(taken.len(), taken) })
    }

    /// The keywords that were taken among those that are named, and whether there are others.
    fn named(&self, of: &[&str]) -> Result<(Vec<String>, bool), String> {
        let (mut taken, mut others) = (Vec::new(), false);
        for word in of {
            let (section, name) = match word.split_once('.') {
                Some((section, name)) => (section, name),
                None if word.starts_with('$') => ("", *word),
                None => (*word, "*"),
            };
            let (name, is_prefix) = match name.strip_suffix('*') {
                Some(prefix) => (prefix, true),
                None => (name, false),
            };
            let name = name.strip_prefix('$').unwrap_or(name);
            let is_named = |variable: &&String| if is_prefix { variable.starts_with(name) } else { *variable == name };
            let in_section = |of: &str| section.is_empty() || section.eq_ignore_ascii_case(of);
            if !["", "keywords", "semantics", "llm"].iter().any(|known| section.eq_ignore_ascii_case(known)) {
                return Err(format!("its condition names {word:?}"));
            }
            let mut any = false;
            if in_section("keywords") {
                for variable in self.rule.keywords.keys().filter(is_named) {
                    any = true;
                    if self.lost.contains(variable) {
                        others = true;
                    } else if !taken.contains(variable) {
                        taken.push(variable.clone());
                    }
                }
            }
            for (of, variables) in [("semantics", &self.rule.semantics), ("llm", &self.rule.llm)] {
                if in_section(of) && variables.iter().any(|variable| is_named(&variable)) {
                    (any, others) = (true, true);
                }
            }
            // NOVA takes a name that there is not for one that never matches.
            others |= !any;
        }
        Ok((taken, others))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn condition(text: &str) -> Result<Option<String>, String> {
        let names = ["a1", "a2", "b"];
        let keyword =
            |name: &&str| (name.to_string(), super::super::Keyword { text: "x".to_owned(), is_regex: false, cased: false });
        let rule = Rule {
            keywords: names.iter().chain(&["gone"]).map(keyword).collect(),
            semantics: ["s".to_owned()].into(),
            llm: ["l".to_owned()].into(),
            condition: text.to_owned(),
            ..Rule::default()
        };
        let taken = names.iter().map(|name| (name.to_string(), SignaturePattern::default())).collect();
        translate(&rule, &["gone".to_owned()], &taken)
    }

    #[test]
    fn conditions_become_ours() {
        for (given, made) in [
            ("any of keywords.*", None),
            ("keywords.* or semantics.$s", None),
            ("any of keywords or llm.$l", None),
            ("2 of keywords.*", Some("2 of (a1, a2, b)")),
            ("keywords.$a1 AND NOT $b", Some("a1 and not b")),
            ("(keywords.$a* or $gone) and ($b or semantics.*)", Some("1 of (a1, a2) and b")),
            ("any of ($a*)", Some("1 of (a1, a2)")),
            ("all of keywords.$a*", Some("2 of (a1, a2)")),
            ("$a1 or ($a2 and $b)", Some("a1 or (a2 and b)")),
        ] {
            assert_eq!(condition(given), Ok(made.map(str::to_owned)), "{given}");
        }
    }

    #[test]
    fn what_needs_a_model_is_refused() {
        for given in
            ["semantics.$s", "keywords.* and llm.$l", "all of keywords.*", "9 of keywords.*", "$b and not llm.$l", "$gone"]
        {
            assert!(condition(given).is_err(), "{given}");
        }
        for (given, told) in [("things.$a", "things"), ("$a1 $b", "should be"), ("($a1", "not closed"), ("$a1 &", "'&'")] {
            let error = condition(given).unwrap_err();
            assert!(error.contains(told), "{given}: {error}");
        }
        assert!(condition(&"(".repeat(99)).unwrap_err().contains("deeper"));
    }
}
