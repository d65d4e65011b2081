//! Tokens against the verifier: forged ones, the providers' own, and those of the sandbox's issuer over HTTP.
mod attacks;
mod cache;
mod issuer;
mod members;
mod providers;

use serde_json::{Map, Value, json};

use super::caller::{Meaning, Validity};
use super::{AuthConfig, Caller, Refusal};
use crate::event::{Timestamp, WorkspaceId};

/// The shipped section with these keys in place of its own.
fn config(changes: Value) -> AuthConfig {
    let defaults: toml::Table = toml::from_str(crate::config::DEFAULTS).unwrap();
    let mut section = serde_json::to_value(&defaults["auth"]).unwrap();
    section.as_object_mut().unwrap().extend(changes.as_object().unwrap().clone());
    let config: AuthConfig = serde_json::from_value(section).unwrap();
    assert_eq!(config.problems().into_iter().collect::<Vec<_>>(), Vec::<String>::new());
    config
}

fn object(value: Value) -> Map<String, Value> {
    value.as_object().unwrap().clone()
}

/// Whom these claims name under that section.
fn caller(changes: Value, claims: Value) -> Result<Caller, Refusal> {
    let validity = Validity { issued_at: Timestamp(1_000), valid_until: Timestamp(2_000), auth_time: None };
    Meaning::new(&config(changes)).unwrap().caller(&object(claims), validity)
}

fn workspace(id: &str) -> WorkspaceId {
    WorkspaceId::new(id).unwrap()
}

#[test]
fn a_section_that_cannot_work_is_told() {
    // Each contradiction and each number out of its range by its key; symmetric algorithms cannot even be written.
    let told = |changes: Value| {
        let defaults: toml::Table = toml::from_str(crate::config::DEFAULTS).unwrap();
        let mut section = serde_json::to_value(&defaults["auth"]).unwrap();
        section.as_object_mut().unwrap().extend(object(changes));
        match serde_json::from_value::<AuthConfig>(section) {
            Ok(config) => config.problems().into_iter().collect::<Vec<_>>().join("; "),
            Err(error) => error.to_string(),
        }
    };
    let rows = [
        (json!({"issuer": "http://login.example"}), "issuer must be an address that begins with https://"),
        (json!({"issuer": "https://login.example?x"}), "issuer must have no query"),
        (json!({"jwks_url": "http://login.example/jwks"}), "jwks_url must"),
        (json!({"audience": [""]}), "audience must not"),
        (json!({"algorithms": []}), "algorithms is empty"),
        (json!({"algorithms": ["HS256"]}), "unknown variant `HS256`"),
        (json!({"algorithms": ["none"]}), "unknown variant `none`"),
        (json!({"enabled": false}), "unknown field `enabled`"),
        (json!({"leeway_s": 301}), "leeway_s must"),
        (json!({"max_token_age_s": 59}), "max_token_age_s must"),
        (json!({"token_bytes_max": 65_537}), "token_bytes_max must"),
        (json!({"user_claim": ""}), "user_claim is empty"),
        (json!({"roles_claim": "/a~"}), "roles_claim is no JSON Pointer"),
        (json!({"workspace": "a", "workspace_claim": "b"}), "workspace and workspace_claim are both set"),
        (json!({"workspace": "a b"}), "workspace has a byte"),
        (json!({"operator_claim": "a"}), "operator_value is missing"),
        (json!({"operator_value": "a"}), "operator_claim is missing"),
        (json!({"operator_claim": "a", "operator_value": ""}), "operator_value must not be empty"),
        (json!({"acr_phishing_resistant": [""]}), "acr_phishing_resistant must not"),
        (json!({"role_names": {"owner": [], "super_admin": [], "admin": [], "user": []}}), "role_names are all empty"),
        (
            json!({"role_names": {"owner": ["a"], "super_admin": ["b"], "admin": ["a"], "user": []}}),
            "role_names has a twice",
        ),
        (json!({"role_names": {"owner": [""], "super_admin": [], "admin": [], "user": []}}), "role_names must not"),
        (json!({"jwks_ttl_s": 9}), "jwks_ttl_s must"),
        (json!({"jwks_refetch_interval_s": 0}), "jwks_refetch_interval_s must"),
        (json!({"jwks_max_stale_s": 604_801}), "jwks_max_stale_s must"),
        (json!({"jwks_timeout_ms": 99}), "jwks_timeout_ms must"),
        (json!({"jwks_bytes_max": 1_023}), "jwks_bytes_max must"),
    ];
    for (changes, beginning) in rows {
        let told = told(changes.clone());
        assert!(told.starts_with(beginning), "{changes}: {told}");
    }
    assert_eq!(told(json!({})), "");
    let missing: Vec<_> = config(json!({})).missing().into_iter().collect();
    assert!(
        missing.len() == 2
            && missing[0].starts_with("issuer is missing")
            && missing[1].starts_with("audience is missing")
    );
    assert!(config(json!({"issuer": "https://login.example", "audience": ["a"]})).missing().is_empty());
}
