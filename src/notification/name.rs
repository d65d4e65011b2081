//! Names that strangers wrote, made fit for a sentence on a lock screen.
use std::borrow::Cow;

use unicode_segmentation::UnicodeSegmentation as _;

use crate::event::is_invisible;

/// Most graphemes (what a person calls a character) of a name: phones show about this many in two lines.
const NAME_GRAPHEMES_MAX: usize = 64;
/// Most bytes of a name: 64 characters of three bytes. Bounds names whose graphemes are long chains of marks, and with them every
/// payload.
pub const NAME_BYTES_MAX: usize = 192;
/// Shows that something was cut.
const ELLIPSIS: &str = "…";

/// A name without control and bidirectional characters and other invisible ones, on one line, cut at a grapheme.
/// Empty if it has no visible character.
pub fn clean(name: &str) -> Cow<'_, str> {
    let plain = name.len() <= NAME_GRAPHEMES_MAX && name.bytes().all(|byte| byte == b' ' || byte.is_ascii_graphic());
    if plain {
        return Cow::Borrowed(name.trim());
    }
    let mut cleaned = String::with_capacity(name.len());
    for c in name.chars() {
        match fate(c) {
            Fate::Kept => cleaned.push(c),
            Fate::Space if cleaned.ends_with(' ') => {}
            Fate::Space => cleaned.push(' '),
            Fate::Dropped => {}
        }
    }
    let trimmed = cleaned.trim();
    Cow::Owned(cut(trimmed, NAME_GRAPHEMES_MAX, NAME_BYTES_MAX).into_owned())
}

enum Fate {
    Kept,
    Space,
    Dropped,
}

/// Joiners (U+200C, U+200D) stay: scripts and emoji are made with them.
fn fate(c: char) -> Fate {
    match c {
        '\t' | '\n' | '\u{b}' | '\u{c}' | '\r' | '\u{85}' | '\u{2028}' | '\u{2029}' => Fate::Space,
        c if c.is_whitespace() => Fate::Space,
        c if c.is_control() => Fate::Dropped,
        c if is_invisible(c) => Fate::Dropped,
        _ => Fate::Kept,
    }
}

/// A text of at most so many graphemes and bytes, the ellipsis included that stands for what was cut. Never ends within a grapheme; a
/// first grapheme that is too long by itself leaves the ellipsis alone.
pub fn cut(text: &str, graphemes_max: usize, bytes_max: usize) -> Cow<'_, str> {
    if text.len() <= bytes_max && (text.len() <= graphemes_max || text.graphemes(true).count() <= graphemes_max) {
        return Cow::Borrowed(text);
    }
    let room = bytes_max.saturating_sub(ELLIPSIS.len());
    let kept = text.grapheme_indices(true).take(graphemes_max.saturating_sub(1));
    let end = kept.map(|(at, grapheme)| at + grapheme.len()).take_while(|end| *end <= room).last().unwrap_or(0);
    Cow::Owned(format!("{}{ELLIPSIS}", text[..end].trim_end()))
}
