//! What the sections of the configuration share. Each module owns the struct of its section; these are their common tools.
//!
//! The point: one way to say what is wrong, so that all problems are told at once, and secrets that cannot print.
use secrecy::SecretString;
use serde::{Serialize, Serializer};

/// Sentences about what is wrong. Each begins with the key it is about, relative to its section, and says what to do.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Problems(Vec<String>);

impl Problems {
    /// Adds `sentence` unless the condition holds.
    pub fn require(&mut self, holds: bool, sentence: &str) {
        if !holds {
            self.add(sentence);
        }
    }

    /// Adds a sentence, unless it is there already.
    pub fn add(&mut self, sentence: impl Into<String>) {
        let sentence = sentence.into();
        if !self.0.contains(&sentence) {
            self.0.push(sentence);
        }
    }

    /// Adds the problems of a subsection, each key prefixed with the subsection's name.
    pub fn nest(&mut self, section: &str, inner: impl IntoIterator<Item = String>) {
        self.0.extend(inner.into_iter().map(|sentence| format!("{section}.{sentence}")));
    }

    /// Whether nothing is wrong.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

impl IntoIterator for Problems {
    type Item = String;
    type IntoIter = std::vec::IntoIter<String>;

    fn into_iter(self) -> Self::IntoIter {
        self.0.into_iter()
    }
}

/// Serialises a secret as the fact that it is there.
pub fn redacted<S: Serializer>(secret: &Option<SecretString>, serializer: S) -> Result<S::Ok, S::Error> {
    secret.as_ref().map(|_| "[redacted]").serialize(serializer)
}

/// Whether `url` is an absolute http or https address.
pub fn is_http_url(url: &str) -> bool {
    url.parse::<http::Uri>().is_ok_and(|uri| matches!(uri.scheme_str(), Some("http" | "https")) && uri.host().is_some())
}

/// Whether `url` is an absolute https address.
pub fn is_https_url(url: &str) -> bool {
    is_http_url(url) && url.starts_with("https:")
}
