use super::*;

/// The keys about which a configuration is told something.
fn told(values: &str) -> Vec<String> {
    let values: Vec<_> = values.split(' ').map(|value| value.split_once('=').unwrap()).collect();
    let name = |key: &str| format!("WATCHBELL_{}", key.replace('.', "__").to_uppercase());
    let environment = values.iter().map(|(key, value)| (name(key), (*value).to_owned()));
    let problems = Config::load(None, environment).err().map_or(Vec::new(), |problems| problems.0);
    let key = |problem: Problem| problem.sentence.split([' ', ':']).next().unwrap_or_default().to_owned();
    problems.into_iter().map(key).collect()
}

/// Two values of one section contradict each other. Where one of them cannot be read, the other is not told to fit what stands in for it.
#[test]
fn nothing_contradicts_what_nobody_wrote() {
    let cases = [
        ("kafka.heartbeat_interval_ms=5000", "kafka.session_timeout_ms"),
        ("kafka.session_timeout_ms=400000", "kafka.max_poll_interval_ms"),
        ("kafka.revoke_drain_ms=200000", "kafka.max_poll_interval_ms"),
        ("provider.push_timeout_ms=9000", "provider.pool.request_timeout_ms"),
        ("provider.pool.ping_timeout_ms=40000", "provider.pool.ping_interval_ms"),
        ("policy.ttl_s=1000", "policy.max_stale_s"),
        ("policy.store_timeout_ms=40000", "policy.ttl_s"),
        ("in_flight.otp_received=9000", "in_flight.hold"),
    ];
    for (value, other) in cases {
        assert!(!told(value).is_empty(), "{value} contradicts the default of {other}");
        assert_eq!(told(&format!("{value} {other}=soon")), [other], "{value}");
    }
    let with_redis = "policy.redis_url=redis://cache:6379";
    assert_eq!(told(with_redis), ["policy.redis_url"]);
    assert_eq!(told(&format!("{with_redis} policy.store_url=[]")), ["policy.store_url"]);
    let authority = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(&authority, "-----BEGIN CERTIFICATE-----\nMAA=\n-----END CERTIFICATE-----\n").unwrap();
    let with_authority = format!("kafka.security.ca_file={}", authority.path().display());
    assert_eq!(told(&with_authority), ["kafka.security.ca_file"]);
    assert_eq!(told(&format!("{with_authority} kafka.security.protocol=tls")), ["kafka.security.protocol"]);
    // What is wrong by itself is told.
    let both = told("kafka.commit_interval_ms=0 kafka.session_timeout_ms=soon");
    assert_eq!(both, ["kafka.session_timeout_ms", "kafka.commit_interval_ms"]);
}

/// Without a way for a first phone there is none for a second; a way that no sign-in can meet is none. A worker has no part in it.
#[test]
fn somebody_must_be_able_to_approve() {
    let told = |ways: &str, words: &str| -> Vec<String> {
        let environment = [
            ("WATCHBELL_AUTH__ISSUER", "https://login.example.com"),
            ("WATCHBELL_AUTH__AUDIENCE", "[\"watchbell\"]"),
            ("WATCHBELL_AUTH__ACR_PHISHING_RESISTANT", words),
            ("WATCHBELL_API__DEVICES__APPROVER_WAYS", ways),
        ];
        let environment = environment.map(|(name, value)| (name.to_owned(), value.to_owned()));
        let problems = Config::load_for_api(None, environment).err().map_or(Vec::new(), |problems| problems.0);
        problems.into_iter().map(|problem| problem.sentence).collect()
    };
    for (ways, words, beginning) in [
        ("[\"approver\"]", "[\"phr\"]", Some("api.devices.approver_ways has only approver")),
        ("[\"phishing_resistant\"]", "[]", Some("api.devices.approver_ways has phishing_resistant alone")),
        (
            "[\"approver\", \"phishing_resistant\"]",
            "[]",
            Some("api.devices.approver_ways has phishing_resistant alone"),
        ),
        ("[\"phishing_resistant\"]", "[\"phr\"]", None),
        ("[\"ticket\", \"phishing_resistant\"]", "[]", None),
    ] {
        let told = told(ways, words);
        assert_eq!(told.len(), usize::from(beginning.is_some()), "{ways} {words}: {told:?}");
        assert!(beginning.is_none_or(|beginning| told[0].starts_with(beginning)), "{told:?}");
    }
}
