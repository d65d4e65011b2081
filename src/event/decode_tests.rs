use super::*;

const NOW: Timestamp = Timestamp::from_secs(1_800_000_000);
const LIMITS: Limits = Limits { recipients_max: 500 };

fn at(secs: i64) -> prost_types::Timestamp {
    prost_types::Timestamp { seconds: secs, nanos: 0 }
}

fn otp() -> wire::Event {
    wire::Event {
        event_id: "e1".into(),
        workspace_id: "w1".into(),
        recipients: vec!["u1".into()],
        occurred_at: Some(at(NOW.as_secs())),
        expires_at: None,
        test: false,
        body: Some(WireBody::OtpReceived(wire::OtpReceived { account: "Bank".into(), service: "ACME".into() })),
    }
}

fn read(event: &wire::Event) -> Result<Incoming, DecodeError> {
    decode(Some(&event.encode_to_vec()), &Headers::new(), NotificationType::OtpReceived, LIMITS, NOW)
}

fn event(result: Result<Incoming, DecodeError>) -> Event {
    match result.unwrap() {
        Incoming::Event(event) => event,
        Incoming::Cancel(cancel) => panic!("a cancel: {cancel:?}"),
    }
}

/// A complete event is read with the default lifetime of its type.
#[test]
fn complete_event() {
    let event = event(read(&otp()));
    assert_eq!(event.id.as_str(), "e1");
    assert_eq!(event.kind(), NotificationType::OtpReceived);
    assert_eq!(event.expires_at, NOW.plus(Duration::from_secs(120)));
}

/// The Confluent frame is skipped, with the short and the long form of its message indexes.
#[test]
fn confluent_frame() {
    for indexes in [&[0u8][..], &[2, 0], &[4, 2, 0]] {
        let mut framed = vec![0, 0, 0, 0, 7];
        framed.extend_from_slice(indexes);
        framed.extend(otp().encode_to_vec());
        let read = decode(Some(&framed), &Headers::new(), NotificationType::OtpReceived, LIMITS, NOW);
        assert_eq!(event(read).id.as_str(), "e1");
    }
    for cut in [&[0u8][..], &[0, 0, 0, 0, 7], &[0, 0, 0, 0, 7, 200, 1], &[0, 0, 0, 0, 7, 4, 2]] {
        let read = decode(Some(cut), &Headers::new(), NotificationType::OtpReceived, LIMITS, NOW);
        assert_eq!(read, Err(DecodeError::BadFrame), "{cut:?}");
    }
}

/// CloudEvents headers fill what the envelope leaves empty, and never override it.
#[test]
fn cloud_events_headers() {
    let mut headers = Headers::new();
    headers.push("ce_id", "from-header");
    headers.push("ce_time", "2027-01-15T08:00:00Z");
    let mut bare = otp();
    bare.event_id.clear();
    bare.occurred_at = None;
    let read = |envelope: &wire::Event| {
        event(decode(Some(&envelope.encode_to_vec()), &headers, NotificationType::OtpReceived, LIMITS, NOW))
    };
    let filled = read(&bare);
    assert_eq!(filled.id.as_str(), "from-header");
    assert_eq!(filled.occurred_at, Timestamp::from_secs(1_800_000_000));
    assert_eq!(read(&otp()).id.as_str(), "e1");
}

/// Each thing that can be wrong has its own reason.
#[test]
fn every_reason() {
    type Change = fn(&mut wire::Event);
    let cases: [(&str, Change); 13] = [
        ("bad_id", |e| e.event_id.clear()),
        ("bad_id", |e| e.workspace_id = "a b".into()),
        ("no_recipients", |e| e.recipients.clear()),
        ("no_date", |e| e.occurred_at = None),
        ("bad_date", |e| e.occurred_at = Some(at(NOW.as_secs() + 601))),
        ("bad_date", |e| e.occurred_at = Some(at(NOW.as_secs() - 30 * 86_400 - 1))),
        ("bad_date", |e| e.occurred_at = Some(prost_types::Timestamp { seconds: NOW.as_secs(), nanos: -1 })),
        ("bad_date", |e| e.occurred_at = Some(at(i64::MAX))),
        ("bad_date", |e| e.expires_at = Some(at(NOW.as_secs()))),
        ("bad_date", |e| e.expires_at = Some(at(NOW.as_secs() + 28 * 86_400 + 1))),
        ("no_body", |e| e.body = None),
        ("wrong_topic", |e| {
            e.body = Some(WireBody::AccountShared(wire::AccountShared {
                account: "a".into(),
                shared_by: "b".into(),
                access_level: 0,
            }));
        }),
        ("bad_name", |e| {
            e.body = Some(WireBody::OtpReceived(wire::OtpReceived { account: String::new(), service: "s".into() }));
        }),
    ];
    for (reason, change) in cases {
        let mut envelope = otp();
        change(&mut envelope);
        let error = read(&envelope).expect_err(reason);
        assert_eq!(error.reason(), reason, "{error}");
    }
    let raw = |bytes| decode(bytes, &Headers::new(), NotificationType::OtpReceived, LIMITS, NOW).unwrap_err().reason();
    assert_eq!(raw(None), "empty_value");
    assert_eq!(raw(Some(b"")), "empty_value");
    assert_eq!(raw(Some(b"\xff\xff\xff")), "not_protobuf");
}

