//! From the tree to changes, collecting every problem on the way.
use std::collections::HashMap;
use std::collections::hash_map::Entry;

use super::tree::{Node, Value};
use super::{Import, Problem};
use crate::event::{DeviceId, IdError, NotificationType, Timestamp, UserId, WorkspaceId};
use crate::policy::{Detail, Device, Environment, Installation, Platform, Preference, Setting, Token};
use crate::store::write::{Change, DEVICES_MAX};

/// What a phone's language is taken for where it is left out: the one in which every text exists.
const DEFAULT_LOCALE: &str = "en-US";

/// Reads one file.
pub(super) struct Reader {
    now: Timestamp,
    import: Import,
    problems: Vec<Problem>,
}

/// A table whose entries are taken one by one; what is left over is unknown.
struct Table {
    line: usize,
    path: String,
    entries: Vec<(String, Node)>,
}

impl Table {
    fn take(&mut self, key: &str) -> Option<Node> {
        let position = self.entries.iter().position(|(name, _)| name == key)?;
        Some(self.entries.swap_remove(position).1)
    }
}

/// Lines on which something that must be unique was seen first.
type Seen<K> = HashMap<K, usize>;

impl Reader {
    pub(super) fn new(now: Timestamp) -> Self {
        Self { now, import: Import::default(), problems: Vec::new() }
    }

    pub(super) fn done(mut self) -> Result<Import, Vec<Problem>> {
        self.problems.sort();
        if self.problems.is_empty() { Ok(self.import) } else { Err(self.problems) }
    }

    pub(super) fn root(&mut self, node: Node) {
        let Some(mut root) = self.table(node, String::new()) else { return };
        let mut seen = Seen::new();
        for (position, node) in self.list(&mut root, "workspaces").into_iter().enumerate() {
            self.workspace(node, format!("workspaces[{position}]"), &mut seen);
        }
        self.end(root);
    }

    fn workspace(&mut self, node: Node, path: String, seen: &mut Seen<String>) {
        let Some(mut table) = self.table(node, path) else { return };
        let id = self.id(&mut table, WorkspaceId::new);
        let display_name = self.text(&mut table, "display_name");
        let detail = self.word(&mut table, "detail", &[("minimal", Detail::Minimal), ("full", Detail::Full)]);
        let levels = [("disabled", Setting::Disabled), ("enabled", Setting::Enabled), ("enforced", Setting::Enforced)];
        let settings = self.by_type(&mut table, "settings", &levels);
        let users = self.list(&mut table, "users");
        let (line, path) = (table.line, table.path.clone());
        self.end(table);
        // What is inside is read also where the id is wrong: all problems at once.
        let workspace = id.clone().or_else(|| WorkspaceId::new("x").ok());
        let Some(workspace) = workspace else { return };
        if id.is_some() {
            self.unique(seen, workspace.as_str().to_owned(), line, &path, "the workspace");
        }
        self.import.workspaces += 1;
        let display_name = display_name.unwrap_or_else(|| workspace.as_str().to_owned());
        let change =
            Change::Workspace { workspace: workspace.clone(), display_name, detail: detail.unwrap_or_default() };
        self.change(change, line, &path);
        for (kind, setting) in settings {
            self.change(Change::Setting { workspace: workspace.clone(), kind, setting }, line, &path);
        }
        let (mut people, mut installations) = (Seen::new(), Seen::new());
        for (position, node) in users.into_iter().enumerate() {
            self.user(node, format!("{path}.users[{position}]"), &workspace, &mut people, &mut installations);
        }
    }

