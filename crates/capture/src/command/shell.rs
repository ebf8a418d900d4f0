//! Reads a shell's command line, as far as is needed to see what it runs: a lexer and parser of our own, because every byte is a
//! stranger's. Time and memory are bounded by the length of the text, nesting by [`DEPTH_MAX`], and nothing in it is an error:
//! what a shell would refuse is read as well as it can be.
//!
//! The grammar is that of POSIX.1-2024 (Shell Command Language) with what bash adds to it and people use: `$'…'`, `<(…)`, `<<<`, `|&`,
//! `&>`. Functions, arithmetic and `case` patterns are not understood; their words are read as commands.

/// Deepest nesting of `$(…)`, backquotes, subshells and process substitutions. Deeper is read as text.
const DEPTH_MAX: usize = 16;

/// Most simple commands of one script. What follows is not read: each is looked up in the table.
const COMMANDS_MAX: usize = 256;

/// Most words of one simple command. What follows is not read.
const WORDS_MAX: usize = 4_096;

/// Most here-documents of one line.
const HERE_MAX: usize = 16;

/// Commands that run one after another, each a pipeline.
pub(super) type Script = Vec<Pipeline>;

/// Commands of which each feeds the next.
pub(super) type Pipeline = Vec<Simple>;

/// One command with its words.
#[derive(Debug, Clone, Default, PartialEq)]
pub(super) struct Simple {
    /// `NAME=value` before the command.
    pub(super) assignments: Vec<(String, Word)>,
    pub(super) words: Vec<Word>,
    /// What it reads: the text of a here-document or here-string.
    pub(super) input: Option<Word>,
    /// The files that it writes to.
    pub(super) outputs: Vec<Word>,
}

/// A word, before the shell expands it.
#[derive(Debug, Clone, Default, PartialEq)]
pub(super) struct Word {
    pub(super) pieces: Vec<Piece>,
    /// Whether any of it is quoted, so that it is one word whatever stands in it.
    pub(super) is_quoted: bool,
}

/// A part of a word.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Piece {
    Text(String),
    /// `$NAME`, `${NAME}`, `${NAME:-default}`.
    Variable {
        name: String,
        default: Option<String>,
    },
    /// `$(…)`, a backquoted command, `<(…)`.
    Command(Script),
}

/// Reads a script.
pub(super) fn parse(text: &str) -> Script {
    let mut parser = Parser { text, at: 0, commands: 0, heres: Vec::new() };
    parser.script(None, 0)
}

struct Parser<'a> {
    text: &'a str,
    at: usize,
    commands: usize,
    /// Here-documents whose text follows behind the line: what ends them, and whether leading tabs go.
    heres: Vec<Here>,
}

struct Here {
    end: String,
    strips_tabs: bool,
}

/// Where a script that is being read ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum End {
    Parenthesis,
    Backquote,
}

/// Words that begin or end a compound command; what stands behind them is a command.
const RESERVED: [&str; 13] = ["if", "then", "elif", "else", "fi", "while", "until", "do", "done", "{", "}", "!", "time"];

