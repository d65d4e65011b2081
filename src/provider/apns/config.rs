//! Section `[apns.<name>]`: one credential of Apple's push service. Its name, `apns.<name>`, appears in logs, metrics and in the name
//! of the topic in which its jobs wait while it is broken.
use std::path::PathBuf;

use secrecy::SecretString;
use serde::{Deserialize, Serialize};

use crate::policy::Environment;
use crate::provider::http2::check_base_url;
use crate::settings::{Problems, redacted};

/// Section `[apns.<name>]`.
#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct ApnsConfig {
    /// The ten characters of the team.
    pub team_id: String,
    /// The ten characters of the signing key.
    pub key_id: String,
    /// The signing key: the text of Apple's `.p8` file (PKCS#8, P-256).
    #[serde(serialize_with = "redacted")]
    pub key: Option<SecretString>,
    /// Apple's `.p8` file.
    pub key_file: Option<PathBuf>,
    /// Bundle ids of the apps it serves.
    pub apps: Vec<String>,
    /// Which of Apple's two worlds the apps' tokens belong to.
    pub environment: Environment,
    /// Another address than Apple's, for simulators and proxies: `https://host:port`.
    pub base_url: Option<String>,
    /// PEM file of the authorities to trust instead of the system's.
    pub ca_file: Option<PathBuf>,
}

impl ApnsConfig {
    /// Everything that contradicts itself or cannot work.
    pub fn problems(&self) -> Problems {
        let mut problems = Problems::default();
        let is_id = |id: &str| id.len() == 10 && id.bytes().all(|byte| byte.is_ascii_alphanumeric());
        problems.require(is_id(&self.team_id), "team_id must be the ten characters that Apple shows for the team");
        problems.require(is_id(&self.key_id), "key_id must be the ten characters that Apple shows for the key");
        problems.require(self.key.is_some(), "key_file is missing: the path of the .p8 file from Apple");
        problems.require(!self.apps.is_empty(), "apps is empty: list the bundle ids that it serves");
        if let Some(Err(error)) = self.base_url.as_deref().map(check_base_url) {
            problems.add(format!("base_url: {error}"));
        }
        problems
    }
}
