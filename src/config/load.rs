//! Puts the layers together and finds everything that is wrong at once.
use std::fmt;
use std::path::Path;

use figment::providers::{Format, Toml};
use figment::value::{Dict, Map, Tag, Value};
use figment::{Error, Figment, Metadata, Profile, Provider};

use super::mend::{self, StandIns};
use super::{Config, words};

/// The compiled-in defaults, which are also the reference of all keys.
pub const DEFAULTS: &str = include_str!("../../config/default.toml");

/// The prefix of the environment's variables. Those of the tests' services share it, without a section.
const PREFIX: &str = "WATCHBELL_";

/// One thing that is wrong with the configuration.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Problem {
    /// What is wrong and what to do; begins with the key.
    pub sentence: String,
    /// Where the value came from, if it did not come from the defaults.
    pub source: Option<String>,
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.source {
            Some(source) => write!(f, "{} [{source}]", self.sentence),
            None => write!(f, "{}", self.sentence),
        }
    }
}

/// Everything that is wrong with the configuration: at least one thing.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub struct Problems(pub Vec<Problem>);

impl fmt::Display for Problems {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let count = self.0.len();
        writeln!(f, "the configuration has {count} problem{}:", if count == 1 { "" } else { "s" })?;
        self.0.iter().try_for_each(|problem| writeln!(f, "  - {}", problem.to_string().replace('\n', "\n    ")))
    }
}

impl Config {
    /// The defaults, `file` and the variables of `environment`, checked for what every command needs.
    pub fn load(
        file: Option<&Path>,
        environment: impl IntoIterator<Item = (String, String)>,
    ) -> Result<Self, Problems> {
        load(file, environment.into_iter().collect(), |_, _| crate::settings::Problems::default())
    }

    /// Like [`Config::load`], checked for what the worker needs too.
    pub fn load_for_worker(
        file: Option<&Path>,
        environment: impl IntoIterator<Item = (String, String)>,
    ) -> Result<Self, Problems> {
        load(file, environment.into_iter().collect(), Self::worker_problems)
    }

    /// Like [`Config::load`], checked for what the API needs too.
    pub fn load_for_api(
        file: Option<&Path>,
        environment: impl IntoIterator<Item = (String, String)>,
    ) -> Result<Self, Problems> {
        load(file, environment.into_iter().collect(), Self::api_problems)
    }
}

fn load(
    file: Option<&Path>,
    environment: Vec<(String, String)>,
    more: impl Fn(&Config, &StandIns) -> crate::settings::Problems,
) -> Result<Config, Problems> {
    let mut found = Found::default();
    let environment = Environment::of(environment, &mut found);
    let file = file.map(File::read).transpose();
    let layers = match &file {
        Ok(Some(file)) => Figment::from(Defaults).merge(file).merge(environment),
        Ok(None) => Figment::from(Defaults).merge(environment),
        Err(sentence) => {
            // Without the file nothing more can be said: what is missing may stand in it.
            found.add(sentence.clone(), None);
            return Err(Problems(found.0));
        }
    };
    let Some((mut config, stand_ins)) = mend::extract_whole(&layers, &mut found) else {
        return Err(Problems(found.0));
    };
    let is_default = |key: &str| source(&layers, key).is_none();
    let sentences = config.read_secrets(is_default).into_iter();
    for sentence in sentences.chain(config.file_problems()).chain(config.problems(&stand_ins)) {
        let key = key_of(&sentence);
        // Of a secret whose file cannot be read nothing more is known.
        let unread = found.tells_of(&format!("{key}_file"));
        if !unread && !stand_ins.holds(key) && !compares(key, &sentence, &stand_ins) {
            let source = source(&layers, key);
            found.add(sentence, source);
        }
    }
    // Who looks into files and behind URLs is not asked about what is known to be wrong: it could only say so once more.
    for sentence in more(&config, &stand_ins) {
        let key = key_of(&sentence);
        let own = key.strip_suffix("_file").unwrap_or(key);
        if !stand_ins.holds(key) && !stand_ins.holds(own) && !found.tells_of(key) {
            let source = source(&layers, key);
            found.add(sentence, source);
        }
    }
    if found.0.is_empty() { Ok(config) } else { Err(Problems(found.0)) }
}

/// Whether a sentence compares `key` with a value that nobody wrote. A contradiction names the other key, as it is called in one of the
/// sections around the first: it is told once both are readable.
fn compares(key: &str, sentence: &str, stand_ins: &StandIns) -> bool {
    let sections = key.match_indices('.').map(|(end, _)| &key[..end]);
    let is_name = |letter: char| letter.is_ascii_alphanumeric() || matches!(letter, '_' | '.');
    let names = sentence[key.len()..].split(|letter| !is_name(letter)).filter(|name| !name.is_empty());
    let names: Vec<_> = names.map(|name| name.trim_matches('.')).collect();
    sections.into_iter().any(|section| names.iter().any(|name| stand_ins.holds(&format!("{section}.{name}"))))
}

/// The key that a sentence is about: it begins with it.
fn key_of(sentence: &str) -> &str {
    sentence.split([' ', ':']).next().unwrap_or_default()
}