impl<'a> Parser<'a> {
    fn script(&mut self, end: Option<End>, depth: usize) -> Script {
        let mut script = Script::new();
        let mut pipeline = Pipeline::new();
        let mut simple = Simple::default();
        loop {
            self.blanks();
            let Some(next) = self.peek() else { break };
            match next {
                '#' => self.line(),
                '\n' | ';' | '&' => {
                    // `&>` and `&>>` redirect.
                    if next == '&' && self.rest().starts_with("&>") {
                        self.at += 2;
                        self.eat('>');
                        self.redirected(&mut simple, depth);
                        continue;
                    }
                    self.bump();
                    if next == '&' {
                        self.eat('&');
                    }
                    if next == '\n' {
                        self.here_documents(&mut simple);
                    }
                    self.finish(&mut simple, &mut pipeline);
                    close(&mut pipeline, &mut script);
                }
                '|' => {
                    self.bump();
                    let is_or = self.eat('|');
                    let _ = !is_or && self.eat('&');
                    self.finish(&mut simple, &mut pipeline);
                    if is_or {
                        close(&mut pipeline, &mut script);
                    }
                }
                ')' => {
                    self.bump();
                    if end == Some(End::Parenthesis) {
                        break;
                    }
                }
                '`' if end == Some(End::Backquote) => {
                    self.bump();
                    break;
                }
                '(' => {
                    self.bump();
                    if depth < DEPTH_MAX {
                        // A subshell. What it writes feeds the next command of the pipeline.
                        let inner = self.script(Some(End::Parenthesis), depth + 1);
                        pipeline.extend(inner.into_iter().flatten());
                    }
                }
                '<' | '>' => self.redirection(&mut simple, depth),
                _ => {
                    let word = self.word(end, depth);
                    self.take(word, &mut simple);
                }
            }
        }
        self.here_documents(&mut simple);
        self.finish(&mut simple, &mut pipeline);
        close(&mut pipeline, &mut script);
        script
    }

    /// Puts a word where it belongs.
    fn take(&mut self, word: Word, simple: &mut Simple) {
        if simple.words.is_empty() {
            if let Some((name, value)) = word.assignment() {
                if simple.assignments.len() < WORDS_MAX {
                    simple.assignments.push((name, value));
                }
                return;
            }
            if word.literal().is_some_and(|text| !word.is_quoted && RESERVED.contains(&text)) {
                return;
            }
        }
        if simple.words.len() < WORDS_MAX && !word.pieces.is_empty() {
            simple.words.push(word);
        }
    }

    fn finish(&mut self, simple: &mut Simple, pipeline: &mut Pipeline) {
        let done = std::mem::take(simple);
        if done != Simple::default() && self.commands < COMMANDS_MAX {
            self.commands += 1;
            pipeline.push(done);
        }
    }

    /// `<`, `>` and what they begin.
    fn redirection(&mut self, simple: &mut Simple, depth: usize) {
        let is_input = self.peek() == Some('<');
        self.bump();
        if self.peek() == Some('(') {
            self.bump();
            let script = if depth < DEPTH_MAX { self.script(Some(End::Parenthesis), depth + 1) } else { Script::new() };
            self.take(Word { pieces: vec![Piece::Command(script)], is_quoted: true }, simple);
            return;
        }
        if !is_input {
            let _ = self.eat('>') || self.eat('&') || self.eat('|');
            self.redirected(simple, depth);
            return;
        }
        if !self.eat('<') {
            let _ = self.eat('&') || self.eat('>');
            self.blanks();
            self.word(None, depth);
            return;
        }
        if self.eat('<') {
            self.blanks();
            simple.input = Some(self.word(None, depth));
            return;
        }
        let strips_tabs = self.eat('-');
        self.blanks();
        let end = self.word(None, depth).literal().unwrap_or_default().to_owned();
        if !end.is_empty() && self.heres.len() < HERE_MAX {
            self.heres.push(Here { end, strips_tabs });
        }
    }

    /// What stands behind `>`.
    fn redirected(&mut self, simple: &mut Simple, depth: usize) {
        // A digit directly before it belongs to it, as in `2>file`, and was read as a word.
        if simple.words.last().and_then(Word::literal).is_some_and(|word| word.len() == 1 && word.as_bytes()[0].is_ascii_digit())
            && self.text[..self.at].trim_end_matches(['>', '&', '|']).ends_with(|last: char| last.is_ascii_digit())
        {
            simple.words.pop();
        }
        self.blanks();
        let file = self.word(None, depth);
        if simple.outputs.len() < WORDS_MAX {
            simple.outputs.push(file);
        }
    }

