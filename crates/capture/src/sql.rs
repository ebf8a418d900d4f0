//! What a statement of SQL does, and to which tables: for database spans whose instrumentation tells the statement and nothing
//! else (those of Python's DB-API do).
//!
//! Not a parser of SQL: it looks at words, quotes, comments and parentheses, knows nothing of a dialect, and says what is likely.
//! What it finds is marked as derived ([`attr::DB_DERIVED`]); the statement itself stays beside it.

use event::{Direction, Part, Piece, Value, attr};

use crate::Raw;

/// How much of a statement is looked at, in bytes. Longer ones are bulk data, whose head says what is done.
const STATEMENT_BYTES_MAX: usize = 64 * 1024;

/// Most tables and operations that are told of one text.
const NAMES_MAX: usize = 16;

/// Most parts of a `WITH` that are told from tables.
const PARTS_MAX: usize = 64;

/// How far behind `EXPLAIN` its options are looked for, in tokens.
const OPTIONS_MAX: usize = 16;

/// Longest name of a table, in bytes: no database takes half as long a one.
const NAME_BYTES_MAX: usize = 256;

/// `db.system.name`s that speak SQL, before and after the conventions were stable.
const SYSTEMS: [&str; 30] = [
    "sqlite",
    "postgresql",
    "mysql",
    "mariadb",
    "microsoft.sql_server",
    "mssql",
    "mssqlcompact",
    "oracle.db",
    "oracle",
    "ibm.db2",
    "db2",
    "cockroachdb",
    "clickhouse",
    "duckdb",
    "snowflake",
    "trino",
    "hive",
    "actian.ingres",
    "derby",
    "firebirdsql",
    "gcp.spanner",
    "spanner",
    "gcp.bigquery",
    "bigquery",
    "h2database",
    "hsqldb",
    "aws.redshift",
    "redshift",
    "teradata",
    "other_sql",
];

/// Words that a statement begins with.
const VERBS: [&str; 35] = [
    "WITH", "SELECT", "INSERT", "UPDATE", "DELETE", "MERGE", "REPLACE", "UPSERT", "TRUNCATE", "CREATE", "DROP", "ALTER",
    "RENAME", "GRANT", "REVOKE", "COPY", "LOAD", "CALL", "EXEC", "EXECUTE", "EXPLAIN", "SHOW", "DESCRIBE", "PRAGMA", "ATTACH",
    "DETACH", "VACUUM", "ANALYZE", "BEGIN", "COMMIT", "ROLLBACK", "SET", "USE", "VALUES", "LOCK",
];

/// Words that change rows, wherever in a statement they begin a part of it.
const WRITES: [&str; 4] = ["INSERT", "UPDATE", "DELETE", "MERGE"];

/// What statements do.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Statement {
    /// The operations in their order, each once, in capitals: `SELECT`, `INSERT` ...
    pub operations: Vec<String>,
    /// The tables in their order, each once, as they are written, without quotes.
    pub tables: Vec<String>,
}

/// Says of a database span what its statement does where its source does not.
pub(crate) fn tell(pieces: &[Piece<Raw>], attributes: &mut event::Attributes<Raw>) {
    let system = attributes.get(&attr::DB_SYSTEM_NAME).and_then(Value::as_text).map(Raw::expose);
    if !system.is_some_and(|system| SYSTEMS.contains(&system)) {
        return;
    }
    let query = pieces.iter().find(|piece| piece.meta.part == Part::Query && piece.meta.direction == Direction::Input);
    let Some(query) = query else { return };
    let Statement { operations, tables } = statement(query.content.expose());
    let mut derived = Vec::new();
    for (key, names, between) in [(attr::DB_OPERATION_NAME, operations, "; "), (attr::DB_COLLECTION_NAME, tables, ", ")] {
        if !names.is_empty() && !attributes.contains_key(&key) {
            derived.push(Value::Text(Raw::from(key.as_str())));
            attributes.insert(key, Value::Text(names.join(between).into()));
        }
    }
    if !derived.is_empty() {
        attributes.insert(attr::DB_DERIVED, Value::List(derived));
    }
}

