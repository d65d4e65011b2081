//! Which modules and crates a Rust source file names, from its text alone.
//!
//! The point: a rule about imports must see every way to name something: `use` with groups, aliases and globs, and paths in the middle
//! of an expression. Comments, strings and everything under `#[cfg(test)]` are left out.
//!
//! It deliberately is no compiler: macros are read as they stand, and a name that a glob brings in is known by the glob alone. It
//! cannot fail: text that is no Rust gives whatever paths it seems to have.
use std::collections::{BTreeMap, BTreeSet};

/// A path as a file names it, made absolute: `crate::kafka::config`, `std::time::Instant::now`, `tokio::sync::Notify`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Named {
    pub line: usize,
    pub segments: Vec<String>,
    /// It ends with `*`: it may stand for everything below.
    pub glob: bool,
}

impl Named {
    /// Whether it names `target` or something within it.
    pub fn names(&self, target: &str) -> bool {
        let target: Vec<&str> = target.split("::").collect();
        let shared = self.segments.iter().zip(&target).take_while(|(one, other)| one == other).count();
        shared == target.len() || (self.glob && shared == self.segments.len())
    }
}

impl std::fmt::Display for Named {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}{}", self.segments.join("::"), if self.glob { "::*" } else { "" })
    }
}

/// What one file says, its tests left out.
#[derive(Debug, Default)]
pub struct Scanned {
    pub named: Vec<Named>,
    /// The lines that say `async` or `await`.
    pub asynchronous: Vec<usize>,
    /// Files of modules under `#[cfg(test)]`, without `.rs`: relative to the sources' root, and the folder below of the same name.
    pub tests: BTreeSet<String>,
}

/// Reads a file. `path` is relative to the sources' root: `kafka/config/mod.rs`.
pub fn scan(path: &str, text: &str) -> Scanned {
    let mut tests = BTreeSet::new();
    let tokens = without_tests(lex(text), path, &mut tests);
    let asynchronous =
        tokens.iter().filter(|(_, token)| matches!(token, Token::Ident(word) if word == "async" || word == "await"));
    let asynchronous = asynchronous.map(|(line, _)| *line).collect();
    let trees = trees(&tokens);
    let aliases: BTreeMap<&str, &Tree> = trees
        .iter()
        .filter_map(|tree| Some((tree.alias.as_deref()?, tree)))
        .filter(|(alias, _)| *alias != "_")
        .collect();
    let module = module_of(path);
    let named = trees.iter().filter_map(|tree| {
        let segments = absolute(&tree.segments, &module, &aliases)?;
        Some(Named { line: tree.line, segments, glob: tree.glob })
    });
    Scanned { named: named.collect(), asynchronous, tests }
}

/// The module that a file is: `kafka/config/mod.rs` is `kafka::config`; the roots of the crate are nothing.
fn module_of(path: &str) -> Vec<String> {
    let path = path.trim_end_matches(".rs");
    let path = path.strip_suffix("/mod").unwrap_or(path);
    if matches!(path, "lib" | "main") { Vec::new() } else { path.split('/').map(str::to_owned).collect() }
}

/// The path from the crate's root or from a crate's name; `None` for a name that the file did not import.
fn absolute(segments: &[String], module: &[String], aliases: &BTreeMap<&str, &Tree>) -> Option<Vec<String>> {
    let mut segments = segments.to_vec();
    // An alias may be made of another one; a chain longer than this is a circle.
    for _ in 0..8 {
        let first = segments.first()?.clone();
        match first.as_str() {
            "crate" => return Some(segments),
            "self" | "super" => {
                let ups = segments.iter().take_while(|segment| *segment == "super").count();
                let rest = segments.iter().skip_while(|segment| matches!(segment.as_str(), "self" | "super"));
                let base = &module[..module.len().saturating_sub(ups)];
                return Some(["crate".to_owned()].iter().chain(base).chain(rest).cloned().collect());
            }
            name => match aliases.get(name) {
                Some(tree) if tree.segments != segments && tree.segments.first() != Some(&first) => {
                    segments = tree.segments.iter().chain(&segments[1..]).cloned().collect();
                }
                _ => return Some(segments),
            },
        }
    }
    None
}

struct Tree {
    line: usize,
    segments: Vec<String>,
    glob: bool,
    /// The name under which a `use` makes it known.
    alias: Option<String>,
}