    /// Reads the here-documents that the line named. All of them belong to its last command here, which is where they mostly do.
    fn here_documents(&mut self, simple: &mut Simple) {
        for here in std::mem::take(&mut self.heres) {
            let mut body = String::new();
            while self.at < self.text.len() {
                let line = self.rest().split('\n').next().unwrap_or_default();
                self.at = (self.at + line.len() + 1).min(self.text.len());
                let line = if here.strips_tabs { line.trim_start_matches('\t') } else { line };
                if line == here.end {
                    break;
                }
                body.push_str(line);
                body.push('\n');
            }
            simple.input = Some(Word { pieces: vec![Piece::Text(body)], is_quoted: true });
        }
    }

    fn word(&mut self, end: Option<End>, depth: usize) -> Word {
        let mut word = Word::default();
        while let Some(next) = self.peek() {
            match next {
                ' ' | '\t' | '\r' | '\n' | ';' | '&' | '|' | '<' | '>' | '(' | ')' => break,
                '`' if end == Some(End::Backquote) => break,
                '\\' => {
                    self.bump();
                    match self.bump() {
                        Some('\n') | None => {}
                        Some(escaped) => word.push(escaped),
                    }
                }
                '\'' => {
                    self.bump();
                    word.is_quoted = true;
                    let quoted = self.until('\'');
                    word.push_text(&quoted);
                }
                '"' => {
                    self.bump();
                    word.is_quoted = true;
                    self.double_quoted(&mut word, end, depth);
                }
                '$' | '`' => self.expansion(&mut word, depth, false),
                _ => {
                    word.push(next);
                    self.bump();
                }
            }
        }
        // An empty quoted word is a word.
        if word.is_quoted && word.pieces.is_empty() {
            word.pieces.push(Piece::Text(String::new()));
        }
        word
    }

    fn double_quoted(&mut self, word: &mut Word, end: Option<End>, depth: usize) {
        while let Some(next) = self.peek() {
            match next {
                '"' => {
                    self.bump();
                    return;
                }
                '\\' => {
                    self.bump();
                    match self.bump() {
                        Some('\n') | None => {}
                        Some(escaped @ ('"' | '\\' | '$' | '`')) => word.push(escaped),
                        Some(other) => {
                            word.push('\\');
                            word.push(other);
                        }
                    }
                }
                '`' if end == Some(End::Backquote) => return,
                '$' | '`' => self.expansion(word, depth, true),
                _ => {
                    word.push(next);
                    self.bump();
                }
            }
        }
    }

    fn expansion(&mut self, word: &mut Word, depth: usize, in_quotes: bool) {
        if self.eat('`') {
            if depth >= DEPTH_MAX {
                word.push('`');
            } else {
                let script = self.script(Some(End::Backquote), depth + 1);
                word.pieces.push(Piece::Command(script));
            }
            return;
        }
        self.bump();
        match self.peek() {
            Some('(') if self.rest().starts_with("((") => {
                // Arithmetic: a number, whatever it is.
                self.skip_parentheses();
                word.push('0');
            }
            Some('(') => {
                self.bump();
                if depth >= DEPTH_MAX {
                    word.push_text("$(");
                } else {
                    let script = self.script(Some(End::Parenthesis), depth + 1);
                    word.pieces.push(Piece::Command(script));
                }
            }
            Some('{') => {
                self.bump();
                let inner = self.until('}');
                let name_end = inner.find(|next: char| !is_name(next)).unwrap_or(inner.len());
                let (name, rest) = inner.split_at(name_end);
                let default = rest.strip_prefix(":-").or_else(|| rest.strip_prefix('-')).map(str::to_owned);
                word.pieces.push(Piece::Variable { name: name.to_owned(), default });
            }
            Some('\'') if !in_quotes => {
                self.bump();
                word.is_quoted = true;
                let quoted = self.until('\'');
                word.push_text(&unescape(&quoted));
            }
            Some(next) if is_name(next) => {
                let rest = self.rest();
                let length = rest.find(|next: char| !is_name(next)).unwrap_or(rest.len());
                let name = rest[..length].to_owned();
                self.at += length;
                word.pieces.push(Piece::Variable { name, default: None });
            }
            _ => word.push('$'),
        }
    }

