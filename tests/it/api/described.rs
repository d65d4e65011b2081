//! Whether an answer is one that the description promises.
use serde_json::Value;

/// What is wrong with an answer of that method and address; nothing for addresses that the description does not have.
pub fn violations(document: &Value, method: &str, path: &str, status: u16, kind: &str, body: &Value) -> Vec<String> {
    let Some(operation) = operation(document, method, path) else { return Vec::new() };
    let response = resolved(document, &operation["responses"][status.to_string()]);
    if response.is_null() {
        return vec![format!("{status} is not described")];
    }
    let content = response["content"].as_object();
    match content.and_then(|content| content.iter().next()) {
        None if body.is_null() => Vec::new(),
        None => vec![format!("{status} is described without a body and has {body}")],
        Some((described, _)) if described != kind => vec![format!("{status} is {kind} and not {described}")],
        Some((_, content)) => shape(document, &content["schema"], body, "body"),
    }
}

/// Every operation of the description: method in capitals, and address.
pub fn operations(document: &Value) -> Vec<(String, String)> {
    let paths = document["paths"].as_object().unwrap();
    let of = |(path, item): (&String, &Value)| -> Vec<(String, String)> {
        item.as_object().unwrap().keys().map(|method| (method.to_uppercase(), path.clone())).collect()
    };
    paths.iter().flat_map(of).collect()
}

fn operation<'a>(document: &'a Value, method: &str, path: &str) -> Option<&'a Value> {
    let path = path.split('?').next().unwrap();
    let fits = |template: &str| {
        let (template, path): (Vec<_>, Vec<_>) = (template.split('/').collect(), path.split('/').collect());
        let same = |(expected, found): (&&str, &&str)| expected == found || expected.starts_with('{');
        template.len() == path.len() && template.iter().zip(&path).all(same)
    };
    // What is spelled out wins over a name.
    let mut found: Vec<_> =
        document["paths"].as_object().unwrap().iter().filter(|(template, _)| fits(template)).collect();
    found.sort_by_key(|(template, _)| template.matches('{').count());
    found.iter().find_map(|(_, item)| item.get(method.to_lowercase()))
}

fn resolved<'a>(document: &'a Value, value: &'a Value) -> &'a Value {
    match value["$ref"].as_str() {
        Some(reference) => document.pointer(reference.strip_prefix('#').unwrap()).unwrap(),
        None => value,
    }
}

/// Where a value is not of that shape. Members that are not described are wrong too, but in problems, which may have more.
fn shape(document: &Value, schema: &Value, value: &Value, at: &str) -> Vec<String> {
    let schema = resolved(document, schema);
    if let Some(variants) = schema["oneOf"].as_array() {
        let tries: Vec<_> = variants.iter().map(|variant| shape(document, variant, value, at)).collect();
        return if tries.iter().any(Vec::is_empty) { Vec::new() } else { tries.concat() };
    }
    let types: Vec<&str> = match &schema["type"] {
        Value::String(one) => vec![one],
        Value::Array(types) => types.iter().map(|one| one.as_str().unwrap()).collect(),
        _ => panic!("{at}: a schema without a type: {schema}"),
    };
    let found = match value {
        Value::Null => "null",
        Value::Bool(_) => "boolean",
        Value::Number(_) => "integer",
        Value::String(_) => "string",
        Value::Array(_) => "array",
        Value::Object(_) => "object",
    };
    if !types.contains(&found) {
        return vec![format!("{at} is {found} and not {types:?}")];
    }
    let mut wrong = Vec::new();
    if schema["enum"].as_array().is_some_and(|words| !words.contains(value)) {
        wrong.push(format!("{at} is {value}, which is not described"));
    }
    for (number, item) in value.as_array().into_iter().flatten().enumerate() {
        wrong.extend(shape(document, &schema["items"], item, &format!("{at}[{number}]")));
    }
    let Some(members) = value.as_object() else { return wrong };
    for required in schema["required"].as_array().into_iter().flatten() {
        if !members.contains_key(required.as_str().unwrap()) {
            wrong.push(format!("{at} has no {required}"));
        }
    }
    let open = schema["required"].as_array().is_some_and(|required| required.contains(&"detail".into()));
    for (name, member) in members {
        match &schema["properties"][name] {
            Value::Null if open => {}
            Value::Null => wrong.push(format!("{at}.{name} is not described")),
            described => wrong.extend(shape(document, described, member, &format!("{at}.{name}"))),
        }
    }
    wrong
}

#[test]
fn what_is_not_described_is_found() {
    // The check itself: a status, a type, a word, a missing member and one too many.
    let document = watchbell::control::document();
    let said = |status, kind: &str, body: Value| violations(&document, "GET", "/v1/me", status, kind, &body).join("; ");
    let me =
        serde_json::json!({"user": "ada", "operator": false, "workspaces": [{"workspace": "acme", "role": "owner"}]});
    assert_eq!(said(200, "application/json", me.clone()), "");
    assert!(said(418, "application/json", me.clone()).contains("418"));
    assert!(said(200, "text/plain", me.clone()).contains("text/plain"));
    for (pointer, value, told) in [
        ("/user", Value::Null, "body.user is null"),
        ("/workspaces/0/role", "king".into(), "body.workspaces[0].role is \"king\""),
        ("/workspaces/0", serde_json::json!({"workspace": "a"}), "has no \"role\""),
        ("/workspaces/0", serde_json::json!({"workspace": "a", "role": "user", "x": 1}), "x is not described"),
    ] {
        let mut wrong = me.clone();
        *wrong.pointer_mut(pointer).unwrap() = value;
        assert!(said(200, "application/json", wrong).contains(told), "{told}");
    }
}