/// Every path of more than one segment, the groups of `use` taken apart.
fn trees(tokens: &[(usize, Token)]) -> Vec<Tree> {
    let mut found = Vec::new();
    let mut at = 0;
    while at < tokens.len() {
        let follows_a_path = at > 0 && tokens[at - 1].1 == Token::Sep;
        at = match &tokens[at].1 {
            Token::Ident(word) if word == "use" => tree(tokens, at + 1, Vec::new(), true, &mut found),
            Token::Ident(_) if !follows_a_path => tree(tokens, at, Vec::new(), false, &mut found),
            _ => at + 1,
        };
    }
    found.retain(|tree| tree.segments.len() > 1 || tree.glob || tree.alias.is_some());
    found
}

fn tree(
    tokens: &[(usize, Token)],
    from: usize,
    mut segments: Vec<String>,
    import: bool,
    found: &mut Vec<Tree>,
) -> usize {
    let mut at = from;
    while let Some((line, token)) = tokens.get(at) {
        let mut add = |segments: &[String], glob: bool, alias: Option<String>| {
            // `use a::{self}` names `a`.
            let itself = segments.last().is_some_and(|last| last == "self") && segments.len() > 1;
            let segments = &segments[..segments.len() - usize::from(itself)];
            let alias = alias.or_else(|| segments.last().cloned()).filter(|_| import && !glob);
            found.push(Tree { line: *line, segments: segments.to_vec(), glob, alias });
        };
        match token {
            Token::Sep => at += 1,
            Token::Ident(word) => {
                segments.push(word.clone());
                match (tokens.get(at + 1).map(|next| &next.1), tokens.get(at + 2).map(|next| &next.1)) {
                    (Some(Token::Sep), Some(Token::Ident(_) | Token::Punct('{' | '*'))) => at += 2,
                    (Some(Token::Ident(word)), Some(Token::Ident(alias))) if import && word == "as" => {
                        add(&segments, false, Some(alias.clone()));
                        return at + 3;
                    }
                    _ => {
                        add(&segments, false, None);
                        return at + 1;
                    }
                }
            }
            Token::Punct('*') if import => {
                add(&segments, true, None);
                return at + 1;
            }
            Token::Punct('{') if import => {
                at += 1;
                while let Some((_, token)) = tokens.get(at) {
                    at = match token {
                        Token::Punct('}') => return at + 1,
                        Token::Punct(',') => at + 1,
                        _ => tree(tokens, at, segments.clone(), import, found).max(at + 1),
                    };
                }
            }
            _ => return at + 1,
        }
    }
    at
}

/// Takes out every item under `#[cfg(test)]`, and notes the files of those that are modules in files of their own.
fn without_tests(tokens: Vec<(usize, Token)>, path: &str, tests: &mut BTreeSet<String>) -> Vec<(usize, Token)> {
    const CFG_TEST: [&str; 7] = ["#", "[", "cfg", "(", "test", ")", "]"];
    let says = |at: usize, what: &[&str]| {
        what.iter().zip(&tokens[at..]).filter(|(word, token)| token.1.is(word)).count() == what.len()
    };
    let mut kept = Vec::with_capacity(tokens.len());
    let mut at = 0;
    while at < tokens.len() {
        if !says(at, &CFG_TEST) {
            kept.push(tokens[at].clone());
            at += 1;
            continue;
        }
        let start = at;
        let mut depth = 0_usize;
        // The item ends with its block, or with the semicolon before any block; brackets of attributes are no block.
        while let Some((_, token)) = tokens.get(at) {
            at += 1;
            match token {
                Token::Punct('{' | '[' | '(') => depth += 1,
                Token::Punct(close @ ('}' | ']' | ')')) => {
                    depth = depth.saturating_sub(1);
                    if depth == 0 && *close == '}' {
                        break;
                    }
                }
                Token::Punct(';') if depth == 0 => break,
                _ => {}
            }
        }
        tests.extend(test_file(&tokens[start..at], path));
    }
    kept
}

