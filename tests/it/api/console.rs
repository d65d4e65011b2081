//! What a console stands on: where people sign in, what their workspaces are called, who is there, and what of it can be asked for.
use serde_json::{Value, json};
use watchbell::people::Verb;
use watchbell::policy::Detail;
use watchbell::store::{Change, Policy};

use super::support::Served;
use crate::people::phones::Phone;
use crate::people::support::{answer, enrol_ada, sign_in};
use crate::store_support::{Place, ask, device_of, over_both, person, phone, until, ws};
use crate::support::SOON;

const W: &str = "/v1/workspaces/acme";

over_both! {
    /// Nobody has a token yet: issuer, audience and the console's client, for any page, and nothing else.
    async fn a_page_is_told_where_people_sign_in(policy: Policy) {
        let served = Served::new(policy).await;
        let told = served.call("GET", "/v1/sign-in").answer().await;
        let issuer = served.sandbox.issuer().url();
        assert_eq!(told.body, json!({"issuer": issuer, "audience": ["watchbell"], "client_id": "watchbell-console"}));
        assert_eq!((told.status, told.header("cache-control")), (200, "public, max-age=60"));
        assert_eq!(served.call("POST", "/v1/sign-in").status().await, 405);
        let nonsense = served.call("GET", "/v1/sign-in").header("authorization", "Bearer nonsense").answer().await;
        assert_eq!(nonsense.status, 200, "who has an old token must be able to get a new one");
    }

    /// A switcher of workspaces shows names, where there are any.
    async fn workspaces_have_names(policy: Policy) {
        let (workspace, display_name) = (ws("acme"), "Acme Ltd".to_owned());
        policy.admin().write(&[Change::Workspace { workspace, display_name, detail: Detail::Minimal }]).await.unwrap();
        let served = Served::new(policy).await;
        // A name that is not there in time is left out, which a busy machine may see.
        let named = async || {
            let me = served.get("owner", "/v1/me").await.body;
            me["workspaces"][0].get("display_name").is_some().then_some(me)
        };
        let me = until("a name", SOON, named).await;
        let acme = json!({"workspace": "acme", "display_name": "Acme Ltd", "role": "owner"});
        assert_eq!(me["workspaces"], json!([acme, {"workspace": "globex", "role": "user"}]));
    }

    /// People page by page, whatever their ids look like; by how an id begins; and what is no page is told so.
    async fn people_are_listed(policy: Policy) {
        for name in ["auth0|1+2&x=%20", "auth0|2", "zed"] {
            policy.admin().write(&[device_of("acme", name, phone("d", &format!("token-{name}")))]).await.unwrap();
        }
        let served = Served::new(policy).await;
        served.get("admin", "/v1/me").await;
        let (mut users, mut path) = (Vec::new(), format!("{W}/users?limit=1"));
        loop {
            let page = served.get("admin", &path).await;
            assert_eq!(page.status, 200, "{}", page.text);
            users.extend(page.body["people"].as_array().unwrap().clone());
            let Some(next) = page.body["next"].as_str() else { break };
            path = format!("{W}/users?limit=1&after={next}");
        }
        let named = |users: &[Value]| users.iter().map(|known| known["user"].as_str().unwrap().to_owned()).collect::<Vec<_>>();
        assert_eq!(named(&users), ["auth0|1+2&x=%20", "auth0|2", "benita", "zed"]);
        assert_eq!((&users[2]["role"], &users[2]["phones"]), (&json!("admin"), &json!(0)));
        assert!(users[2]["signed_in_at"].is_string() && users[2].get("last_seen").is_none(), "{}", users[2]);
        assert_eq!((users[0].get("role"), &users[0]["phones"], &users[0]["approvers"]), (None, &json!(1), &json!(0)));
        let found = served.get("owner", &format!("{W}/users?starts_with=auth0%7C1%2B2%26")).await.body;
        assert_eq!((named(found["people"].as_array().unwrap()), &found["next"]), (vec!["auth0|1+2&x=%20".to_owned()], &Value::Null));
        for wrong in ["limit=0", "limit=201", "limit=x", "after=a%20b", "after=zed|", "starts_with=a%20b", "starts_with=%C3%A9"] {
            let refused = served.get("admin", &format!("{W}/users?{wrong}")).await;
            assert_eq!((refused.status, refused.problem()), (400, "wrong-page"), "{wrong}");
        }
    }

    /// How much pushes say is shown with the settings, changed by who may change those, with their tag, and is in the trail.
    async fn detail_is_changed(policy: Policy) {
        let served = Served::new(policy).await;
        let before = served.get("admin", &format!("{W}/settings")).await;
        assert_eq!(before.body["detail"], "minimal");
        let change = |tag: &str, detail: &str| {
            let call = served.call_as("admin", "PUT", &format!("{W}/detail")).header("if-match", tag);
            call.json(&json!({"detail": detail}))
        };
        let changed = change(before.header("etag"), "full").answer().await;
        assert_eq!((changed.status, &changed.body["settings"]["detail"], &changed.body["in_force_within_s"]), (200, &json!("full"), &json!(0)));
        assert_eq!(ask(&served.policy, "acme", &[]).await.unwrap().workspace.detail, Detail::Full);
        assert_eq!(change(before.header("etag"), "minimal").answer().await.problem(), "changed-meanwhile");
        assert_eq!(change("*", "everything").answer().await.problem(), "wrong-body");
        let entry = served.get("owner", &format!("{W}/audit")).await.body["entries"][0].clone();
        assert_eq!(["action", "from", "to", "actor"].map(|member| &entry[member]), ["detail_changed", "minimal", "full", "benita"]);
    }

    /// The trail by person and by action; what is neither is told so.
    async fn the_trail_is_filtered(policy: Policy) {
        let served = Served::new(policy).await;
        served.put("admin", &format!("{W}/settings/otp_received"), json!({"setting": "enforced"})).await;
        served.put("owner", &format!("{W}/settings/otp_received"), json!({"setting": "enabled"})).await;
        served.call_as("owner", "POST", &format!("{W}/users/jonas/tickets")).answer().await;
        let read = async |query: &str| {
            let entries = served.get("owner", &format!("{W}/audit?{query}")).await.body["entries"].clone();
            let shown = |entry: &Value| format!("{} {}", entry["actor"].as_str().unwrap(), entry["action"].as_str().unwrap());
            entries.as_array().unwrap().iter().map(shown).collect::<Vec<_>>()
        };
        assert_eq!(read("user=benita").await, ["benita setting_changed"]);
        assert_eq!(read("user=jonas").await, ["ada ticket_issued"]);
        assert_eq!(read("action=setting_changed").await, ["ada setting_changed", "benita setting_changed"]);
        assert_eq!(read("user=ada&action=ticket_issued&limit=1").await, ["ada ticket_issued"]);
        for wrong in ["user=a%20b", "user=", "action=deleted", "action="] {
            let refused = served.get("owner", &format!("{W}/audit?{wrong}")).await;
            assert_eq!((refused.status, refused.problem()), (400, "wrong-page"), "{wrong}");
        }
    }

    /// Which phone answered is told by its name: in the request, in what happened, and to who was second. To others its id is enough.
    async fn phones_have_names(policy: Policy, place: &Place) {
        enrol_ada(place, &policy).await;
        let asked = sign_in(&person("acme", "ada"), "e1", watchbell::seam::Clock::now(&watchbell::seam::SystemClock));
        policy.requests().project(&asked, asked.occurred_at).await.unwrap();
        policy.requests().decide(&answer(&asked, "d1", Verb::Approve, None), asked.occurred_at).await.unwrap();
        let served = Served::new(policy).await;
        let over = served.get("owner", &format!("{W}/me/requests/identity_verification/e1")).await.body;
        assert_eq!((&over["ended"]["device"], &over["ended"]["device_name"]), (&json!("d1"), &json!("Ada phone")));
        let recent = served.get("owner", &format!("{W}/me/recent")).await.body;
        assert_eq!((&recent["items"][0]["what"], &recent["items"][0]["device_name"]), (&json!("approved"), &json!("Ada phone")));
        let seen = served.get("admin", &format!("{W}/users/ada/recent")).await.body;
        assert_eq!((&seen["items"][0]["device"], seen["items"][0].get("device_name")), (&json!("d1"), None));
        place.execute("UPDATE enrolments SET name = ''").await;
        let by_model = served.get("owner", &format!("{W}/me/requests/identity_verification/e1")).await.body;
        assert_eq!(by_model["ended"]["device_name"], "Pixel 8");
        place.execute("UPDATE enrolments SET model = ''").await;
        let nameless = served.get("owner", &format!("{W}/me/requests/identity_verification/e1")).await.body;
        assert_eq!(nameless["ended"].get("device_name"), None);
    }

    /// A device says since when it may approve, and since when nothing reaches it; once a push does, that is over.
    async fn a_device_has_its_moments(policy: Policy, place: &Place) {
        let served = Served::new(policy).await;
        let mut phone = Phone::new("token-1");
        assert_eq!(served.register(&mut phone).await.status, 200);
        place.execute("UPDATE enrolments SET state = 'approver', promoted_at = 1700000000000, unreachable_since = 1700000000000").await;
        let shown = async || served.get("user", &format!("{W}/me/devices")).await.body["devices"][0].clone();
        let device = shown().await;
        assert_eq!(["promoted_at", "unreachable_since"].map(|member| &device[member]), ["2023-11-14T22:13:20Z"; 2]);
        assert_eq!(served.reach(&phone).await.status, 200);
        let device = shown().await;
        assert!(device["reachable_since"].is_string() && device.get("unreachable_since").is_none(), "{device}");
    }
}

