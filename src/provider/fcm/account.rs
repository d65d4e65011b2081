//! The service account: who we are to Google, and the assertion by which we ask for access tokens.
use jsonwebtoken::{Algorithm, EncodingKey, Header, encode};
use secrecy::{ExposeSecret as _, SecretString};
use serde::{Deserialize, Serialize};

use crate::event::Timestamp;

/// The least that sending needs (FCM REST v1, `projects.messages.send`).
const SCOPE: &str = "https://www.googleapis.com/auth/firebase.messaging";
/// Longest life of an assertion, in seconds (Google Identity, "Using OAuth 2.0 for server to server applications").
const ASSERTION_SECS: i64 = 3600;

/// The account, its key ready to sign.
pub(super) struct Account {
    pub(super) project_id: String,
    pub(super) token_url: String,
    client_email: String,
    private_key_id: String,
    key: EncodingKey,
}

/// The parts of Google's file that are used.
#[derive(Deserialize)]
struct File {
    #[serde(rename = "type")]
    kind: String,
    project_id: String,
    private_key_id: String,
    private_key: SecretString,
    client_email: String,
    token_uri: String,
}

#[derive(Serialize)]
struct Claims<'a> {
    iss: &'a str,
    scope: &'a str,
    aud: &'a str,
    iat: i64,
    exp: i64,
}

impl Account {
    /// Reads the text of the JSON file; `token_url` replaces the file's `token_uri`. The error is a sentence without a secret.
    pub(super) fn new(file: &SecretString, token_url: Option<&str>) -> Result<Self, String> {
        let advice = "take the JSON key file of a service account as Google Cloud gives it";
        let file: File = serde_json::from_str(file.expose_secret())
            // serde_json quotes what it found, which may be the key; the position is enough.
            .map_err(|error| format!("is no service account (line {}); {advice}", error.line()))?;
        if file.kind != "service_account" {
            return Err(format!("is not of type service_account; {advice}"));
        }
        let is_path_segment = |byte: u8| byte.is_ascii_alphanumeric() || b"-_.:".contains(&byte);
        if file.project_id.is_empty() || !file.project_id.bytes().all(is_path_segment) {
            return Err(format!("has a project_id that is none; {advice}"));
        }
        let key = EncodingKey::from_rsa_pem(file.private_key.expose_secret().as_bytes())
            .map_err(|_| format!("has a private_key that is no RSA key; {advice}"))?;
        Ok(Self {
            project_id: file.project_id,
            token_url: token_url.map_or(file.token_uri, str::to_owned),
            client_email: file.client_email,
            private_key_id: file.private_key_id,
            key,
        })
    }

    /// A signed assertion of this moment; `None` where the key cannot sign.
    pub(super) fn assertion(&self, now: Timestamp) -> Option<String> {
        let header = Header { kid: Some(self.private_key_id.clone()), ..Header::new(Algorithm::RS256) };
        let iat = now.as_secs();
        let (iss, aud) = (self.client_email.as_str(), self.token_url.as_str());
        encode(&header, &Claims { iss, scope: SCOPE, aud, iat, exp: iat + ASSERTION_SECS }, &self.key).ok()
    }
}

impl std::fmt::Debug for Account {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Account").field("project_id", &self.project_id).finish_non_exhaustive()
    }
}

#[cfg(test)]
pub(super) mod tests {
    use std::sync::LazyLock;

    use aws_lc_rs::encoding::{AsDer, Pkcs8V1Der};
    use aws_lc_rs::rsa::{KeyPair, KeySize};
    use aws_lc_rs::signature::{self, KeyPair as _};
    use base64::Engine as _;
    use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
    use serde_json::{Value, json};

    use super::*;
    use crate::provider::fixtures::NOW;

    static KEY: LazyLock<KeyPair> = LazyLock::new(|| KeyPair::generate(KeySize::Rsa2048).unwrap());

    /// A service-account file with a key made for this run.
    pub(in crate::provider) fn file(token_uri: &str) -> Value {
        let der = AsDer::<Pkcs8V1Der<'_>>::as_der(&*KEY).unwrap();
        let pem =
            format!("-----BEGIN PRIVATE KEY-----\n{}\n-----END PRIVATE KEY-----\n", STANDARD.encode(der.as_ref()));
        json!({
            "type": "service_account", "project_id": "lumen-42", "private_key_id": "k1", "private_key": pem,
            "client_email": "push@lumen-42.iam.gserviceaccount.com", "client_id": "1", "token_uri": token_uri,
        })
    }

    fn account(file: &Value) -> Result<Account, String> {
        Account::new(&file.to_string().into(), None)
    }

    /// The assertion names the account, the scope and the token endpoint, lives an hour, and verifies under the account's key.
    #[test]
    fn assertion_verifies() {
        let account = account(&file("https://oauth2.example/token")).unwrap();
        let assertion = account.assertion(NOW).unwrap();
        let parts: Vec<&str> = assertion.split('.').collect();
        let read = |part: &str| serde_json::from_slice::<Value>(&URL_SAFE_NO_PAD.decode(part).unwrap()).unwrap();
        assert_eq!(read(parts[0]), json!({"alg": "RS256", "typ": "JWT", "kid": "k1"}));
        let claims = json!({
            "iss": "push@lumen-42.iam.gserviceaccount.com", "scope": SCOPE, "aud": "https://oauth2.example/token",
            "iat": NOW.as_secs(), "exp": NOW.as_secs() + 3600,
        });
        assert_eq!(read(parts[1]), claims);
        let public = signature::UnparsedPublicKey::new(&signature::RSA_PKCS1_2048_8192_SHA256, KEY.public_key());
        let signed = format!("{}.{}", parts[0], parts[1]);
        public.verify(signed.as_bytes(), &URL_SAFE_NO_PAD.decode(parts[2]).unwrap()).unwrap();
    }

    /// What is no service account is refused with a sentence that does not quote it.
    #[test]
    fn refused_files() {
        let changed = |key: &str, value: Value| {
            let mut file = file("https://oauth2.example/token");
            file[key] = value;
            account(&file).unwrap_err()
        };
        let errors = [
            changed("type", json!("authorized_user")),
            changed("project_id", json!("a/b")),
            changed("private_key", json!("hunter2")),
            changed("private_key", json!(7)),
            Account::new(&"hunter2".into(), None).unwrap_err(),
        ];
        for error in errors {
            assert!(error.contains("as Google Cloud gives it") && !error.contains("hunter2"), "{error}");
        }
        let account = account(&file("https://oauth2.example/token")).unwrap();
        assert_eq!(format!("{account:?}"), r#"Account { project_id: "lumen-42", .. }"#);
        let elsewhere = Account::new(&file("https://a/token").to_string().into(), Some("https://b/token")).unwrap();
        assert_eq!(elsewhere.token_url, "https://b/token");
    }
}
