//! The page: the description's words in the order in which somebody reads them. Pure.
//!
//! Whatever stands in the description is text: it is escaped wherever it goes.
use std::fmt::{self, Write};

use serde_json::{Map, Value};

/// The order of the chapters; others come after them.
const CHAPTERS: [&str; 5] = ["You", "Settings", "Preferences", "Requests", "People"];

/// The page of a description.
pub(super) fn render(document: &Value) -> String {
    let mut page = String::new();
    // Writing to a string cannot fail.
    write_page(&mut page, document).ok();
    page
}

fn write_page(page: &mut String, document: &Value) -> fmt::Result {
    let (title, version) = (escaped(&document["info"]["title"]), escaped(&document["info"]["version"]));
    let chapters = chapters(document);
    write!(
        page,
        "<!doctype html><html lang=\"en\"><head><meta charset=\"utf-8\"><title>{title} API</title>\
         <meta name=\"viewport\" content=\"width=device-width, initial-scale=1\"><link rel=\"stylesheet\" href=\"/docs/style.css\">\
         </head><body><nav><p class=\"home\"><a href=\"#top\">{title}</a> <small>{version}</small></p>"
    )?;
    for (chapter, operations) in &chapters {
        write!(page, "<p>{}</p><ul>", text(chapter))?;
        for operation in operations {
            write!(page, "<li><a href=\"#{}\">{}</a></li>", operation.id(), operation.summary())?;
        }
        page.push_str("</ul>");
    }
    write!(page, "<div class=\"shapes\"><p>Shapes</p><ul>")?;
    for name in schemas(document).map(|(name, _)| text(name)) {
        write!(page, "<li><a href=\"#shape-{name}\">{name}</a></li>")?;
    }
    write!(page, "</ul></div></nav><main id=\"top\"><h1>{title} API</h1>")?;
    paragraphs(page, &document["info"]["description"])?;
    page.push_str("<p>For programs: <a href=\"/openapi.json\">openapi.json</a>.</p>");
    for (chapter, operations) in &chapters {
        write!(page, "<h2>{}</h2>", text(chapter))?;
        for operation in operations {
            operation.write(page, document)?;
        }
    }
    page.push_str("<h2>Shapes</h2>");
    for (name, schema) in schemas(document) {
        shape(page, name, schema)?;
    }
    page.push_str("</main></body></html>\n");
    Ok(())
}

/// One method of one address.
struct Operation<'a> {
    path: &'a str,
    method: &'a str,
    of: &'a Value,
}

fn chapters(document: &Value) -> Vec<(String, Vec<Operation<'_>>)> {
    let mut chapters: Vec<(String, Vec<Operation<'_>>)> =
        CHAPTERS.iter().map(|chapter| ((*chapter).to_owned(), Vec::new())).collect();
    for (path, item) in members(&document["paths"]) {
        for (method, of) in members(item).filter(|(_, of)| of.get("responses").is_some()) {
            let chapter = of["tags"][0].as_str().unwrap_or("More").to_owned();
            let operation = Operation { path, method, of };
            match chapters.iter_mut().find(|(name, _)| *name == chapter) {
                Some((_, operations)) => operations.push(operation),
                None => chapters.push((chapter, vec![operation])),
            }
        }
    }
    chapters.retain(|(_, operations)| !operations.is_empty());
    chapters
}

impl Operation<'_> {
    fn id(&self) -> String {
        escaped(&self.of["operationId"])
    }

    fn summary(&self) -> String {
        escaped(&self.of["summary"])
    }

    fn write(&self, page: &mut String, document: &Value) -> fmt::Result {
        let (id, summary, method) = (self.id(), self.summary(), text(&self.method.to_uppercase()));
        write!(
            page,
            "<section id=\"{id}\"><h3>{summary}</h3><p class=\"line\"><b class=\"{method}\">{method}</b> <code>{}</code></p>",
            text(self.path).replace('/', "/<wbr>")
        )?;
        paragraphs(page, &self.of["description"])?;
        self.parameters(page)?;
        if let Some(schema) = self.of.pointer("/requestBody/content/application~1json/schema") {
            write!(page, "<h4>Body</h4><p>{}</p>", kind(schema))?;
        }
        page.push_str("<h4>Answers</h4><table>");
        for (status, response) in members(&self.of["responses"]) {
            let response = resolved(document, response);
            let of_200 = response.pointer("/content/application~1json/schema").map(kind);
            let shape = of_200.map_or_else(String::new, |kind| format!(" {kind}"));
            write!(
                page,
                "<tr><td><code>{}</code></td><td>{}{shape}</td></tr>",
                text(status),
                inline(&response["description"])
            )?;
        }
        page.push_str("</table></section>");
        Ok(())
    }

    fn parameters(&self, page: &mut String) -> fmt::Result {
        let Some(parameters) = self.of["parameters"].as_array().filter(|all| !all.is_empty()) else { return Ok(()) };
        page.push_str("<h4>Takes</h4><table>");
        for parameter in parameters {
            let (place, must) = (escaped(&parameter["in"]), parameter["required"] == true);
            let place = if must { place } else { format!("{place}, optional") };
            write!(
                page,
                "<tr><td><code>{}</code><br><small>{place}</small></td><td>{} <span class=\"kind\">{}</span></td></tr>",
                escaped(&parameter["name"]),
                inline(&parameter["description"]),
                kind(&parameter["schema"])
            )?;
        }
        page.push_str("</table>");
        Ok(())
    }
}

