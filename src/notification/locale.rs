//! The languages that there are texts for, and which of them a phone gets.

/// A language with a file in `config/locales`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Locale {
    /// What everybody else gets.
    EnUs,
    /// Spanish.
    Es,
    /// German.
    De,
    /// Japanese.
    Ja,
}

impl Locale {
    /// How many there are: the length of an array indexed by [`Self::index`].
    pub const COUNT: usize = 4;

    /// All of them, in the order of [`Self::index`].
    pub const ALL: [Self; Self::COUNT] = [Self::EnUs, Self::Es, Self::De, Self::Ja];

    /// Position in arrays kept by locale.
    pub const fn index(self) -> usize {
        self as usize
    }

    /// Its BCP 47 tag: the file's name.
    pub const fn tag(self) -> &'static str {
        match self {
            Self::EnUs => "en-US",
            Self::Es => "es",
            Self::De => "de",
            Self::Ja => "ja",
        }
    }

    /// The file's text, compiled in.
    pub(super) const fn source(self) -> &'static str {
        match self {
            Self::EnUs => include_str!("../../config/locales/en-US.ftl"),
            Self::Es => include_str!("../../config/locales/es.ftl"),
            Self::De => include_str!("../../config/locales/de.ftl"),
            Self::Ja => include_str!("../../config/locales/ja.ftl"),
        }
    }

    /// The locale for a phone's language tag, whatever it is. In this order: the exact tag; the tag with subtags taken off its end
    /// (RFC 4647 §3.4), down to the language; the language in its likely region, which is the region that we have it in; en-US.
    /// Takes `_` for `-` and ignores case and a POSIX suffix, because phones and backends write `de_AT` and `ja_JP.UTF-8` too.
    pub fn resolve(tag: &str) -> Self {
        let end = tag.find(['.', '@']).unwrap_or(tag.len());
        let mut rest = &tag[..end];
        loop {
            if let Some(exact) = Self::ALL.into_iter().find(|locale| same(locale.tag(), rest)) {
                return exact;
            }
            let Some(shorter) = rest.rfind(['-', '_']) else { break };
            rest = &rest[..shorter];
        }
        Self::ALL.into_iter().find(|locale| same(language(locale.tag()), rest)).unwrap_or(Self::EnUs)
    }
}

fn language(tag: &str) -> &str {
    tag.split('-').next().unwrap_or(tag)
}

fn same(ours: &str, theirs: &str) -> bool {
    let like = |(a, b): (u8, u8)| a.eq_ignore_ascii_case(&b) || (a == b'-' && b == b'_');
    ours.len() == theirs.len() && ours.bytes().zip(theirs.bytes()).all(like)
}
