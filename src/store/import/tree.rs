//! A TOML or JSON text as one kind of tree in which every value knows its line.
//!
//! The point: what is wrong is told by line, all of it at once, in either format; a deserialiser stops at the first mistake. It
//! deliberately knows nothing about policy. It fails by the parser's own words about the syntax.
use super::Problem;

/// A value and where it begins.
#[derive(Debug)]
pub(super) struct Node {
    /// 1 and up.
    pub(super) line: usize,
    pub(super) value: Value,
}

#[derive(Debug)]
pub(super) enum Value {
    /// In the order of the text (JSON) or of the keys (TOML).
    Table(Vec<(String, Node)>),
    List(Vec<Node>),
    Text(String),
    Int(i64),
    /// Anything else, by what it is called.
    Other(&'static str),
}

impl Value {
    /// What it is, for people.
    pub(super) fn name(&self) -> &'static str {
        match self {
            Self::Table(_) => "a table",
            Self::List(_) => "a list",
            Self::Text(_) => "a text",
            Self::Int(_) => "a number",
            Self::Other(name) => name,
        }
    }
}

/// Where lines begin.
struct Lines(Vec<usize>);

impl Lines {
    fn of(text: &str) -> Self {
        Self(std::iter::once(0).chain(text.match_indices('\n').map(|(at, _)| at + 1)).collect())
    }

    fn line(&self, offset: usize) -> usize {
        self.0.partition_point(|begin| *begin <= offset)
    }
}

/// Reads TOML; every syntax error that the parser finds.
pub(super) fn toml(text: &str) -> Result<Node, Vec<Problem>> {
    let lines = Lines::of(text);
    let (table, errors) = toml::de::DeTable::parse_recoverable(text);
    if !errors.is_empty() {
        let problem = |error: &toml::de::Error| Problem {
            line: error.span().map_or(1, |span| lines.line(span.start)),
            what: format!("this is no TOML: {}", error.message()),
        };
        return Err(errors.iter().map(problem).collect());
    }
    Ok(toml_table(table.get_ref(), 1, &lines))
}

fn toml_table(table: &toml::de::DeTable<'_>, line: usize, lines: &Lines) -> Node {
    let entry = |(key, value): (&toml::Spanned<toml::de::DeString<'_>>, &toml::Spanned<toml::de::DeValue<'_>>)| {
        (key.get_ref().to_string(), toml_value(value, lines))
    };
    Node { line, value: Value::Table(table.iter().map(entry).collect()) }
}

fn toml_value(value: &toml::Spanned<toml::de::DeValue<'_>>, lines: &Lines) -> Node {
    use toml::de::DeValue;
    let line = lines.line(value.span().start);
    let value = match value.get_ref() {
        DeValue::Table(table) => return toml_table(table, line, lines),
        DeValue::Array(list) => Value::List(list.iter().map(|value| toml_value(value, lines)).collect()),
        DeValue::String(text) => Value::Text(text.to_string()),
        DeValue::Integer(int) => match i64::from_str_radix(int.as_str(), int.radix()) {
            Ok(int) => Value::Int(int),
            Err(_) => Value::Other("a number that is too large"),
        },
        DeValue::Float(_) => Value::Other("a number with a point"),
        DeValue::Boolean(_) => Value::Other("true or false"),
        DeValue::Datetime(_) => Value::Other("a date"),
    };
    Node { line, value }
}

/// Reads JSON; the first syntax error.
pub(super) fn json(text: &str) -> Result<Node, Vec<Problem>> {
    // A parser that is known to be right decides what is JSON; what follows only finds where the values begin.
    if let Err(error) = serde_json::from_str::<serde::de::IgnoredAny>(text) {
        return Err(vec![Problem { line: error.line().max(1), what: format!("this is no JSON: {error}") }]);
    }
    let mut scanner = Scanner { text, at: 0, lines: Lines::of(text) };
    Ok(scanner.value())
}

/// Walks a text that is valid JSON.
struct Scanner<'a> {
    text: &'a str,
    at: usize,
    lines: Lines,
}

impl Scanner<'_> {
    /// The next byte that is no white space; 0 at the end.
    fn peek(&mut self) -> u8 {
        let bytes = self.text.as_bytes();
        while bytes.get(self.at).is_some_and(u8::is_ascii_whitespace) {
            self.at += 1;
        }
        bytes.get(self.at).copied().unwrap_or(0)
    }

    /// Steps over the next byte if it is that one.
    fn skip(&mut self, byte: u8) -> bool {
        let found = self.peek() == byte;
        self.at += usize::from(found);
        found
    }

    fn value(&mut self) -> Node {
        let first = self.peek();
        let line = self.lines.line(self.at);
        let value = match first {
            b'{' => Value::Table(self.table()),
            b'[' => Value::List(self.list()),
            b'"' => Value::Text(self.text()),
            b't' | b'f' => {
                self.plain();
                Value::Other("true or false")
            }
            b'n' => {
                self.plain();
                Value::Other("null")
            }
            _ => self.plain().parse().map_or(Value::Other("a number with a point, or too large"), Value::Int),
        };
        Node { line, value }
    }

    fn table(&mut self) -> Vec<(String, Node)> {
        let mut entries = Vec::new();
        self.skip(b'{');
        while !self.skip(b'}') && self.peek() != 0 {
            self.peek();
            let key = self.text();
            self.skip(b':');
            entries.push((key, self.value()));
            self.skip(b',');
        }
        entries
    }

    fn list(&mut self) -> Vec<Node> {
        let mut nodes = Vec::new();
        self.skip(b'[');
        while !self.skip(b']') && self.peek() != 0 {
            nodes.push(self.value());
            self.skip(b',');
        }
        nodes
    }

    fn text(&mut self) -> String {
        let begin = self.at;
        let bytes = self.text.as_bytes();
        self.at += 1;
        while let Some(byte) = bytes.get(self.at) {
            self.at += 1 + usize::from(*byte == b'\\');
            if *byte == b'"' {
                break;
            }
        }
        serde_json::from_str(self.text.get(begin..self.at).unwrap_or("\"\"")).unwrap_or_default()
    }

    /// A number, `true`, `false` or `null`.
    fn plain(&mut self) -> &str {
        let begin = self.at;
        let end = |byte: &u8| matches!(byte, b',' | b'}' | b']') || byte.is_ascii_whitespace();
        let rest = &self.text.as_bytes()[begin..];
        self.at += rest.iter().position(end).unwrap_or(rest.len());
        &self.text[begin..self.at]
    }
}