/// A schema of the components, with its members.
fn shape(page: &mut String, name: &str, schema: &Value) -> fmt::Result {
    let name = text(name);
    write!(page, "<section id=\"shape-{name}\"><h3>{name}</h3>")?;
    paragraphs(page, &schema["description"])?;
    let variants = schema["oneOf"].as_array();
    let bodies: Vec<&Value> = variants.map_or_else(|| vec![schema], |variants| variants.iter().collect());
    for body in bodies {
        if !body["properties"].is_object() {
            write!(page, "<p class=\"kind\">{}</p>", kind(body))?;
        }
        let required: Vec<&str> = body["required"].as_array().into_iter().flatten().filter_map(Value::as_str).collect();
        if body["properties"].is_object() {
            page.push_str("<table>");
            for (member, of) in members(&body["properties"]) {
                let optional = if required.contains(&member.as_str()) { "" } else { "<br><small>optional</small>" };
                write!(
                    page,
                    "<tr><td><code>{}</code>{optional}</td><td>{} <span class=\"kind\">{}</span></td></tr>",
                    text(member),
                    inline(&of["description"]),
                    kind(of)
                )?;
            }
            page.push_str("</table>");
        }
    }
    page.push_str("</section>");
    Ok(())
}

/// What a schema takes, in a few words.
fn kind(schema: &Value) -> String {
    if let Some(name) = schema["$ref"].as_str().and_then(|reference| reference.rsplit('/').next()) {
        let name = text(name);
        return format!("<a href=\"#shape-{name}\">{name}</a>");
    }
    if let Some(words) = schema["enum"].as_array() {
        let words: Vec<String> = words.iter().map(|word| format!("<code>{}</code>", escaped(word))).collect();
        return words.join(", ");
    }
    if let Some(variants) = schema["oneOf"].as_array() {
        let variants: Vec<String> = variants.iter().map(kind).filter(|kind| kind != "null").collect();
        return variants.join(" or ");
    }
    let types = match &schema["type"] {
        Value::Array(types) => types.iter().filter_map(Value::as_str).filter(|kind| *kind != "null").collect(),
        Value::String(one) => vec![one.as_str()],
        _ => Vec::new(),
    };
    match (types.first().copied(), schema["format"].as_str()) {
        (Some("array"), _) => format!("list of {}", kind(&schema["items"])),
        (Some("string"), Some("date-time")) => "moment".to_owned(),
        (Some("integer"), _) => "number".to_owned(),
        (Some("boolean"), _) => "true or false".to_owned(),
        (Some(other), _) => text(other),
        (None, _) => String::new(),
    }
}

/// What a reference stands for.
fn resolved<'a>(document: &'a Value, value: &'a Value) -> &'a Value {
    let target = value["$ref"].as_str().and_then(|reference| reference.strip_prefix('#'));
    target.and_then(|pointer| document.pointer(pointer)).unwrap_or(value)
}

fn schemas(document: &Value) -> impl Iterator<Item = (&String, &Value)> {
    members(&document["components"]["schemas"])
}

fn members(value: &Value) -> impl Iterator<Item = (&String, &Value)> {
    value.as_object().into_iter().flat_map(Map::iter)
}

fn paragraphs(page: &mut String, value: &Value) -> fmt::Result {
    let text = value.as_str().unwrap_or_default();
    text.split("\n\n").filter(|text| !text.is_empty()).try_for_each(|text| write!(page, "<p>{}</p>", with_code(text)))
}

fn inline(value: &Value) -> String {
    with_code(value.as_str().unwrap_or_default())
}

/// Text with what stands between backticks as code.
fn with_code(plain: &str) -> String {
    let parts = plain.split('`').enumerate();
    parts.map(|(at, part)| if at % 2 == 1 { format!("<code>{}</code>", text(part)) } else { text(part) }).collect()
}

fn escaped(value: &Value) -> String {
    value.as_str().map_or_else(|| text(&value.to_string()), text)
}

fn text(plain: &str) -> String {
    let mut escaped = String::with_capacity(plain.len());
    for character in plain.chars() {
        match character {
            '&' => escaped.push_str("&amp;"),
            '<' => escaped.push_str("&lt;"),
            '>' => escaped.push_str("&gt;"),
            '"' => escaped.push_str("&quot;"),
            '\'' => escaped.push_str("&#39;"),
            other => escaped.push(other),
        }
    }
    escaped
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn everything_described_is_on_the_page() {
        // Each operation and each shape has its place, and every link within the page leads to one; nothing is loaded from elsewhere.
        let document = crate::control::document();
        let page = render(&document);
        for (path, item) in members(&document["paths"]) {
            assert!(page.contains(&text(path).replace('/', "/<wbr>")), "{path}");
            for (_, operation) in members(item) {
                assert!(page.contains(&format!("<section id=\"{}\">", escaped(&operation["operationId"]))));
            }
        }
        for target in page.split("href=\"#").skip(1).map(|rest| rest.split('"').next().unwrap()) {
            assert!(page.contains(&format!("id=\"{target}\"")), "#{target} leads nowhere");
        }
        assert!(!page.contains("http://") && !page.contains("https://") && !page.contains("<script"));
        assert!(!page.contains("style=\""), "the policy would refuse it");
    }

    #[test]
    fn words_are_text() {
        // What a description says is never markup.
        let operation = json!({ "operationId": "a\"b", "summary": "<i>", "description": "x `<b>` & y", "tags": ["T"], "responses": {} });
        let page = render(&json!({ "info": { "title": "<t>" }, "paths": { "/p": { "get": operation } } }));
        assert!(
            page.contains("&lt;i&gt;")
                && page.contains("x <code>&lt;b&gt;</code> &amp; y")
                && page.contains("a&quot;b")
        );
        assert!(!page.contains("<i>") && !page.contains("<t>"));
    }
}