/// What is as large as it may be is read; one more is refused with the limit's own reason.
#[test]
fn invariant_12_an_event_has_limits() {
    type Grow = fn(&mut wire::Event, usize);
    let cases: [(&str, usize, Grow); 3] = [
        ("too_many_recipients", LIMITS.recipients_max, |e, size| {
            e.recipients = (0..size).map(|n| format!("u{n}")).collect()
        }),
        ("bad_id", 128, |e, size| e.recipients = vec!["x".repeat(size)]),
        ("bad_name", 256, |e, size| {
            e.body = Some(WireBody::OtpReceived(wire::OtpReceived { account: "x".repeat(size), service: "s".into() }));
        }),
    ];
    for (reason, largest, grow) in cases {
        let sized = |size| {
            let mut envelope = otp();
            grow(&mut envelope, size);
            read(&envelope).map(drop)
        };
        sized(largest).expect(reason);
        assert_eq!(sized(largest + 1).expect_err(reason).reason(), reason);
    }
}

/// An optional text that is too long is cut at a grapheme, and its event is read all the same, be it from upstream or from a job.
#[test]
fn long_optional_texts_are_cut() {
    let family = "\u{1f468}\u{200d}\u{1f469}\u{200d}\u{1f467}";
    let read = |long: &str| {
        let asked = wire::IdentityVerificationRequested {
            application: "Payroll".into(),
            reason: long.repeat(2),
            location: long.repeat(2),
            device: long.into(),
            source: long.repeat(2),
            ..Default::default()
        };
        let mut envelope = otp();
        envelope.body = Some(WireBody::IdentityVerificationRequested(asked));
        let kind = NotificationType::IdentityVerification;
        match event(decode(Some(&envelope.encode_to_vec()), &Headers::new(), kind, LIMITS, NOW)).body {
            Body::IdentityVerification { device, .. } => device,
            other => panic!("{other:?}"),
        }
    };
    assert_eq!(read(&"x".repeat(256)), "x".repeat(256));
    assert_eq!(read(&"x".repeat(257)), "x".repeat(256));
    assert_eq!(read(&family.repeat(20)), family.repeat(256 / family.len()));
    assert_eq!(read(&format!("x{}", "\u{301}".repeat(200))), "", "one grapheme of 401 bytes");
    let asked = wire::TrustedDeviceRequested {
        device_name: "Pixel".into(),
        browser: "b".repeat(300),
        operating_system: "o".repeat(300),
        ..Default::default()
    };
    let Checked::Body(Body::TrustedDevice { browser, operating_system, .. }, _) =
        wire_body(WireBody::TrustedDeviceRequested(asked)).unwrap()
    else {
        panic!("another body")
    };
    assert_eq!((browser, operating_system), ("b".repeat(256), "o".repeat(256)));
}

/// U+0000 in a text for people is left out, and its event is read all the same; a name of nothing else is none.
#[test]
fn nul_is_left_out_of_texts() {
    let asked = |name: &str| {
        let asked = wire::TrustedDeviceRequested {
            device_name: name.into(),
            browser: "Fire\0fox".into(),
            operating_system: "\0".into(),
            ..Default::default()
        };
        wire_body(WireBody::TrustedDeviceRequested(asked))
    };
    let Checked::Body(Body::TrustedDevice { device_name, browser, operating_system, .. }, _) =
        asked("\0Pixel\0 8").unwrap()
    else {
        panic!("another body")
    };
    assert_eq!((device_name.as_str(), browser.as_str(), operating_system.as_str()), ("Pixel 8", "Firefox", ""));
    assert_eq!(asked("\0\0").unwrap_err(), DecodeError::BadName { field: "device_name", bytes: 0 });
}

/// A match number is six digits; the event keeps only that there was one.
#[test]
fn match_number_is_dropped() {
    let ask = |number: Option<&str>| {
        let mut envelope = otp();
        envelope.body = Some(WireBody::IdentityVerificationRequested(wire::IdentityVerificationRequested {
            application: "Payroll".into(),
            match_number: number.map(Into::into),
            ip_address: "203.0.113.9".into(),
            location: "Lisbon".into(),
            ..Default::default()
        }));
        decode(Some(&envelope.encode_to_vec()), &Headers::new(), NotificationType::IdentityVerification, LIMITS, NOW)
    };
    let with = event(ask(Some("407213")));
    assert!(with.number_required);
    let printed = format!("{with:?}");
    assert!(!printed.contains("407213") && !printed.contains("203.0.113.9") && !printed.contains("Lisbon"));
    assert!(!event(ask(None)).number_required);
    for bad in ["", "12345", "1234567", "12345a", "１２３４５６"] {
        assert_eq!(ask(Some(bad)).unwrap_err().reason(), "bad_match_number", "{bad}");
    }
}

/// A cancel takes its type from the topic and is worth a push for a day unless it says otherwise.
#[test]
fn cancel() {
    let mut envelope = otp();
    envelope.body = Some(WireBody::Cancel(wire::Cancel { event_id: "earlier".into() }));
    let Incoming::Cancel(cancel) = read(&envelope).unwrap() else { panic!("no cancel") };
    assert_eq!(cancel.kind, NotificationType::OtpReceived);
    assert_eq!(cancel.event.as_str(), "earlier");
    assert_eq!(cancel.until, NOW.plus(Duration::from_secs(86_400)));
}

/// A recipient that is named twice is told once, at the first place.
#[test]
fn repeated_recipients() {
    let mut envelope = otp();
    envelope.recipients = ["b", "a", "b", "c", "a"].map(String::from).to_vec();
    let users: Vec<_> = event(read(&envelope)).recipients.iter().map(|user| user.to_string()).collect();
    assert_eq!(users, ["b", "a", "c"]);
}

proptest::proptest! {
    /// Whatever the bytes are, decoding answers and never panics.
    #[test]
    fn never_panics(bytes: Vec<u8>, kind in 0usize..4) {
        decode(Some(&bytes), &Headers::new(), NotificationType::ALL[kind], LIMITS, NOW).ok();
    }
}
