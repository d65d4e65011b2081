//! The sentences, read from the Fluent files at load.
//!
//! The point: a pattern without a selector is only literals and slots, so it is compiled to that, and a push pays for copying bytes
//! and nothing else; patterns with selectors go through Fluent itself. Both give the same characters, isolation marks included (a
//! test compares all of them). It deliberately reads no file at run time: the texts are compiled in.
//! It fails at load only, naming the language and the message.
use std::borrow::Cow;
use std::collections::HashMap;

use fluent_bundle::concurrent::FluentBundle;
use fluent_bundle::{FluentArgs, FluentResource};
use fluent_syntax::ast::{Entry, Expression, InlineExpression, Pattern, PatternElement};

use super::{Locale, UNNAMED, messages, name};

/// A message that the code asks for, with the variables that it may use, in the order in which their values are given.
#[derive(Debug, Clone, Copy)]
pub(super) struct Message {
    id: &'static str,
    variables: &'static [&'static str],
}

impl Message {
    pub(super) const fn new(id: &'static str, variables: &'static [&'static str]) -> Self {
        Self { id, variables }
    }

    #[cfg(test)]
    pub(super) fn variables(self) -> &'static [&'static str] {
        self.variables
    }
}

/// Why the texts cannot be used.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum TextsError {
    /// The file is not Fluent.
    #[error("config/locales/{locale}.ftl: {why}")]
    Syntax {
        /// The language.
        locale: &'static str,
        /// What Fluent's parser says.
        why: String,
    },
    /// The file lacks a message.
    #[error("config/locales/{locale}.ftl has no message `{id}`")]
    Missing {
        /// The language.
        locale: &'static str,
        /// The message.
        id: &'static str,
    },
    /// Nothing asks for this message.
    #[error("config/locales/{locale}.ftl has a message `{id}` that nothing asks for")]
    Unasked {
        /// The language.
        locale: &'static str,
        /// The message.
        id: String,
    },
    /// A message uses a variable that it is not given.
    #[error("config/locales/{locale}.ftl: message `{id}` uses ${variable}, which it is not given")]
    Variable {
        /// The language.
        locale: &'static str,
        /// The message.
        id: &'static str,
        /// The variable.
        variable: String,
    },
}

/// The sentences of all languages.
pub struct Texts {
    /// By [`Locale::index`].
    locales: Vec<Language>,
}

struct Language {
    bundle: FluentBundle<FluentResource>,
    texts: HashMap<&'static str, Text>,
}

enum Text {
    Compiled(Box<[Piece]>),
    Fluent,
}

enum Piece {
    Literal(Box<str>),
    /// Position in [`Message::variables`].
    Slot(usize),
}

/// The sentences of one language.
#[derive(Clone, Copy)]
pub(super) struct Wording<'t>(&'t Language);

impl Texts {
    /// Reads the files that are compiled in.
    pub fn load() -> Result<Self, TextsError> {
        let languages = Locale::ALL.into_iter().map(|locale| Language::load(locale.tag(), locale.source()));
        Ok(Self { locales: languages.collect::<Result<_, _>>()? })
    }

    pub(super) fn wording(&self, locale: Locale) -> Wording<'_> {
        Wording(&self.locales[locale.index()])
    }
}

impl std::fmt::Debug for Texts {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Texts").field("locales", &Locale::ALL.map(Locale::tag)).finish()
    }
}

impl Language {
    pub(super) fn load(locale: &'static str, source: &str) -> Result<Self, TextsError> {
        let syntax = |why: String| TextsError::Syntax { locale, why };
        let parsed = FluentResource::try_new(source.to_owned());
        let resource = parsed.map_err(|(_, errors)| syntax(format!("{errors:?}")))?;
        for entry in resource.entries() {
            if let Entry::Message(found) = entry
                && !messages().any(|message| message.id == found.id.name)
            {
                return Err(TextsError::Unasked { locale, id: found.id.name.to_owned() });
            }
        }
        let tag = locale.parse().map_err(|error| syntax(format!("{error:?}")))?;
        let mut bundle = FluentBundle::new_concurrent(vec![tag]);
        bundle.add_resource(resource).map_err(|errors| syntax(format!("{errors:?}")))?;
        let mut texts = HashMap::new();
        for message in messages() {
            texts.insert(message.id, compile(&bundle, message, locale)?);
        }
        Ok(Self { bundle, texts })
    }

    fn fluent(&self, message: Message, values: &[&str]) -> String {
        let mut args = FluentArgs::with_capacity(values.len());
        for (variable, value) in message.variables.iter().zip(values) {
            args.set(*variable, *value);
        }
        let pattern = self.bundle.get_message(message.id).and_then(|found| found.value());
        // Whatever could be missing was refused at load.
        let mut errors = Vec::new();
        pattern.map_or_else(String::new, |pattern| {
            self.bundle.format_pattern(pattern, Some(&args), &mut errors).into_owned()
        })
    }
}

