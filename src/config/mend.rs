//! Finds every wrong or missing key at once, by going on with something in its place.
use std::collections::BTreeSet;

use figment::error::Kind;
use figment::providers::{Format, Toml};
use figment::value::{Dict, Map, Value};
use figment::{Error, Figment, Metadata, Profile, Provider};

use super::load::{DEFAULTS, Defaults, Found, source};
use super::{Config, words};

/// The keys whose values are not the operator's: something stands in for what was wrong, missing or no key at all.
#[derive(Debug, Default)]
pub(super) struct StandIns(BTreeSet<String>);

impl StandIns {
    /// Whether `key` is one of them, or in a section that is one.
    pub(super) fn holds(&self, key: &str) -> bool {
        self.0.iter().any(|own| lies_within(key, own))
    }

    /// Whether one of them is `section` or lies in it.
    pub(super) fn touch(&self, section: &str) -> bool {
        self.0.iter().any(|own| lies_within(own, section))
    }
}

/// Whether `key` is `section` or one of its keys.
fn lies_within(key: &str, section: &str) -> bool {
    key.strip_prefix(section).is_some_and(|rest| rest.is_empty() || rest.starts_with('.'))
}

/// Extracts the configuration, mending one error after another, so that all are found: the default or the documented example in place
/// of what is wrong or missing, nothing in place of what is no key. `None` if something cannot be mended.
pub(super) fn extract_whole(layers: &Figment, found: &mut Found) -> Option<(Config, StandIns)> {
    let mut merged: Dict = layers.extract().ok()?;
    let defaults: Dict = Figment::from(Defaults).extract().ok()?;
    let examples: Dict = Figment::from(Toml::string(&uncommented(DEFAULTS))).extract().ok()?;
    let mut stand_ins = StandIns::default();
    loop {
        let error = match Figment::from(Mended(&merged)).extract_lossy::<Config>() {
            Ok(config) => return Some((config, stand_ins)),
            Err(error) => error,
        };
        let bad = place(&error);
        let key = bad.join(".");
        found.add(words::of_error(&key, &error.kind), source(layers, &key));
        let value = look_up(&defaults, &bad).or_else(|| look_up(&examples, &documented(&bad)));
        let mended = match value.filter(|value| look_up(&merged, &bad) != Some(value)) {
            Some(value) if replace(&mut merged, &bad, Some(value.clone())) => bad,
            // What is in a list, or no key: the list goes, or the key.
            _ => (1..=bad.len())
                .rev()
                .map(|length| bad[..length].to_vec())
                .find(|path| replace(&mut merged, path, None))?,
        };
        stand_ins.0.insert(mended.join("."));
    }
}

/// The path of what is wrong.
fn place(error: &Error) -> Vec<String> {
    let mut path = error.path.clone();
    match &error.kind {
        Kind::UnknownField(name, _) if path.last() != Some(name) => path.push(name.clone()),
        Kind::MissingField(name) => path.push(name.to_string()),
        _ => {}
    }
    path
}

/// Where the documentation describes a key: every credential has the keys of the one called `main`.
fn documented(path: &[String]) -> Vec<String> {
    match path {
        [kind, _, key] if matches!(kind.as_str(), "apns" | "fcm") => vec![kind.clone(), "main".to_owned(), key.clone()],
        path => path.to_vec(),
    }
}

/// The defaults with the keys that have none: a line that begins with `#` and no space is a key with an example.
pub(super) fn uncommented(defaults: &str) -> String {
    let key = |line: &str| line.strip_prefix('#').filter(|key| !key.starts_with(' ')).unwrap_or(line).to_owned() + "\n";
    defaults.lines().map(key).collect()
}

fn look_up<'a>(dict: &'a Dict, path: &[String]) -> Option<&'a Value> {
    let (first, rest) = path.split_first()?;
    match (dict.get(first)?, rest) {
        (value, []) => Some(value),
        (Value::Dict(_, inner), rest) => look_up(inner, rest),
        _ => None,
    }
}

/// Puts `value` at `path`, or takes away what is there; false if there is no such place.
fn replace(dict: &mut Dict, path: &[String], value: Option<Value>) -> bool {
    match path {
        [] => false,
        [last] => match value {
            Some(value) => {
                dict.insert(last.clone(), value);
                true
            }
            None => dict.remove(last).is_some(),
        },
        [first, rest @ ..] => match dict.get_mut(first) {
            Some(Value::Dict(_, inner)) => replace(inner, rest, value),
            _ => false,
        },
    }
}

struct Mended<'a>(&'a Dict);

impl Provider for Mended<'_> {
    fn metadata(&self) -> Metadata {
        Metadata::default()
    }

    fn data(&self) -> Result<Map<Profile, Dict>, Error> {
        Ok(Map::from([(Profile::Default, self.0.clone())]))
    }
}