    /// Skips `((…))` with its parentheses.
    fn skip_parentheses(&mut self) {
        let mut open = 0_usize;
        while let Some(next) = self.bump() {
            match next {
                '(' => open += 1,
                ')' => open = open.saturating_sub(1),
                _ => {}
            }
            if open == 0 {
                return;
            }
        }
    }

    /// The text up to a character, which is skipped.
    fn until(&mut self, end: char) -> String {
        let rest = self.rest();
        let length = rest.find(end).unwrap_or(rest.len());
        let text = rest[..length].to_owned();
        self.at = (self.at + length + end.len_utf8()).min(self.text.len());
        text
    }

    fn blanks(&mut self) {
        loop {
            let rest = self.rest();
            if rest.starts_with([' ', '\t', '\r']) {
                self.at += 1;
            } else if rest.starts_with("\\\n") {
                self.at += 2;
            } else {
                return;
            }
        }
    }

    /// Skips to the end of the line.
    fn line(&mut self) {
        self.at += self.rest().find('\n').unwrap_or(self.rest().len());
    }

    fn rest(&self) -> &'a str {
        &self.text[self.at..]
    }

    fn peek(&self) -> Option<char> {
        self.rest().chars().next()
    }

    fn bump(&mut self) -> Option<char> {
        let next = self.peek()?;
        self.at += next.len_utf8();
        Some(next)
    }

    fn eat(&mut self, wanted: char) -> bool {
        let is_there = self.peek() == Some(wanted);
        if is_there {
            self.at += wanted.len_utf8();
        }
        is_there
    }
}

fn close(pipeline: &mut Pipeline, script: &mut Script) {
    if !pipeline.is_empty() {
        script.push(std::mem::take(pipeline));
    }
}

const fn is_name(next: char) -> bool {
    next.is_ascii_alphanumeric() || next == '_'
}

/// What `$'…'` stands for, as far as it is common.
fn unescape(text: &str) -> String {
    let mut plain = String::with_capacity(text.len());
    let mut characters = text.chars();
    while let Some(next) = characters.next() {
        match (next, next == '\\') {
            (_, true) => match characters.next() {
                Some('n') => plain.push('\n'),
                Some('t') => plain.push('\t'),
                Some(other) => plain.push(other),
                None => {}
            },
            (other, false) => plain.push(other),
        }
    }
    plain
}

impl Word {
    /// The text of a word in which nothing is expanded.
    pub(super) fn literal(&self) -> Option<&str> {
        match &self.pieces[..] {
            [Piece::Text(text)] => Some(text),
            _ => None,
        }
    }

    /// `NAME=value`, if it is that.
    fn assignment(&self) -> Option<(String, Self)> {
        let Some(Piece::Text(first)) = self.pieces.first() else { return None };
        let (name, value) = first.split_once('=')?;
        let begins = name.starts_with(|next: char| next.is_ascii_alphabetic() || next == '_');
        if !begins || !name.chars().all(is_name) {
            return None;
        }
        let first = (!value.is_empty()).then(|| Piece::Text(value.to_owned()));
        let pieces = first.into_iter().chain(self.pieces[1..].iter().cloned()).collect();
        Some((name.to_owned(), Self { pieces, is_quoted: true }))
    }

    fn push(&mut self, next: char) {
        match self.pieces.last_mut() {
            Some(Piece::Text(text)) => text.push(next),
            _ => self.pieces.push(Piece::Text(next.to_string())),
        }
    }

