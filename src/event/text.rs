//! Characters of strangers' text that nobody sees and that change what is seen.
//!
//! The point: one list for whoever drops them (texts on a lock screen) and whoever refuses them (names of devices). It deliberately leaves the
//! joiners (U+200C, U+200D) alone: scripts and emoji are made with them. Control characters and spaces are [`char`]'s own to tell.

/// Whether it is invisible and not a joiner.
pub const fn is_invisible(c: char) -> bool {
    matches!(
        c,
        // Bidirectional marks, embeddings, overrides and isolates (Unicode Standard Annex 9 §2).
        '\u{61c}' | '\u{200e}' | '\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}'
        // Soft hyphen, zero-width space, word joiner and the deprecated format characters, byte order mark, annotations.
        | '\u{ad}' | '\u{200b}' | '\u{2060}'..='\u{2065}' | '\u{206a}'..='\u{206f}' | '\u{feff}' | '\u{fff9}'..='\u{fffb}'
    )
}
