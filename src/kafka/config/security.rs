//! Section `[kafka.security]`: TLS and SASL towards the brokers.
use std::path::PathBuf;

use secrecy::SecretString;
use serde::{Deserialize, Serialize};

use crate::settings::{Problems, is_http_url, redacted};

/// Section `[kafka.security]`.
#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct SecurityConfig {
    /// What is spoken on the wire.
    pub protocol: SecurityProtocol,
    /// PEM file of the authorities that sign the brokers' certificates; without it, those of the system.
    pub ca_file: Option<PathBuf>,
    /// PEM file of the client's certificate, if the brokers ask for one.
    pub certificate_file: Option<PathBuf>,
    /// PEM file of that certificate's key.
    pub key_file: Option<PathBuf>,
    /// How the client proves who it is; needed by the two `sasl_` protocols.
    pub sasl_mechanism: Option<SaslMechanism>,
    /// PLAIN and SCRAM: the user.
    pub username: Option<String>,
    /// PLAIN and SCRAM: the password.
    #[serde(serialize_with = "redacted")]
    pub password: Option<SecretString>,
    /// File of the password.
    pub password_file: Option<PathBuf>,
    /// OAUTHBEARER: the endpoint that gives a token for client credentials (RFC 6749, 4.4).
    pub token_url: Option<String>,
    /// OAUTHBEARER: the client's id.
    pub client_id: Option<String>,
    /// OAUTHBEARER: the client's secret.
    #[serde(serialize_with = "redacted")]
    pub client_secret: Option<SecretString>,
    /// File of the client's secret.
    pub client_secret_file: Option<PathBuf>,
    /// OAUTHBEARER: the scope to ask for, if any.
    pub scope: Option<String>,
}

/// `kafka.security.protocol`, in librdkafka's words.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum SecurityProtocol {
    /// Nothing.
    Plaintext,
    /// TLS.
    Ssl,
    /// SASL without TLS.
    SaslPlaintext,
    /// SASL over TLS.
    SaslSsl,
}

/// `kafka.security.sasl_mechanism`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum SaslMechanism {
    /// RFC 4616.
    Plain,
    /// RFC 7677.
    #[serde(rename = "scram_sha_256")]
    ScramSha256,
    /// SCRAM with SHA-512.
    #[serde(rename = "scram_sha_512")]
    ScramSha512,
    /// RFC 7628, with a token by OIDC client credentials.
    Oauthbearer,
}

impl SecurityProtocol {
    /// librdkafka's name.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Plaintext => "plaintext",
            Self::Ssl => "ssl",
            Self::SaslPlaintext => "sasl_plaintext",
            Self::SaslSsl => "sasl_ssl",
        }
    }

    const fn has_tls(self) -> bool {
        matches!(self, Self::Ssl | Self::SaslSsl)
    }

    const fn has_sasl(self) -> bool {
        matches!(self, Self::SaslPlaintext | Self::SaslSsl)
    }
}

impl SaslMechanism {
    /// librdkafka's name.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Plain => "PLAIN",
            Self::ScramSha256 => "SCRAM-SHA-256",
            Self::ScramSha512 => "SCRAM-SHA-512",
            Self::Oauthbearer => "OAUTHBEARER",
        }
    }
}

impl SecurityConfig {
    pub(super) fn problems(&self) -> Problems {
        let mut problems = Problems::default();
        let (tls, sasl) = (self.protocol.has_tls(), self.protocol.has_sasl());
        problems.require(tls || self.ca_file.is_none(), "ca_file needs protocol \"ssl\" or \"sasl_ssl\"");
        problems
            .require(tls || self.certificate_file.is_none(), "certificate_file needs protocol \"ssl\" or \"sasl_ssl\"");
        problems.require(
            self.certificate_file.is_some() == self.key_file.is_some(),
            "certificate_file and key_file belong together: set both or none",
        );
        problems.require(
            sasl == self.sasl_mechanism.is_some(),
            "sasl_mechanism belongs to protocol \"sasl_ssl\" or \"sasl_plaintext\": set both or none",
        );
        match self.sasl_mechanism {
            Some(SaslMechanism::Plain | SaslMechanism::ScramSha256 | SaslMechanism::ScramSha512) => {
                problems.require(self.username.is_some(), "username is missing: this sasl_mechanism needs it");
                problems
                    .require(self.password.is_some(), "password_file is missing: this sasl_mechanism needs a password");
            }
            Some(SaslMechanism::Oauthbearer) => {
                problems.require(self.client_id.is_some(), "client_id is missing: OAUTHBEARER needs it");
                problems.require(
                    self.client_secret.is_some(),
                    "client_secret_file is missing: OAUTHBEARER needs the client_secret",
                );
                let url = self.token_url.as_deref().unwrap_or_default();
                problems.require(is_http_url(url), "token_url must be the http(s) address of the token endpoint");
            }
            None => {}
        }
        problems
    }
}