    fn user(
        &mut self,
        node: Node,
        path: String,
        workspace: &WorkspaceId,
        seen: &mut Seen<String>,
        installations: &mut Seen<Installation>,
    ) {
        let Some(mut table) = self.table(node, path) else { return };
        let id = self.id(&mut table, UserId::new);
        let choices = [("on", Preference::On), ("off", Preference::Off)];
        let preferences = self.by_type(&mut table, "preferences", &choices);
        let devices = self.list(&mut table, "devices");
        let (line, path) = (table.line, table.path.clone());
        self.end(table);
        let Some(user) = id.clone().or_else(|| UserId::new("x").ok()) else { return };
        if id.is_some() {
            self.unique(seen, user.as_str().to_owned(), line, &path, "the user");
        }
        self.import.users += 1;
        for (kind, preference) in preferences {
            let change = Change::Preference { workspace: workspace.clone(), user: user.clone(), kind, preference };
            self.change(change, line, &path);
        }
        if devices.len() > DEVICES_MAX {
            self.problem(line, &path, format!("has {} devices, at most {DEVICES_MAX} are allowed", devices.len()));
        }
        let mut ids = Seen::new();
        for (position, node) in devices.into_iter().enumerate() {
            let path = format!("{path}.devices[{position}]");
            let Some((line, device)) = self.device(node, path.clone()) else { continue };
            self.unique(&mut ids, device.id.as_str().to_owned(), line, &path, "the device");
            self.unique(
                installations,
                device.installation.clone(),
                line,
                &path,
                "the installation (app, environment, token)",
            );
            self.import.devices += 1;
            let change =
                Change::Device { workspace: workspace.clone(), user: user.clone(), device, last_seen: self.now };
            self.change(change, line, &path);
        }
    }

    fn device(&mut self, node: Node, path: String) -> Option<(usize, Device)> {
        let mut table = self.table(node, path)?;
        let id = self.id(&mut table, DeviceId::new);
        let platforms = [("apns", Platform::Apns), ("fcm", Platform::Fcm)];
        let platform =
            self.required(&mut table, "platform", |reader, table| reader.word(table, "platform", &platforms));
        let app = self.required(&mut table, "app", |reader, table| reader.text(table, "app"));
        let token = self.required(&mut table, "token", |reader, table| reader.text(table, "token"));
        let worlds = [("production", Environment::Production), ("sandbox", Environment::Sandbox)];
        let environment = self.word(&mut table, "environment", &worlds).unwrap_or_default();
        let locale = self.text(&mut table, "locale").unwrap_or_else(|| DEFAULT_LOCALE.to_owned());
        let registered_at = self.moment(&mut table, "registered_at").unwrap_or(self.now);
        let (line, path) = (table.line, table.path.clone());
        if platform == Some(Platform::Fcm) && environment == Environment::Sandbox {
            self.problem(line, &path, "fcm has no sandbox".into());
        }
        self.end(table);
        let installation =
            Installation { platform: platform?, app: app?.into(), environment, token: Token::new(token?) };
        Some((line, Device { id: id?, installation, locale, registered_at, quiet: false }))
    }

    fn change(&mut self, change: Change, line: usize, path: &str) {
        if let Some(problem) = change.problem() {
            self.problem(line, path, problem);
        }
        self.import.changes.push(change);
    }

    fn unique<K: Eq + std::hash::Hash>(&mut self, seen: &mut Seen<K>, key: K, line: usize, path: &str, what: &str) {
        match seen.entry(key) {
            Entry::Vacant(free) => {
                free.insert(line);
            }
            Entry::Occupied(first) => {
                let first = *first.get();
                self.problem(line, path, format!("{what} stands on line {first} already"));
            }
        }
    }

    /// Takes a key that must be there; `read` tells what is wrong with its value.
    fn required<T>(
        &mut self,
        table: &mut Table,
        key: &str,
        read: impl FnOnce(&mut Self, &mut Table) -> Option<T>,
    ) -> Option<T> {
        if !table.entries.iter().any(|(name, _)| name == key) {
            self.problem(table.line, &table.path, format!("{key} is missing"));
        }
        read(self, table)
    }

