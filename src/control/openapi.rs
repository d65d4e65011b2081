//! The interface described by itself: OpenAPI 3.1, made from the endpoints' own signatures and words.
//!
//! The point: what holds for every endpoint (who may call, how a refusal looks, what tags do) is added in one place, by what the endpoint
//! takes, so that no endpoint can forget to say it.
use serde_json::{Map, Value, json};
use utoipa::openapi::Required;
use utoipa::openapi::path::{Parameter, ParameterBuilder, ParameterIn};
use utoipa::openapi::schema::{ObjectBuilder, Type};
use utoipa_axum::router::OpenApiRouter;

use super::endpoint;
use super::state::Api;

/// What opens the description, in paragraphs.
const ABOUT: &str = "\
What people see and decide: a workspace's admins set each type of notification to disabled, enabled or enforced; each person \
switches what is enabled for themselves, and reads what awaits their answer.

Send an access token of the sign-in service as `Authorization: Bearer`. What your role does not allow is answered 403, a workspace \
that is not yours 404.

Every refusal is `application/problem+json` (RFC 9457): `type` is for programs and never changes, `detail` is a sentence to show to \
people. Every answer has an `X-Request-Id`; send one to choose it.

What can be changed has an `ETag`. Send it back in `If-Match` and nobody overwrites what they have not seen; send it in `If-None-Match` \
and an answer that has not changed has no body. Settings have one tag, a person's devices one, and preferences one that changes with \
either; whatever is done to a person's devices takes the tag of their list. What only adds (a challenge, a test, a receipt), or is a \
signed statement about one thing by itself (an answer, a key's successor, a promotion by another phone), takes no `If-Match`: it overwrites \
nothing that somebody could have seen differently. Nor does an erasure, which takes whatever there is.

Ids in addresses are percent-encoded. Moments are RFC 3339 in UTC. New members, and new words where an answer has one of \
several, may be added at any time: pass over what you do not know.";

/// The answers that follow from what an endpoint takes: status, name, description, whether `Retry-After` comes with it.
const REFUSALS: [(&str, &str, &str, bool); 11] = [
    ("400", "Unreadable", "A header, a page or the body cannot be read.", false),
    ("401", "NotSignedIn", "There is no token, or it does not count.", false),
    ("403", "NotAllowed", "Your role does not allow it.", false),
    ("404", "NotFound", "There is no such workspace for you, or nothing of that name in it.", false),
    ("412", "ChangedMeanwhile", "It is not any more what you saw. Nothing was changed.", false),
    ("413", "TooLarge", "The body is too large.", false),
    ("415", "NotJson", "The body is not JSON.", false),
    ("422", "WrongBody", "The body is JSON, but not what this takes.", false),
    ("429", "TooMany", "You made too many requests.", true),
    ("500", "Broken", "A mistake of the service's.", false),
    ("503", "NotNow", "It cannot be done at the moment.", true),
];

/// How a header of tags reads (RFC 9110 §8.8.3): any, or tags in quotes; none of ours has a comma in it.
const TAGS: &str = r#"^(\*|(W/)?"[!#-+.-~-]*"(, ?(W/)?"[!#-+.-~-]*")*)$"#;
/// How ids read: see [`crate::event::UserId`].
const ID: &str = "^[!-~]{1,128}$";

/// What may stand in an address, and what it says.
const NAMES: [(&str, &str); 6] = [
    ("workspace", "The workspace's id."),
    ("user", "The person's id, percent-encoded."),
    ("device", "The device's id, percent-encoded."),
    ("event", "The event's id, percent-encoded."),
    ("notice", "The notice's id."),
    ("test", "The test's id."),
];

/// A header that may be left out, for an endpoint's `params`.
pub(super) fn optional_header(name: &str, says: &str) -> Parameter {
    let text = ObjectBuilder::new().schema_type(Type::String).pattern(Some(TAGS));
    let header = ParameterBuilder::new().name(name).parameter_in(ParameterIn::Header).required(Required::False);
    header.description(Some(says)).schema(Some(text)).build()
}

/// The endpoints, each with its own words.
fn routes() -> OpenApiRouter<Api> {
    let people = OpenApiRouter::new().merge(endpoint::routes()).merge(endpoint::of_operators());
    let phones = endpoint::of_phones().merge(endpoint::of_any_phones()).merge(endpoint::of_statements());
    people.merge(phones).merge(endpoint::of_anybody())
}

/// The whole description.
pub fn document() -> Value {
    finish(routes().into_openapi())
}

/// Adds what holds for all endpoints.
pub(super) fn finish(document: utoipa::openapi::OpenApi) -> Value {
    let mut document = serde_json::to_value(document).unwrap_or_default();
    document["info"] = json!({
        "title": "Watchbell", "version": env!("CARGO_PKG_VERSION"), "description": ABOUT,
        "license": { "name": "Apache 2.0", "identifier": "Apache-2.0" },
    });
    document["security"] = json!([{ "token": [] }]);
    document["components"]["securitySchemes"] = json!({ "token": {
        "type": "http", "scheme": "bearer", "bearerFormat": "JWT", "description": "An access token of your sign-in service.",
    }, "proof": {
        "type": "apiKey", "in": "header", "name": "DPoP", "description": "A proof by the phone's key, in the manner of RFC 9449.",
    }});
    document["components"]["schemas"]["Problem"] = problem();
    document["components"]["responses"] = Value::Object(
        REFUSALS
            .iter()
            .map(|(_, name, description, retry)| ((*name).to_owned(), refusal(description, *retry)))
            .collect(),
    );
    for (path, item) in document["paths"].as_object_mut().into_iter().flatten() {
        for operation in item.as_object_mut().into_iter().flat_map(Map::values_mut) {
            name_all(path, operation);
            complete(operation);
        }
    }
    document
}

/// Adds what stands in its address, and the proof by which phones call.
fn name_all(path: &str, operation: &mut Value) {
    let mut named: Vec<Value> = Vec::new();
    for (name, says) in NAMES.iter().filter(|(name, _)| path.contains(&format!("{{{name}}}"))) {
        let schema = json!({ "type": "string", "pattern": ID });
        named.push(json!({ "name": name, "in": "path", "required": true, "description": says, "schema": schema }));
    }
    if path.contains("{type}") {
        let schema = json!({ "$ref": "#/components/schemas/NotificationType" });
        let says = "The type of notification.";
        named.push(json!({ "name": "type", "in": "path", "required": true, "description": says, "schema": schema }));
    }
    let order = |parameter: &Value| path.find(&format!("{{{}}}", parameter["name"].as_str().unwrap_or_default()));
    named.sort_by_key(order);
    let by_proof =
        operation["security"].as_array().is_some_and(|ways| ways.iter().any(|way| way.get("proof").is_some()));
    if by_proof && !takes(operation, "DPoP") {
        let says = "A proof by the phone's key.";
        named.push(json!({ "name": "DPoP", "in": "header", "required": true, "description": says, "schema": { "type": "string" } }));
    }
    named.extend(operation["parameters"].as_array().into_iter().flatten().cloned());
    if !named.is_empty() {
        operation["parameters"] = named.into();
    }
}

/// Every operation of the document.
#[cfg(test)]
fn operations(document: &mut Value) -> impl Iterator<Item = &mut Value> {
    let paths = document["paths"].as_object_mut().into_iter().flat_map(Map::values_mut);
    paths.filter_map(Value::as_object_mut).flat_map(Map::values_mut).filter(|value| value.get("responses").is_some())
}

fn takes(operation: &Value, name: &str) -> bool {
    operation["parameters"].as_array().into_iter().flatten().any(|parameter| parameter["name"] == name)
}

/// Adds the answers that follow from what it takes.
fn complete(operation: &mut Value) {
    let takes = |name| takes(operation, name);
    let (in_workspace, changes, shows) = (takes("workspace"), takes("If-Match"), takes("If-None-Match"));
    let has_body = operation.get("requestBody").is_some();
    // Who has said nothing of themselves can be refused for nothing.
    let knows_who = in_workspace || operation["security"] != json!([{}]);
    let reads = changes || shows || has_body || takes("before") || takes("after");
    for (status, name, ..) in REFUSALS {
        let applies = match status {
            "400" => reads,
            "401" | "429" => knows_who,
            "403" | "404" => in_workspace,
            "412" => changes,
            "413" | "415" | "422" => has_body,
            _ => true,
        };
        if applies {
            operation["responses"][status] = json!({ "$ref": format!("#/components/responses/{name}") });
        }
    }
    if shows {
        operation["responses"]["304"] = json!({ "description": "It is what you have.", "headers": { "ETag": tag() } });
    }
    let Some(responses) = operation["responses"].as_object_mut() else { return };
    for (status, response) in responses.iter_mut().filter(|(_, response)| response.get("$ref").is_none()) {
        if status.starts_with('4') && response.get("content").is_none() {
            response["content"] = problem_content();
        }
        if status == "200" && (shows || changes) {
            response["headers"]["ETag"] = tag();
        }
    }
}

fn tag() -> Value {
    json!({ "description": "The tag of what is shown.", "schema": { "type": "string" } })
}

fn refusal(description: &str, retry: bool) -> Value {
    let mut response = json!({ "description": description, "content": problem_content() });
    if retry {
        let schema = json!({ "type": "integer", "minimum": 1 });
        response["headers"]["Retry-After"] = json!({ "description": "Seconds to wait at least.", "schema": schema });
    }
    response
}

fn problem_content() -> Value {
    json!({ "application/problem+json": { "schema": { "$ref": "#/components/schemas/Problem" } } })
}

/// RFC 9457 §3.1, with what this service promises of each member.
fn problem() -> Value {
    json!({
        "type": "object", "description": "A refusal. There may be more members, such as what is in the way.",
        "required": ["type", "title", "status", "detail"],
        "properties": {
            "type": { "type": "string", "description": "What it is to a program: urn:watchbell:problem: and a word." },
            "title": { "type": "string", "description": "What it is in a few words." },
            "status": { "type": "integer", "description": "The answer's status." },
            "detail": { "type": "string", "description": "What happened and what to do, in a sentence for people." },
        },
    })
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn the_description_is_whole() {
        // OpenAPI 3.1; each operation has an id of its own, words, a tag, and the answers that every one has; every reference leads somewhere.
        let mut document = document();
        assert!(document["openapi"].as_str().unwrap().starts_with("3.1."), "{}", document["openapi"]);
        let text = document.to_string();
        for reference in text.split("\"#/").skip(1).map(|rest| rest.split('"').next().unwrap()) {
            assert!(document.pointer(&format!("/{reference}")).is_some(), "{reference} leads nowhere");
        }
        let mut ids = BTreeSet::new();
        for operation in operations(&mut document) {
            let id = operation["operationId"].as_str().unwrap().to_owned();
            assert!(operation["summary"].is_string() && operation["tags"][0].is_string(), "{id}: {operation}");
            for status in ["200", "401", "429", "500", "503"] {
                let told = operation["responses"].get(status).is_some();
                let to_nobody = id == "sign_in" && ["401", "429"].contains(&status);
                assert!(told != to_nobody, "{id} and {status}");
            }
            for parameter in operation["parameters"].as_array().into_iter().flatten() {
                assert!(parameter["description"].is_string(), "{id}: {parameter}");
                let is_text = parameter["in"] == "path" && parameter["schema"]["type"] == "string";
                let closed = parameter["schema"].get("pattern").or_else(|| parameter["schema"].get("enum"));
                assert!(!is_text || closed.is_some(), "{id}: nothing says how this reads: {parameter}");
            }
            assert!(ids.insert(id.clone()), "{id} is there twice");
        }
        assert!(ids.len() >= 13, "{ids:?}");
        for (name, schema) in document["components"]["schemas"].as_object().unwrap() {
            for (member, of) in schema["properties"].as_object().into_iter().flatten() {
                let told = of.get("description").is_some() || of.get("$ref").is_some() || of.get("oneOf").is_some();
                assert!(told, "{name}.{member} is not described");
            }
        }
    }

    #[test]
    fn what_an_endpoint_takes_decides_its_answers() {
        // Who takes no body has no answer about bodies; who shows no tag promises none.
        let document = document();
        let statuses = |path: &str, method: &str| -> Vec<String> {
            document["paths"][path][method]["responses"].as_object().unwrap().keys().cloned().collect()
        };
        assert_eq!(statuses("/v1/me", "get"), ["200", "401", "429", "500", "503"]);
        let setting = statuses("/v1/workspaces/{workspace}/settings/{type}", "put");
        assert_eq!(setting, ["200", "400", "401", "403", "404", "412", "413", "415", "422", "429", "500", "503"]);
        let preference = "/v1/workspaces/{workspace}/me/preferences/{type}";
        assert!(statuses(preference, "put").contains(&"409".to_owned()));
        assert!(statuses("/v1/workspaces/{workspace}/settings", "get").contains(&"304".to_owned()));
    }
}
