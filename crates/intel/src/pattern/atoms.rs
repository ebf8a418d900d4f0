//! A pattern as values that can be looked up.
//!
//! What is matched while traffic comes in is matched by looking up each of its values once, whatever number of indicators there is. That
//! can be done with a pattern of which one value alone decides: comparisons with `=`, `IN` and `ISSUBSET`, joined by `OR`. Of
//! anything else it is said why it cannot.

use super::{Compared, Literal, Observed, Operator, Pattern, Step, Test};

/// A value of which an occurrence makes the pattern match.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Atom {
    /// The path of STIX, as in `domain-name:value`; keys of hashes are in capitals.
    pub path: String,
    /// The value.
    pub value: String,
}

/// The values of a pattern, and what of it they leave out.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Atoms {
    /// Each of them makes the pattern match.
    pub atoms: Vec<Atom>,
    /// Why another part of the pattern is not among them, once for each reason.
    pub left_out: Vec<&'static str>,
}

impl Pattern {
    /// The values of which each one makes the pattern match.
    #[must_use]
    pub fn atoms(&self) -> Atoms {
        let mut atoms = Atoms::default();
        atoms.observed(&self.root);
        atoms
    }
}

impl Atoms {
    fn leave_out(&mut self, reason: &'static str) {
        if !self.left_out.contains(&reason) {
            self.left_out.push(reason);
        }
    }

    fn observed(&mut self, observed: &Observed) {
        match observed {
            Observed::One(compared) => self.compared(compared),
            Observed::Or(left, right) => {
                self.observed(left);
                self.observed(right);
            }
            // Once is at least once, however long the window.
            Observed::Within(of, _) | Observed::Repeats(of, 1) => self.observed(of),
            Observed::And(..) | Observed::FollowedBy(..) | Observed::Repeats(..) => {
                self.leave_out("needs several observations (AND, FOLLOWEDBY, REPEATS between them)");
            }
            Observed::Between(..) => self.leave_out("holds between two times alone (START, STOP)"),
        }
    }

    fn compared(&mut self, compared: &Compared) {
        match compared {
            Compared::Or(left, right) => {
                self.compared(left);
                self.compared(right);
            }
            Compared::And(left, right) => {
                // Several hashes of one file are one file: any of them names it.
                let mut both = Self::default();
                both.compared(left);
                both.compared(right);
                let is_of_file = |atom: &Atom| atom.path.starts_with("file:hashes.");
                if both.left_out.is_empty() && !both.atoms.is_empty() && both.atoms.iter().all(is_of_file) {
                    self.atoms.append(&mut both.atoms);
                } else {
                    self.leave_out("needs several properties of one object (AND within brackets)");
                }
            }
            Compared::Test(test) => self.test(test),
        }
    }

    fn test(&mut self, test: &Test) {
        if test.is_negated {
            return self.leave_out("says what must not be there (NOT)");
        }
        let values: Vec<&str> = match &test.operator {
            Operator::Equal(Literal::Text(value)) | Operator::IsSubset(value) => vec![value],
            Operator::In(values) if values.iter().all(|value| matches!(value, Literal::Text(_))) => values
                .iter()
                .filter_map(|value| if let Literal::Text(text) = value { Some(text.as_str()) } else { None })
                .collect(),
            Operator::Like(_) | Operator::Matches(_) => return self.leave_out("compares by LIKE or MATCHES"),
            _ => return self.leave_out("compares by something else than =, IN and ISSUBSET with texts"),
        };
        let mut path = format!("{}:", test.path.object);
        for (index, step) in test.path.steps.iter().enumerate() {
            let Step::Key(key) = step else {
                return self.leave_out("goes through a list");
            };
            if index > 0 {
                path.push('.');
            }
            let is_hash = path.ends_with("hashes.");
            path.push_str(&if is_hash { key.to_ascii_uppercase() } else { key.clone() });
        }
        self.atoms.extend(values.into_iter().map(|value| Atom { path: path.clone(), value: value.to_owned() }));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_can_be_looked_up_is_and_what_cannot_is_told() {
        for (pattern, atoms, left_out) in [
            (
                "[url:value = 'a' OR domain-name:value IN ('b', 'c')]",
                vec!["url:value a", "domain-name:value b", "domain-name:value c"],
                0,
            ),
            ("[url:value = 'a'] OR [file:hashes.'sha-256' = 'b']", vec!["url:value a", "file:hashes.SHA-256 b"], 0),
            ("[file:hashes.MD5 = 'a' AND file:hashes.'SHA-256' = 'b']", vec!["file:hashes.MD5 a", "file:hashes.SHA-256 b"], 0),
            ("[file:hashes.MD5 = 'a' AND file:name = 'b']", vec![], 1),
            ("[ipv4-addr:value ISSUBSET '10.0.0.0/8']", vec!["ipv4-addr:value 10.0.0.0/8"], 0),
            ("[url:value LIKE 'a%' OR url:value = 'b']", vec!["url:value b"], 1),
            ("[url:value = 'a'] FOLLOWEDBY [url:value = 'b']", vec![], 1),
            ("[url:value != 'a' OR url:value NOT = 'b']", vec![], 2),
            ("([url:value = 'a']) WITHIN 5 SECONDS", vec!["url:value a"], 0),
            ("[network-traffic:dst_ref.value = '10.0.0.1']", vec!["network-traffic:dst_ref.value 10.0.0.1"], 0),
            ("[file:size = 7]", vec![], 1),
        ] {
            let found = Pattern::parse(pattern).unwrap().atoms();
            let shown: Vec<String> = found.atoms.iter().map(|atom| format!("{} {}", atom.path, atom.value)).collect();
            assert_eq!(
                (shown, found.left_out.len()),
                (atoms.iter().map(|one| (*one).to_owned()).collect(), left_out),
                "{pattern}"
            );
        }
    }
}