/// What was found to be wrong so far.
#[derive(Default)]
pub(super) struct Found(Vec<Problem>);

impl Found {
    pub(super) fn add(&mut self, sentence: String, source: Option<String>) {
        self.0.push(Problem { sentence, source });
    }

    fn tells_of(&self, key: &str) -> bool {
        self.0.iter().any(|problem| key_of(&problem.sentence) == key)
    }
}

/// Where the value of a key came from; `None` for the defaults. A key that is missing comes from the file that has its section.
pub(super) fn source(layers: &Figment, key: &str) -> Option<String> {
    let Some(metadata) = layers.find_metadata(key).or_else(|| of_dotted(layers, key)) else {
        let section = layers.find_metadata(key.rsplit_once('.')?.0)?;
        return (!OWN_LAYERS.contains(&section.name.as_ref())).then(|| section.name.to_string());
    };
    match metadata.name.as_ref() {
        DEFAULTS_LAYER => None,
        ENVIRONMENT_LAYER => Some(format!("{PREFIX}{}", key.replace('.', "__").to_uppercase())),
        file => Some(file.to_owned()),
    }
}

/// The layer of a key whose own name has dots, as those of librdkafka's properties.
fn of_dotted<'a>(layers: &'a Figment, key: &str) -> Option<&'a Metadata> {
    let places = key.match_indices('.').map(|(at, _)| (&key[..at], &key[at + 1..]));
    let mut values = places.filter_map(|(section, name)| layers.find_value(section).ok()?.into_dict()?.remove(name));
    layers.get_metadata(values.next()?.tag())
}

const DEFAULTS_LAYER: &str = "defaults";
const ENVIRONMENT_LAYER: &str = "environment";
/// The layers that are no file.
const OWN_LAYERS: [&str; 2] = [DEFAULTS_LAYER, ENVIRONMENT_LAYER];

pub(super) struct Defaults;

impl Provider for Defaults {
    fn metadata(&self) -> Metadata {
        Metadata::named(DEFAULTS_LAYER)
    }

    fn data(&self) -> Result<Map<Profile, Dict>, Error> {
        Toml::string(DEFAULTS).data()
    }
}

/// The operator's file, which is TOML.
struct File {
    path: String,
    values: Map<Profile, Dict>,
}

impl File {
    fn read(path: &Path) -> Result<Self, String> {
        let name = path.display().to_string();
        let text = std::fs::read_to_string(path).map_err(|error| format!("{name}: cannot be read: {error}"))?;
        match Toml::string(&text).data() {
            Ok(values) => Ok(Self { path: name, values }),
            Err(error) => Err(format!("{name}: {}", words::of_syntax(&error.kind.to_string()))),
        }
    }
}

impl Provider for &File {
    fn metadata(&self) -> Metadata {
        Metadata::named(self.path.clone())
    }

    fn data(&self) -> Result<Map<Profile, Dict>, Error> {
        Ok(self.values.clone())
    }
}

/// The variables `WATCHBELL_<SECTION>__<KEY>`. A value is text and becomes what its key is; in brackets it is a list.
struct Environment(Dict);

impl Environment {
    fn of(variables: Vec<(String, String)>, found: &mut Found) -> Self {
        let mut dict = Dict::new();
        for (name, value) in variables {
            let Some(key) = name.strip_prefix(PREFIX) else { continue };
            let key = key.to_lowercase();
            let path: Vec<String> = key.split("__").map(str::to_owned).collect();
            if path.len() > 1 {
                insert(&mut dict, &path, &value);
            } else if SECTIONS.iter().any(|section| key.starts_with(&format!("{section}_"))) {
                // Anything else without a section is somebody else's, such as the variables that Kubernetes sets for a service.
                found.add(format!("{name} would be a key without a section; put two underscores between them"), None);
            }
        }
        Self(dict)
    }
}

/// The sections of [`Config`].
pub(super) const SECTIONS: [&str; 16] = [
    "kafka",
    "topics",
    "in_flight",
    "fanout",
    "policy",
    "guard",
    "provider",
    "retry",
    "hold",
    "dead_tokens",
    "auth",
    "api",
    "worker",
    "telemetry",
    "apns",
    "fcm",
];

fn insert(dict: &mut Dict, path: &[String], text: &str) {
    match path {
        [] => {}
        [last] => {
            let list = text.starts_with('[').then(|| text.parse::<Value>().ok()).flatten();
            dict.insert(last.clone(), list.unwrap_or_else(|| Value::String(Tag::Default, text.to_owned())));
        }
        [first, rest @ ..] => {
            let inner = dict.entry(first.clone()).or_insert_with(|| Value::Dict(Tag::Default, Dict::new()));
            if let Value::Dict(_, inner) = inner {
                insert(inner, rest, text);
            }
        }
    }
}

impl Provider for Environment {
    fn metadata(&self) -> Metadata {
        Metadata::named(ENVIRONMENT_LAYER)
    }

    fn data(&self) -> Result<Map<Profile, Dict>, Error> {
        Ok(Map::from([(Profile::Default, self.0.clone())]))
    }
}

#[cfg(test)]
#[path = "load_tests.rs"]
mod tests;
