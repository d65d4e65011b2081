//! Section `[fcm.<name>]`: one Firebase project. Its name, `fcm.<name>`, appears in logs, metrics and in the name of the topic in which
//! its jobs wait while it is broken.
use std::path::PathBuf;

use secrecy::SecretString;
use serde::{Deserialize, Serialize};

use crate::provider::http2::check_base_url;
use crate::settings::{Problems, is_http_url, redacted};

/// Section `[fcm.<name>]`.
#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct FcmConfig {
    /// The service account: the text of the JSON file that Google Cloud gives. It names the project and the token endpoint.
    #[serde(serialize_with = "redacted")]
    pub service_account: Option<SecretString>,
    /// The JSON file that Google Cloud gives.
    pub service_account_file: Option<PathBuf>,
    /// Package names of the apps it serves.
    pub apps: Vec<String>,
    /// Another address than Google's, for simulators and proxies: `https://host:port`.
    pub base_url: Option<String>,
    /// Another token endpoint than the service account's `token_uri`.
    pub token_url: Option<String>,
    /// PEM file of the authorities to trust instead of the system's.
    pub ca_file: Option<PathBuf>,
}

impl FcmConfig {
    /// Everything that contradicts itself or cannot work.
    pub fn problems(&self) -> Problems {
        let mut problems = Problems::default();
        problems.require(
            self.service_account.is_some(),
            "service_account_file is missing: the path of the JSON file from Google Cloud",
        );
        problems.require(!self.apps.is_empty(), "apps is empty: list the package names that it serves");
        if let Some(Err(error)) = self.base_url.as_deref().map(check_base_url) {
            problems.add(format!("base_url: {error}"));
        }
        problems.require(
            self.token_url.as_deref().is_none_or(is_http_url),
            "token_url must begin with https:// (or http:// for a simulator)",
        );
        problems
    }
}