    fn id<T>(&mut self, table: &mut Table, new: impl FnOnce(String) -> Result<T, IdError>) -> Option<T> {
        let line = table.entries.iter().find(|(name, _)| name == "id").map_or(table.line, |(_, node)| node.line);
        let text = self.required(table, "id", |reader, table| reader.text(table, "id"))?;
        match new(text) {
            Ok(id) => Some(id),
            Err(error) => {
                self.problem(line, &table.path, format!("id {error}"));
                None
            }
        }
    }

    fn text(&mut self, table: &mut Table, key: &str) -> Option<String> {
        let node = table.take(key)?;
        match node.value {
            Value::Text(text) => Some(text),
            other => self.wrong(node.line, &table.path, key, "a text", &other),
        }
    }

    fn moment(&mut self, table: &mut Table, key: &str) -> Option<Timestamp> {
        let node = table.take(key)?;
        match node.value {
            Value::Int(ms) if ms >= 0 => Some(Timestamp(ms)),
            other => self.wrong(node.line, &table.path, key, "milliseconds since 1970, a number", &other),
        }
    }

    fn word<T: Copy>(&mut self, table: &mut Table, key: &str, words: &[(&str, T)]) -> Option<T> {
        let node = table.take(key)?;
        self.one_of(node, &table.path, key, words)
    }

    fn one_of<T: Copy>(&mut self, node: Node, path: &str, key: &str, words: &[(&str, T)]) -> Option<T> {
        let allowed = || words.iter().map(|(word, _)| *word).collect::<Vec<_>>().join(", ");
        match node.value {
            Value::Text(text) => {
                let found = words.iter().find(|(word, _)| *word == text).map(|(_, value)| *value);
                if found.is_none() {
                    self.problem(node.line, path, format!("{key} is {text:?}, must be one of {}", allowed()));
                }
                found
            }
            other => self.wrong(node.line, path, key, &format!("one of {}", allowed()), &other),
        }
    }

    fn by_type<T: Copy>(&mut self, table: &mut Table, key: &str, words: &[(&str, T)]) -> Vec<(NotificationType, T)> {
        let Some(node) = table.take(key) else { return Vec::new() };
        let Some(inner) = self.table(node, join(&table.path, key)) else { return Vec::new() };
        let mut values = Vec::new();
        for (name, node) in inner.entries {
            match NotificationType::from_name(&name) {
                Some(kind) => values.extend(self.one_of(node, &inner.path, &name, words).map(|value| (kind, value))),
                None => {
                    let known = NotificationType::ALL.map(NotificationType::name).join(", ");
                    self.problem(node.line, &inner.path, format!("{name:?} is no type, must be one of {known}"));
                }
            }
        }
        values
    }

    fn list(&mut self, table: &mut Table, key: &str) -> Vec<Node> {
        let Some(node) = table.take(key) else { return Vec::new() };
        match node.value {
            Value::List(nodes) => nodes,
            other => self.wrong(node.line, &table.path, key, "a list", &other).unwrap_or_default(),
        }
    }

    fn table(&mut self, node: Node, path: String) -> Option<Table> {
        match node.value {
            Value::Table(entries) => Some(Table { line: node.line, path, entries }),
            other => {
                self.problem(node.line, &path, format!("is {}, must be a table", other.name()));
                None
            }
        }
    }

    fn end(&mut self, table: Table) {
        for (name, node) in table.entries {
            self.problem(node.line, &table.path, format!("{name:?} is no known key, or stands twice"));
        }
    }

    fn wrong<T>(&mut self, line: usize, path: &str, key: &str, must: &str, found: &Value) -> Option<T> {
        self.problem(line, path, format!("{key} is {}, must be {must}", found.name()));
        None
    }

    fn problem(&mut self, line: usize, path: &str, what: String) {
        let what = if path.is_empty() { what } else { format!("{path}: {what}") };
        self.problems.push(Problem { line, what });
    }
}

fn join(path: &str, key: &str) -> String {
    if path.is_empty() { key.to_owned() } else { format!("{path}.{key}") }
}
