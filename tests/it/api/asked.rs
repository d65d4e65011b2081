//! How soon login screens hear whom an event asks, while somebody else's sign-ins are worked off.
use std::collections::HashMap;

use watchbell::event::NotificationType::IdentityVerification;
use watchbell::event::wire;

use super::process::{config, stage};
use crate::support::kafka::Reader;
use crate::support::process::Watchbell;
use crate::support::stage::{CEILING, Stage, event};
use crate::support::{SOON, eventually};

/// Sign-ins of one victim, as an attacker with the password makes them.
const ATTACK: usize = 50;
/// People who sign in right behind them.
const OTHERS: usize = 10;
/// What upstream is promised, in milliseconds.
const PROMISED_MS: i64 = 1_000;

fn emit(stage: &Stage, id: &str, person: &str) {
    let body = wire::IdentityVerificationRequested { application: "Payroll".into(), ..Default::default() };
    let body = wire::event::Body::IdentityVerificationRequested(body);
    stage.emit(IdentityVerification, &event(id, &[person], body));
}

/// When each event was written there.
fn written<M: prost::Message + Default>(stage: &Stage, topic: &str, id: impl Fn(M) -> String) -> HashMap<String, i64> {
    let mut reader = Reader::from_beginning(&stage.bootstrap, &[topic]);
    let records = reader.up_to_the_end().to_vec();
    let ids = records.iter().map(|record| id(M::decode(record.payload.as_deref().unwrap()).unwrap()));
    ids.zip(reader.written_at).collect()
}

/// The victim's sign-ins keep nobody else's login screen waiting for `asked`: of those who come last, half hear before the victim's are all
/// through. And it comes within the promised second: in one of a few rounds everybody's does, because a busy machine may need more in any.
#[test]
fn nobody_waits_for_a_victims_sign_ins() {
    let stage = stage();
    let mut api = Watchbell::api(&config(&stage));
    api.wait_ready();
    let asked = |expected: usize| {
        let asked = || written(&stage, &stage.topics.decisions, |told: wire::Decision| told.event_id);
        eventually("upstream to hear of all", CEILING, || Some(asked()).filter(|asked| asked.len() == expected))
    };
    emit(&stage, "first", "benita");
    let (mut expected, mut round) = (1, 0);
    asked(expected);
    eventually("a round within the promised second", CEILING, || {
        round += 1;
        for n in 0..ATTACK {
            emit(&stage, &format!("{round}-victim-{n}"), "benita");
        }
        for n in 0..OTHERS {
            emit(&stage, &format!("{round}-other-{n}"), &format!("person-{n}"));
        }
        expected += ATTACK + OTHERS;
        let asked = asked(expected);
        let emitted = written(&stage, &stage.topics.identity_verification, |event: wire::Event| event.event_id);
        let of = |who: &str, count: usize| {
            let ids = (0..count).map(|n| format!("{round}-{who}-{n}"));
            let mut times: Vec<_> = ids.map(|id| (asked[&id], asked[&id] - emitted[&id])).collect();
            times.sort_unstable();
            times
        };
        let (victims, others) = (of("victim", ATTACK), of("other", OTHERS));
        let last = |times: &[(i64, i64)]| times.iter().map(|(_, wait)| *wait).max().unwrap();
        println!("round {round}: asked after at most {} ms, the victim's after {}", last(&others), last(&victims));
        assert!(others[OTHERS / 2].0 <= victims[ATTACK - 1].0, "others: {others:?}, the victim's: {victims:?}");
        (last(&others) <= PROMISED_MS).then_some(())
    });
    api.terminate();
    assert!(api.wait(SOON).success(), "{}", api.log());
}