/// What programs are made from: every closed set of words is one, and where a list goes on is always said.
#[test]
fn words_and_pages_are_described() {
    let document = watchbell::control::document();
    let schemas = document["components"]["schemas"].as_object().unwrap();
    for (schema, member, word) in [
        ("AuditEntry", "action", "ticket_issued"),
        ("AuditEntry", "from", "minimal"),
        ("Notice", "what", "reset"),
        ("Notice", "disowned", "request"),
        ("Notice", "by_role", "operator"),
        ("UnreachedPerson", "reason", "not_reachable"),
        ("Ended", "closed", "superseded"),
        ("TypePreference", "reason", "muted_by_user"),
        ("Settings", "detail", "full"),
        ("Pushes", "platform", "fcm"),
    ] {
        let text = schemas[schema]["properties"][member].to_string();
        let name = text.split("#/components/schemas/").nth(1).unwrap_or_else(|| panic!("{schema}.{member}: {text}"));
        let words = &schemas[name.split('"').next().unwrap()]["enum"];
        assert!(words.as_array().unwrap().contains(&json!(word)), "{schema}.{member}: {words}");
    }
    let mut pages = 0;
    for (name, schema) in schemas.iter().filter(|(_, schema)| schema["properties"].get("next").is_some()) {
        assert!(schema["required"].as_array().unwrap().contains(&json!("next")), "{name}");
        assert_eq!(schema["properties"]["next"]["type"], json!(["string", "null"]), "{name}");
        pages += 1;
    }
    assert!(pages >= 6, "{pages}");
}