    fn push_text(&mut self, more: &str) {
        match self.pieces.last_mut() {
            Some(Piece::Text(text)) => text.push_str(more),
            _ if more.is_empty() => {}
            _ => self.pieces.push(Piece::Text(more.to_owned())),
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn shown(script: &Script) -> String {
        let word = |word: &Word| {
            let piece = |piece: &Piece| match piece {
                Piece::Text(text) => text.replace(' ', "_"),
                Piece::Variable { name, default } => {
                    format!("${name}{}", default.as_deref().map(|d| format!(":-{d}")).unwrap_or_default())
                }
                Piece::Command(script) => format!("$({})", shown(script)),
            };
            word.pieces.iter().map(piece).collect::<String>()
        };
        let simple = |simple: &Simple| {
            let mut parts: Vec<String> =
                simple.assignments.iter().map(|(name, value)| format!("{name}={}", word(value))).collect();
            parts.extend(simple.words.iter().map(word));
            parts.extend(simple.outputs.iter().map(|file| format!(">{}", word(file))));
            parts.extend(simple.input.iter().map(|input| format!("<{}", word(input).replace('\n', "/"))));
            parts.join(" ")
        };
        script.iter().map(|line| line.iter().map(simple).collect::<Vec<_>>().join(" | ")).collect::<Vec<_>>().join(" ; ")
    }

    #[test]
    fn what_a_shell_reads_is_read() {
        for (text, expected) in [
            ("a b  c", "a b c"),
            ("a 'b c' \"d e\" f\\ g", "a b_c d_e f_g"),
            ("a && b || c; d & e\nf", "a ; b ; c ; d ; e ; f"),
            ("a | b |& c", "a | b | c"),
            ("(a; b) | c", "a | b | c"),
            ("X=1 Y=\"z w\" a", "X=1 Y=z_w a"),
            ("a $(b c | d) `e f`", "a $(b c | d) $(e f)"),
            ("a \"x $(b \"c d\") y\"", "a x_$(b c_d)_y"),
            ("a ${V} $W ${D:-q}", "a $V $W $D:-q"),
            ("a <(b c)", "a $(b c)"),
            ("a > f 2>&1 2>/dev/null >> g", "a >f >1 >/dev/null >g"),
            ("a <<E | b\nx y\nE\nc", "a | b <x_y/ ; c"),
            ("a <<-'E'\n\tx\n\tE\nb", "a <x/ ; b"),
            ("a <<< 'x y'", "a <x_y"),
            ("a # b c\nd", "a ; d"),
            ("a#b", "a#b"),
            ("if a; then b; else c; fi", "a ; b ; c"),
            ("for x in 1 2; do b $x; done", "for x in 1 2 ; b $x"),
            ("a \\\n b", "a b"),
            ("a $'b\\tc'", "a b\tc"),
            ("a $((1+2)) b", "a 0 b"),
            ("a ''", "a "),
            ("! a; { b; }", "a ; b"),
            ("a 'unclosed", "a unclosed"),
            ("a $(b", "a $(b)"),
            (")", ""),
        ] {
            assert_eq!(shown(&parse(text)), expected, "{text}");
        }
    }

    #[test]
    fn depth_and_length_are_bounded() {
        for open in ["$(", "(", "<(", "`", "\"$(", "${", "$(("] {
            parse(&open.repeat(100_000));
        }
        let many = parse(&"a;".repeat(10 * COMMANDS_MAX));
        assert_eq!(many.len(), COMMANDS_MAX);
        let long = parse(&"a ".repeat(10 * WORDS_MAX));
        assert_eq!(long[0][0].words.len(), WORDS_MAX);
        parse(&"<<E ".repeat(100_000));
    }

    proptest! {
        #[test]
        fn no_text_makes_it_panic(text in any::<String>()) {
            parse(&text);
        }

        #[test]
        fn nothing_that_a_shell_reads_makes_it_panic(text in "([a-c]|\\$|\\(|\\)|`|\"|'|<|>|\\||&|;|\\{|\\}|#|=|\\\\|\\n|E| ){0,60}") {
            parse(&text);
        }
    }
}