/// What the statements in a text do. Several of them have `;` between them. Nothing where it does not look like SQL.
#[must_use]
pub fn statement(text: &str) -> Statement {
    let text = &text[..text.floor_char_boundary(STATEMENT_BYTES_MAX)];
    let tokens = Tokens { rest: text }.collect::<Vec<_>>();
    let mut found = Statement::default();
    for one in tokens.split(|token| *token == Token::Sign(';')) {
        read(one, &mut found);
    }
    found
}

/// A part of a statement.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Token<'t> {
    /// A keyword or a plain name.
    Word(&'t str),
    /// A name in quotes.
    Name(&'t str),
    /// Anything else: one character.
    Sign(char),
}

impl<'t> Token<'t> {
    fn is(self, keyword: &str) -> bool {
        matches!(self, Token::Word(word) if word.eq_ignore_ascii_case(keyword))
    }

    /// The keyword of a list that it is.
    fn one_of(self, keywords: &[&'static str]) -> Option<&'static str> {
        keywords.iter().copied().find(|keyword| self.is(keyword))
    }

    fn name(self) -> Option<&'t str> {
        match self {
            Token::Word(name) | Token::Name(name) if !name.is_empty() && name.len() <= NAME_BYTES_MAX => Some(name),
            _ => None,
        }
    }
}

/// One statement.
fn read(tokens: &[Token<'_>], found: &mut Statement) {
    let verb = tokens.iter().find(|token| **token != Token::Sign('(')).and_then(|first| first.one_of(&VERBS));
    let Some(verb) = verb else { return };
    if verb != "WITH" {
        push(&mut found.operations, verb);
    }
    // EXPLAIN alone runs nothing; EXPLAIN ANALYZE does.
    if verb == "EXPLAIN" && !tokens.iter().take(OPTIONS_MAX).any(|token| token.is("ANALYZE")) {
        return;
    }
    let mut main = (verb != "WITH" && verb != "EXPLAIN").then_some(verb);
    let mut parts: Vec<&str> = Vec::new();
    // Of each open parenthesis, whether a query is in it: `FROM` is also a word of functions.
    let mut levels = vec![true];
    for (at, token) in tokens.iter().enumerate() {
        let before = at.checked_sub(1).map(|before| tokens[before]);
        let after = &tokens[at + 1..];
        let before_is = |words: &[&'static str]| before.is_some_and(|before| before.one_of(words).is_some());
        let after_is = |words: &[&'static str]| after.first().is_some_and(|after| after.one_of(words).is_some());
        match token {
            Token::Sign('(') => levels.push(false),
            Token::Sign(')') if levels.len() > 1 => _ = levels.pop(),
            _ => {}
        }
        if let Some(word) = token.one_of(&["SELECT", "INSERT", "UPDATE", "DELETE", "MERGE"]) {
            if let Some(level) = levels.last_mut() {
                *level = true;
            }
            let begins = matches!(before, None | Some(Token::Sign('(' | ')'))) || before_is(&["ANALYZE"]);
            // SQL Server takes statements without anything between them.
            let follows = word == "INSERT" && after_is(&["INTO"]) || word == "DELETE" && after_is(&["FROM"]);
            let is_main = main.is_none() && levels.len() == 1;
            if begins && is_main || (begins || follows) && at > 0 && WRITES.contains(&word) {
                push(&mut found.operations, word);
                main = main.or(is_main.then_some(word));
            }
        }
        if at > 0
            && let Some(word) = token.one_of(&["CREATE", "DROP", "ALTER", "TRUNCATE"])
            && after_is(&["TABLE", "DATABASE", "SCHEMA", "VIEW", "INDEX", "USER", "ROLE"])
        {
            push(&mut found.operations, word);
        }
        // `WITH name AS (`, `, name AS (`: no table, but what the statement calls a part of itself.
        if verb == "WITH"
            && main.is_none()
            && parts.len() < PARTS_MAX
            && let (Some(name), [next, then, ..]) = (token.name(), after)
            && next.is("AS")
            && (*then == Token::Sign('(') || then.one_of(&["MATERIALIZED", "NOT"]).is_some())
        {
            parts.push(name);
        }
        if !levels.last().is_some_and(|is_query| *is_query) {
            continue;
        }
        let told = if token.is("FROM") && !before_is(&["DISTINCT"]) || token.is("USING") && main == Some("MERGE") {
            list(after)
        } else if token.is("JOIN") {
            one(after, true)
        } else if token.is("INTO") {
            if main == Some("SELECT") && levels.len() == 1 && !before_is(&["INSERT", "REPLACE", "IGNORE"]) {
                push(&mut found.operations, "INTO");
            }
            one(after, false)
        } else if token.is("UPDATE") && !before_is(&["FOR", "DO", "KEY"])
            || token.is("TABLE")
            || at == 0 && ["TRUNCATE", "COPY", "DESCRIBE"].contains(&verb)
        {
            one(after, false)
        } else {
            continue;
        };
        for name in told.iter().filter(|name| !parts.iter().any(|part| part.eq_ignore_ascii_case(name))) {
            push(&mut found.tables, name);
        }
    }
}

/// The one table behind a keyword.
fn one(tokens: &[Token<'_>], or_function: bool) -> Vec<String> {
    table(tokens, or_function).map(|(name, _)| name).into_iter().collect()
}

/// The tables behind `FROM`: `a`, `a, b`, `a AS x, b y`. Those that are joined follow their own keyword.
fn list(mut tokens: &[Token<'_>]) -> Vec<String> {
    let mut names = Vec::new();
    while names.len() < NAMES_MAX {
        let Some((name, used)) = table(tokens, true) else { break };
        names.push(name);
        tokens = &tokens[used..];
        // An alias.
        if tokens.first().is_some_and(|token| token.is("AS")) {
            tokens = &tokens[1..];
        }
        if let [Token::Word(_) | Token::Name(_), Token::Sign(','), ..] = tokens {
            tokens = &tokens[1..];
        }
        match tokens {
            [Token::Sign(','), rest @ ..] => tokens = rest,
            _ => break,
        }
    }
    names
}

/// The name of a table, and how many tokens it takes. With `or_function` a name before a parenthesis is one of a function.
fn table(tokens: &[Token<'_>], or_function: bool) -> Option<(String, usize)> {
    /// Words that stand between a keyword and the name.
    const BETWEEN: [&str; 8] = ["TABLE", "ONLY", "LATERAL", "IF", "NOT", "EXISTS", "OVERWRITE", "IGNORE"];
    /// Words that are no names there.
    const NO_NAME: [&str; 8] = ["SELECT", "SET", "VALUES", "WHERE", "OF", "NOWAIT", "SKIP", "OUTFILE"];
    let mut at = tokens.iter().take(BETWEEN.len()).take_while(|token| token.one_of(&BETWEEN).is_some()).count();
    let mut name = String::new();
    loop {
        let token = *tokens.get(at)?;
        if token.one_of(&NO_NAME).is_some() {
            return None;
        }
        name.push_str(token.name()?);
        at += 1;
        if tokens.get(at) != Some(&Token::Sign('.')) {
            break;
        }
        name.push('.');
        at += 1;
        if name.len() > NAME_BYTES_MAX {
            return None;
        }
    }
    if or_function && tokens.get(at) == Some(&Token::Sign('(')) {
        return None;
    }
    Some((name, at))
}

fn push(names: &mut Vec<String>, name: &str) {
    if names.len() < NAMES_MAX && !names.iter().any(|known| known == name) {
        names.push(name.to_owned());
    }
}

/// The tokens of a text. Comments and values in quotes are left out.
struct Tokens<'t> {
    rest: &'t str,
}

impl<'t> Tokens<'t> {
    /// What stands before `end`, from `start` on, and goes behind it; all that is left where there is no end.
    fn until(&mut self, start: usize, end: &str) -> &'t str {
        let rest = &self.rest[start..];
        let (inner, left) = rest.split_once(end).unwrap_or((rest, ""));
        self.rest = left;
        inner
    }
}

impl<'t> Iterator for Tokens<'t> {
    type Item = Token<'t>;

    fn next(&mut self) -> Option<Token<'t>> {
        let is_word = |c: char| c.is_alphanumeric() || matches!(c, '_' | '$' | '#' | '@');
        let is_tag = |tag: &str| tag.len() <= NAME_BYTES_MAX && tag.chars().all(|c| c.is_alphanumeric() || c == '_');
        loop {
            self.rest = self.rest.trim_start();
            let first = self.rest.chars().next()?;
            match first {
                '-' if self.rest.starts_with("--") => _ = self.until(2, "\n"),
                '/' if self.rest.starts_with("/*") => _ = self.until(2, "*/"),
                // A doubled quote begins another value right behind: the same to us.
                '\'' => _ = self.until(1, "'"),
                '"' => return Some(Token::Name(self.until(1, "\""))),
                '`' => return Some(Token::Name(self.until(1, "`"))),
                '[' if self.rest[1..].starts_with(|c: char| c.is_alphabetic()) => return Some(Token::Name(self.until(1, "]"))),
                // PostgreSQL's text between `$$` or `$tag$`.
                '$' => {
                    let rest = self.rest;
                    match rest[1..].split_once('$') {
                        Some((tag, _)) if is_tag(tag) => _ = self.until(tag.len() + 2, &rest[..tag.len() + 2]),
                        _ => {
                            self.rest = &rest[1..];
                            return Some(Token::Sign('$'));
                        }
                    }
                }
                _ if is_word(first) && !first.is_numeric() => {
                    let end = self.rest.find(|c| !is_word(c)).unwrap_or(self.rest.len());
                    let (word, rest) = self.rest.split_at(end);
                    self.rest = rest;
                    return Some(Token::Word(word));
                }
                _ if first.is_numeric() => {
                    let end = self.rest.find(|c: char| !is_word(c) && c != '.').unwrap_or(self.rest.len());
                    self.rest = &self.rest[end..];
                    return Some(Token::Sign('0'));
                }
                _ => {
                    self.rest = &self.rest[first.len_utf8()..];
                    return Some(Token::Sign(first));
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use event::{Key, PieceMeta, Role};
    use proptest::prelude::*;

    use super::*;

    fn check(text: &str, operations: &str, tables: &str) {
        let found = statement(text);
        assert_eq!((found.operations.join("; ").as_str(), found.tables.join(", ").as_str()), (operations, tables), "{text}");
    }

    #[test]
    fn a_statement_says_what_it_does_to_which_tables() {
        for (text, operations, tables) in [
            ("SELECT * FROM customers WHERE id = ?", "SELECT", "customers"),
            ("select c.name from crm.customers as c join \"Orders\" o on o.c = c.id", "SELECT", "crm.customers, Orders"),
            ("SELECT a FROM one x, two AS y, [three] WHERE x.i = y.i", "SELECT", "one, two, three"),
            ("INSERT INTO `notes`(text) VALUES ('SELECT * FROM passwords')", "INSERT", "notes"),
            ("UPDATE accounts SET balance = 0", "UPDATE", "accounts"),
            ("DELETE FROM ONLY sessions WHERE EXISTS (SELECT 1 FROM users)", "DELETE", "sessions, users"),
            ("CREATE TABLE IF NOT EXISTS notes (id INTEGER)", "CREATE", "notes"),
            ("DROP TABLE a.b", "DROP", "a.b"),
            ("TRUNCATE logs", "TRUNCATE", "logs"),
            ("-- a comment\n/* FROM x */ SELECT 1", "SELECT", ""),
            ("PRAGMA table_info(notes)", "PRAGMA", ""),
            ("EXPLAIN DELETE FROM t", "EXPLAIN", ""),
            ("EXPLAIN ANALYZE DELETE FROM t", "EXPLAIN; DELETE", "t"),
        ] {
            check(text, operations, tables);
        }
    }

    #[test]
    fn what_hides_behind_a_reading_statement_is_told() {
        check("SELECT 1; DROP TABLE users; --", "SELECT; DROP", "users");
        check("WITH gone AS (DELETE FROM users RETURNING *) SELECT * FROM gone", "DELETE; SELECT", "users");
        check("WITH a AS (SELECT * FROM t), b AS (SELECT 1) INSERT INTO x SELECT * FROM a, b", "INSERT", "t, x");
        check("SELECT * INTO copy FROM secrets", "SELECT; INTO", "copy, secrets");
        check("SELECT 1 DROP TABLE users DELETE FROM t", "SELECT; DROP; DELETE", "users, t");
        check("EXPLAIN (ANALYZE) DELETE FROM t", "EXPLAIN; DELETE", "t");
        check("WITH a AS (SELECT 1) SELECT users AS u FROM users", "SELECT", "users");
    }

    #[test]
    fn words_of_functions_and_values_are_no_tables() {
        check("SELECT extract(year FROM born), trim(both ' ' FROM name) FROM people", "SELECT", "people");
        check("SELECT * FROM generate_series(1, 3)", "SELECT", "");
        check("SELECT a IS DISTINCT FROM b FROM t FOR UPDATE", "SELECT", "t");
        check("INSERT INTO t VALUES (1) ON CONFLICT (id) DO UPDATE SET a = 1", "INSERT", "t");
        check("SELECT $$ FROM hidden $$ FROM shown", "SELECT", "shown");
        for text in ["", "GET key", "{\"find\": \"users\"}", "MATCH (n) RETURN n", "'", "\"", "$", "(((("] {
            check(text, "", "");
        }
    }

    #[test]
    fn only_what_the_source_does_not_tell_is_derived_and_marked() {
        let query = || Piece::new(PieceMeta::new(Direction::Input, Role::Assistant, Part::Query), Raw::from("SELECT * FROM t"));
        let told = |system: &str, operation: Option<&str>| {
            let mut attributes = event::Attributes::new();
            attributes.insert(attr::DB_SYSTEM_NAME, Value::Text(Raw::from(system)));
            if let Some(operation) = operation {
                attributes.insert(attr::DB_OPERATION_NAME, Value::Text(Raw::from(operation)));
            }
            tell(&[query()], &mut attributes);
            let text = |key: Key| attributes.get(&key).and_then(Value::as_text).map(|text| text.expose().to_owned());
            let derived = matches!(attributes.get(&attr::DB_DERIVED), Some(Value::List(keys)) if !keys.is_empty());
            (text(attr::DB_OPERATION_NAME), text(attr::DB_COLLECTION_NAME), derived)
        };
        let some = |text: &str| Some(text.to_owned());
        assert_eq!(told("sqlite", None), (some("SELECT"), some("t"), true));
        assert_eq!(told("sqlite", Some("query")), (some("query"), some("t"), true));
        assert_eq!(told("redis", None), (None, None, false));
    }

    proptest! {
        #[test]
        fn any_text_is_read_within_bounds(text in ".{0,400}") {
            let found = statement(&text);
            prop_assert!(found.operations.len() <= NAMES_MAX && found.tables.len() <= NAMES_MAX);
        }

        #[test]
        fn words_of_sql_in_any_order_are_read_within_bounds(
            words in proptest::collection::vec(
                prop_oneof![
                    Just("SELECT"), Just("FROM"), Just("WITH"), Just("AS"), Just("("), Just(")"), Just(","), Just("."), Just("a"),
                    Just("JOIN"), Just("INTO"), Just("UPDATE"), Just("TABLE"), Just(";"), Just("'"), Just("\""), Just("$$"),
                ],
                0..60,
            )
        ) {
            let found = statement(&words.join(" "));
            prop_assert!(found.tables.len() <= NAMES_MAX);
        }
    }
}
