//! The stories that `people::stories` tells of the store, by HTTP and by the same names: what each can do who has lost a phone, or stole a
//! session. `new_hire` and `second_phone` are among [`super::phones`].
use serde_json::json;
use watchbell::people::enrolment::Way;
use watchbell::store::Policy;

use super::phones::asks;
use super::support::{Answer, Served};
use crate::people::phones::Phone;
use crate::store_support::over_both;

const W: &str = "/v1/workspaces/acme";

impl Served {
    /// A phone that was registered with Jonas' sign-in, and reached.
    async fn enrolled(&self, token: &str) -> Phone {
        let mut phone = Phone::new(token);
        assert_eq!(self.register(&mut phone).await.status, 200);
        assert_eq!(self.reach(&phone).await.status, 200);
        phone
    }

    async fn approves(&self, phone: &Phone, event: &str) -> Answer {
        asks(&self.policy, event).await;
        self.answers(phone, event, "approve").await
    }

    async fn ticket(&self) -> serde_json::Value {
        self.call_as("admin", "POST", &format!("{W}/users/jonas/tickets")).answer().await.body["ticket"].clone()
    }
}

/// With 50 ms for upstream's log, which nobody writes here, and any fresh sign-in of somebody new, if that is open.
async fn served(policy: Policy, fresh: bool) -> Served {
    Served::with(policy, |api| {
        api.devices.answer_wait_ms = 50;
        if fresh {
            api.devices.approver_ways.push(Way::FreshSignIn);
        }
    })
    .await
}

over_both! {
    /// The only phone is lost: an admin's reset ends its key. The sign-in on another phone is not enough, nor is a ticket from before; a new
    /// one is.
    async fn lost_only_phone(policy: Policy) {
        let served = served(policy, false).await;
        let lost = served.approver().await;
        let before = served.ticket().await;
        assert_eq!(served.call_as("user", "POST", &format!("{W}/users/jonas/tickets")).status().await, 403);
        assert_eq!(served.call_as("admin", "POST", &format!("{W}/users/jonas/devices/reset")).status().await, 200);
        assert_eq!(served.approves(&lost, "e1").await.problem(), "unknown-phone");
        let phone = served.enrolled("token-2").await;
        assert_eq!(served.promote(&phone, json!({})).await.problem(), "sign-in-alone");
        assert_eq!(served.promote(&phone, json!({"ticket": before})).await.status, 409);
        assert_eq!(served.approves(&phone, "e2").await.problem(), "cannot-approve");
        let ticket = served.ticket().await;
        assert_eq!(served.promote(&phone, json!({"ticket": ticket})).await.body["way"], "ticket");
        assert_eq!(served.approves(&phone, "e3").await.status, 202);
    }

    /// The app was installed anew: it has the token and another key. The one before approves until the new one was reached, which may only
    /// receive.
    async fn reinstall(policy: Policy) {
        let served = served(policy, false).await;
        let (before, mut anew) = (served.approver().await, Phone::new("token-1"));
        let registered = served.register(&mut anew).await;
        assert_eq!((&registered.body["state"], &registered.body["waits"]), (&json!("receive_only"), &json!(true)));
        assert_eq!(served.approves(&before, "e1").await.status, 202);
        assert_eq!(served.reach(&anew).await.body["state"], "receive_only");
        assert_eq!(served.approves(&before, "e2").await.problem(), "unknown-phone");
        assert_eq!(served.approves(&anew, "e3").await.problem(), "cannot-approve");
    }

    /// A session that was phished a moment ago, where any fresh sign-in makes somebody's first phone an approver: it makes none a second time,
    /// not even when the thief removes the first.
    async fn phished_fresh_session(policy: Policy) {
        let served = served(policy, true).await;
        let phone = served.enrolled("token-1").await;
        assert_eq!(served.promote(&phone, json!({})).await.body["way"], "fresh_sign_in");
        let thief = served.enrolled("token-of-thief").await;
        assert_eq!(served.promote(&thief, json!({})).await.problem(), "sign-in-alone");
        let removal = format!("{W}/me/devices/{}?even_the_last=true", phone.id());
        assert_eq!(served.call_as("user", "DELETE", &removal).status().await, 200);
        assert_eq!(served.promote(&thief, json!({})).await.problem(), "sign-in-alone");
        assert_eq!(served.approves(&thief, "e1").await.problem(), "cannot-approve");
    }

    /// Whoever has the session and no phone of the person's: what they register rings and does not approve, issues itself no ticket, vouches
    /// for nobody, and does not get the token that it claims.
    async fn stolen_session_without_phone(policy: Policy) {
        let served = served(policy, false).await;
        let (phone, thief) = (served.approver().await, served.enrolled("token-of-thief").await);
        assert_eq!(served.promote(&thief, json!({})).await.problem(), "sign-in-alone");
        assert_eq!(served.call_as("user", "POST", &format!("{W}/users/jonas/tickets")).status().await, 403);
        assert_eq!(served.promote(&thief, json!({"ticket": "guessed"})).await.status, 409);
        let mut claims = Phone::new("token-1");
        assert_eq!(served.register(&mut claims).await.body["waits"], true);
        assert_eq!(served.pushed.take().to.token.expose(), "token-1", "the nonce goes to the person's phone");
        assert_eq!(served.approves(&claims, "e1").await.problem(), "cannot-approve");
        assert_eq!(served.approves(&thief, "e2").await.problem(), "cannot-approve");
        let impostor = Phone { id: phone.id.clone(), ..thief.clone() };
        assert_ne!(served.approves(&impostor, "e3").await.status, 202, "in the name of the person's phone");
        assert_eq!(served.approves(&phone, "e4").await.status, 202);
    }
}
