//! What a wrong configuration is told, in the words of those who operate it, not of those who wrote it.
use figment::error::{Actual, Kind};

/// Keys whose values never print.
const SECRETS: [&str; 9] =
    ["password", "client_secret", "store_url", "redis_url", "key", "service_account", "secret", "pem", "passphrase"];

/// The sentence about what is wrong with a key.
pub(super) fn of_error(key: &str, kind: &Kind) -> String {
    match kind {
        Kind::UnknownField(_, known) => {
            format!("{key} is not a key of this configuration; known here: {}", known.join(", "))
        }
        Kind::MissingField(_) => format!("{key} is missing; config/default.toml tells what belongs there"),
        Kind::UnknownVariant(value, known) => format!("{key} must be one of {}; it is {value:?}", known.join(", ")),
        Kind::InvalidType(actual, expected) | Kind::InvalidValue(actual, expected) => {
            format!("{key} must be {}; it is {}", wanted(key, expected), given(actual, expected))
        }
        Kind::Message(text) if text.contains("untagged") => {
            format!("{key} must be text in quotes, a number, or true or false")
        }
        kind => format!("{key}: {kind}"),
    }
}

/// serde's name of a type, as what to write.
fn wanted(key: &str, expected: &str) -> String {
    let whole = |largest: u64| format!("a whole number from 0 to {largest}");
    match expected {
        "u8" => whole(u8::MAX.into()),
        "u16" => whole(u16::MAX.into()),
        "u32" => whole(u32::MAX.into()),
        "u64" | "usize" => "a whole number, 0 or more".to_owned(),
        "i32" | "i64" => "a whole number".to_owned(),
        "f32" | "f64" => "a number".to_owned(),
        "a boolean" => "true or false".to_owned(),
        "a string" | "path string" => "text in quotes".to_owned(),
        "a sequence" => r#"a list such as ["a", "b"]"#.to_owned(),
        "a map" => format!("a section: its keys stand below [{key}]"),
        text if text.starts_with("struct ") => format!("a section: its keys stand below [{key}]"),
        text if text.starts_with("enum") || text.starts_with("variant ") => {
            "one of its words, in quotes, which config/default.toml lists".to_owned()
        }
        text => text.to_owned(),
    }
}

/// What stands there instead. Where text belongs there may be a secret, so its value stays out.
fn given(actual: &Actual, expected: &str) -> String {
    let secret = matches!(expected, "a string" | "path string");
    match actual {
        Actual::Bool(_) | Actual::Unsigned(_) | Actual::Signed(_) | Actual::Float(_) if secret => {
            "something without quotes".to_owned()
        }
        Actual::Bool(value) => value.to_string(),
        Actual::Unsigned(value) => value.to_string(),
        Actual::Signed(value) => value.to_string(),
        Actual::Float(value) => value.to_string(),
        Actual::Str(text) => format!("{text:?}"),
        Actual::Seq => "a list".to_owned(),
        Actual::Map => "a section".to_owned(),
        other => other.to_string(),
    }
}

/// A TOML parser's message, whose lines draw the place of the mistake, without the secrets that stand there.
pub(super) fn of_syntax(message: &str) -> String {
    message.trim_end().lines().map(without_secrets).collect::<Vec<_>>().join("\n")
}

fn without_secrets(line: &str) -> String {
    let is_name = |letter: char| letter.is_ascii_alphanumeric() || letter == '_';
    let secret = line.match_indices('=').find(|(at, _)| {
        let name = line[..*at].trim_end().trim_end_matches(['"', '\'']);
        SECRETS.contains(&name.rsplit(|letter| !is_name(letter)).next().unwrap_or_default())
    });
    secret.map_or_else(|| line.to_owned(), |(at, _)| format!("{}= …", &line[..at]))
}