impl Wording<'_> {
    /// A message with the values of its variables, in their order.
    pub(super) fn text(self, message: Message, values: &[&str]) -> String {
        debug_assert_eq!(message.variables.len(), values.len(), "{}", message.id);
        match self.0.texts.get(message.id) {
            Some(Text::Compiled(pieces)) => fill(pieces, values),
            Some(Text::Fluent) | None => self.0.fluent(message, values),
        }
    }

    /// A stranger's name, cleaned; never empty.
    pub(super) fn name<'n>(self, name: &'n str) -> Cow<'n, str> {
        let cleaned = name::clean(name);
        if cleaned.is_empty() { Cow::Owned(self.text(UNNAMED, &[])) } else { cleaned }
    }

    #[cfg(test)]
    pub(super) fn by_fluent(self, message: Message, values: &[&str]) -> String {
        self.0.fluent(message, values)
    }

    #[cfg(test)]
    pub(super) fn is_compiled(self, message: Message) -> bool {
        matches!(self.0.texts.get(message.id), Some(Text::Compiled(_)))
    }
}

fn fill(pieces: &[Piece], values: &[&str]) -> String {
    let value = |slot: usize| values.get(slot).copied().unwrap_or_default();
    let length = pieces.iter().map(|piece| match piece {
        Piece::Literal(text) => text.len(),
        Piece::Slot(slot) => value(*slot).len(),
    });
    let mut filled = String::with_capacity(length.sum());
    for piece in pieces {
        filled.push_str(match piece {
            Piece::Literal(text) => text,
            Piece::Slot(slot) => value(*slot),
        });
    }
    filled
}

fn compile(bundle: &FluentBundle<FluentResource>, message: Message, locale: &'static str) -> Result<Text, TextsError> {
    let id = message.id;
    let found = bundle.get_message(id).ok_or(TextsError::Missing { locale, id })?;
    let pattern = found.value().ok_or(TextsError::Missing { locale, id })?;
    let mut used = Vec::new();
    collect_variables(pattern, &mut used);
    if let Some(variable) = used.into_iter().find(|variable| !message.variables.contains(variable)) {
        return Err(TextsError::Variable { locale, id, variable: variable.to_owned() });
    }
    Ok(compile_pattern(pattern, message).map_or(Text::Fluent, |pieces| Text::Compiled(pieces.into())))
}

/// First strong isolate and pop directional isolate: Fluent puts them around a variable, unless the variable is the whole pattern.
const ISOLATES: [&str; 2] = ["\u{2068}", "\u{2069}"];

/// The pattern as literals and slots; `None` where it has anything that only Fluent can resolve.
fn compile_pattern(pattern: &Pattern<&str>, message: Message) -> Option<Vec<Piece>> {
    let [before, after] = if pattern.elements.len() > 1 { ISOLATES } else { ["", ""] };
    let mut pieces = Vec::new();
    let mut literal = String::new();
    for element in &pattern.elements {
        match element {
            PatternElement::TextElement { value } => literal.push_str(value),
            PatternElement::Placeable {
                expression: Expression::Inline(InlineExpression::VariableReference { id }),
            } => {
                let slot = message.variables.iter().position(|variable| *variable == id.name)?;
                literal.push_str(before);
                pieces.push(Piece::Literal(std::mem::take(&mut literal).into()));
                pieces.push(Piece::Slot(slot));
                literal.push_str(after);
            }
            PatternElement::Placeable { expression: Expression::Inline(_) | Expression::Select { .. } } => return None,
        }
    }
    pieces.push(Piece::Literal(literal.into()));
    Some(pieces)
}

fn collect_variables<'p>(pattern: &Pattern<&'p str>, used: &mut Vec<&'p str>) {
    for element in &pattern.elements {
        match element {
            PatternElement::TextElement { .. } => {}
            PatternElement::Placeable { expression: Expression::Inline(inline) } => collect_inline(inline, used),
            PatternElement::Placeable { expression: Expression::Select { selector, variants } } => {
                collect_inline(selector, used);
                for variant in variants {
                    collect_variables(&variant.value, used);
                }
            }
        }
    }
}

fn collect_inline<'p>(inline: &InlineExpression<&'p str>, used: &mut Vec<&'p str>) {
    if let InlineExpression::VariableReference { id } = inline {
        used.push(id.name);
    }
}

#[cfg(test)]
pub(super) fn load_source(locale: &'static str, source: &str) -> Result<(), TextsError> {
    Language::load(locale, source).map(|_| ())
}