/// The file of `#[cfg(test)] mod name;`, without `.rs`.
fn test_file(item: &[(usize, Token)], path: &str) -> Option<String> {
    let [.., (_, module), (_, Token::Ident(name)), (_, Token::Punct(';'))] = item else { return None };
    if !module.is("mod") {
        return None;
    }
    let folder = path.rsplit_once('/').map_or("", |(folder, _)| folder);
    let given = item.windows(3).find_map(|three| match three {
        [(_, word), (_, equals), (_, Token::Text(file))] if word.is("path") && equals.is("=") => {
            Some(file.trim_end_matches(".rs"))
        }
        _ => None,
    });
    let place = match given {
        Some(file) => format!("{folder}/{file}"),
        // The submodules of `a/b.rs` lie in `a/b`, those of `a/mod.rs` in `a`.
        None => [module_of(path).join("/").as_str(), name].join("/"),
    };
    Some(place.trim_start_matches('/').to_owned())
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Token {
    Ident(String),
    Text(String),
    /// `::`
    Sep,
    Punct(char),
}

impl Token {
    fn is(&self, word: &str) -> bool {
        match self {
            Self::Ident(ident) => ident == word,
            Self::Punct(punct) => word.chars().eq([*punct]),
            Self::Text(_) | Self::Sep => false,
        }
    }
}

/// The tokens that matter here, each with its line, counted from 1. Comments, characters and lifetimes are left out.
fn lex(text: &str) -> Vec<(usize, Token)> {
    let mut tokens = Vec::new();
    let (mut rest, mut line) = (text, 1);
    while let Some(first) = rest.chars().next() {
        let (length, token) = next_token(rest, first);
        tokens.extend(token.map(|token| (line, token)));
        line += rest[..length].matches('\n').count();
        rest = &rest[length..];
    }
    tokens
}

/// The bytes and, if it matters, the token at the beginning of `rest`.
fn next_token(rest: &str, first: char) -> (usize, Option<Token>) {
    if rest.starts_with("//") {
        return (rest.find('\n').unwrap_or(rest.len()), None);
    }
    if rest.starts_with("/*") {
        return (comment_length(rest), None);
    }
    if rest.starts_with("::") {
        return (2, Some(Token::Sep));
    }
    if let Some((open, close)) = string_ends(rest) {
        let inner = &rest[open..];
        let escapes = close == "\"" && !rest.starts_with('r') && !rest.starts_with("br");
        let end = string_length(inner, &close, escapes);
        let text = inner[..end.min(inner.len())].to_owned();
        return ((open + end + close.len()).min(rest.len()), Some(Token::Text(text)));
    }
    if first == '\'' {
        return (character_length(rest), None);
    }
    if first.is_alphanumeric() || first == '_' {
        let raw = if rest.starts_with("r#") { 2 } else { 0 };
        let word = &rest[raw..];
        let word = &word[..word.find(|c: char| !(c.is_alphanumeric() || c == '_')).unwrap_or(word.len())];
        let ident = (!first.is_numeric()).then(|| Token::Ident(word.to_owned()));
        return (raw + word.len(), ident);
    }
    (first.len_utf8(), (!first.is_whitespace()).then_some(Token::Punct(first)))
}

fn comment_length(rest: &str) -> usize {
    let mut depth = 0_usize;
    let mut at = 0;
    while at < rest.len() {
        let step = if rest[at..].starts_with("/*") {
            depth += 1;
            2
        } else if rest[at..].starts_with("*/") {
            depth -= 1;
            2
        } else {
            rest[at..].chars().next().map_or(1, char::len_utf8)
        };
        at += step;
        if depth == 0 {
            break;
        }
    }
    at
}

/// Where a string literal's text begins, and what ends it.
fn string_ends(rest: &str) -> Option<(usize, String)> {
    let prefix = ["br", "cr", "r", "b", "c", ""].into_iter().find(|prefix| {
        let after = rest.strip_prefix(prefix).unwrap_or_default();
        after.starts_with('"')
            || (prefix.contains('r') && after.trim_start_matches('#').starts_with('"') && after.starts_with('#'))
    })?;
    let hashes = rest[prefix.len()..].bytes().take_while(|byte| *byte == b'#').count();
    Some((prefix.len() + hashes + 1, format!("\"{}", "#".repeat(hashes))))
}

fn string_length(inner: &str, close: &str, escapes: bool) -> usize {
    let mut at = 0;
    while at < inner.len() && !inner[at..].starts_with(close) {
        let mut chars = inner[at..].chars();
        let first = chars.next().map_or(1, char::len_utf8);
        let second = chars.next().map_or(0, char::len_utf8);
        at += first + if escapes && inner[at..].starts_with('\\') { second } else { 0 };
    }
    at
}

/// A character literal as a whole; of a lifetime only the quote, for its name is no path.
fn character_length(rest: &str) -> usize {
    let mut chars = rest.char_indices().skip(1);
    match (chars.next(), chars.next()) {
        (Some((_, '\\')), Some((escaped, _))) => {
            let close = rest[escaped + 1..].find('\'').map_or(rest.len(), |close| escaped + 1 + close + 1);
            close.min(rest.len())
        }
        (Some(_), Some((at, '\''))) => at + 1,
        _ => 1,
    }
}
