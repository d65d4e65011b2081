//! The endpoints: one file for each thing that people work on. What each answers is described where it stands.
mod answers;
mod audit;
mod devices;
mod erasure;
mod export;
mod lifecycle;
mod me;
mod notices;
mod others;
mod people;
mod phone;
mod preferences;
mod reach;
mod requests;
mod self_test;
mod settings;
mod sign_in;

pub(super) use devices::IDEMPOTENCY_KEY;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use super::auth::Member;
use super::state::Api;
use crate::people::{Actor, ActorRole, Person};

/// Those of people who signed in, with their descriptions.
pub(super) fn routes() -> OpenApiRouter<Api> {
    OpenApiRouter::new()
        .routes(routes!(me::me))
        .routes(routes!(settings::settings))
        .routes(routes!(settings::change_setting))
        .routes(routes!(settings::change_detail))
        .routes(routes!(audit::audit_trail))
        .routes(routes!(reach::reach))
        .routes(routes!(reach::unreached))
        .routes(routes!(preferences::preferences))
        .routes(routes!(preferences::change_preference))
        .routes(routes!(preferences::turn_off_all))
        .routes(routes!(preferences::quiet_device))
        .routes(routes!(requests::pending))
        .routes(routes!(requests::request))
        .routes(routes!(requests::recent))
        .routes(routes!(requests::activity))
        .routes(routes!(self_test::send_test))
        .routes(routes!(self_test::test))
        .routes(routes!(notices::notices))
        .routes(routes!(devices::devices))
        .routes(routes!(devices::challenge))
        .routes(routes!(devices::register))
        .routes(routes!(devices::rename))
        .routes(routes!(devices::promote))
        .routes(routes!(people::people))
        .routes(routes!(others::remove_own))
        .routes(routes!(others::devices_of))
        .routes(routes!(others::remove_of_another))
        .routes(routes!(others::reset))
        .routes(routes!(others::ticket))
        .routes(routes!(erasure::erase, export::export))
}

/// Those of operators, who span workspaces.
pub(super) fn of_operators() -> OpenApiRouter<Api> {
    OpenApiRouter::new().routes(routes!(lifecycle::lifecycle))
}

/// Those of phones, whose key says who they are.
pub(super) fn of_phones() -> OpenApiRouter<Api> {
    OpenApiRouter::new()
        .routes(routes!(phone::report))
        .routes(routes!(phone::nonce))
        .routes(routes!(phone::reached))
        .routes(routes!(phone::digits))
        .routes(routes!(phone::vouch))
        .routes(routes!(notices::phone_notices))
        .routes(routes!(answers::phone_pending))
        .routes(routes!(answers::phone_request))
        .routes(routes!(answers::seen))
}

/// Those of phones that may be retired.
pub(super) fn of_any_phones() -> OpenApiRouter<Api> {
    OpenApiRouter::new().routes(routes!(notices::not_me))
}

/// Those whose statement says who they are.
pub(super) fn of_statements() -> OpenApiRouter<Api> {
    OpenApiRouter::new().routes(routes!(phone::roll)).routes(routes!(answers::answer))
}

/// Those of whoever calls: what somebody must know before they can sign in.
pub(super) fn of_anybody() -> OpenApiRouter<Api> {
    OpenApiRouter::new().routes(routes!(sign_in::sign_in))
}

/// Who calls, as the store knows people.
fn person(member: &Member) -> Person {
    Person { workspace: member.workspace.clone(), user: member.user.clone() }
}

/// Who calls, as the audit trail knows who acts.
fn actor(member: &Member) -> Actor {
    Actor { id: member.user.clone(), role: ActorRole::Of(member.role) }
}
