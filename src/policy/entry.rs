//! What the policy store knows of a workspace and of a person, in the shape in which it is cached.
//!
//! Two entries, never joined: a workspace's settings and a person's preferences and devices, each with one version that rises with
//! every write. So one admin's click makes one entry stale, not one for each member.
//!
//! The point of [`UserEntry`] is its size: a worker keeps a hundred thousand of them. It is one shared slice of bytes, read in
//! place; the same bytes travel to Redis. [`User`] is its open form for whoever writes one.
use std::fmt;
use std::sync::Arc;

use crate::event::{DeviceId, NotificationType, Timestamp};
use crate::policy::{Preference, Setting};

/// An app's identity at its platform: bundle id or package name.
pub type AppId = Box<str>;

/// How much a push says by itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Detail {
    /// A harmless text with the application's or account's name; the app fetches the rest.
    #[default]
    Minimal,
    /// The names of devices and people too; never an address, a place or a code.
    Full,
}

impl Detail {
    /// The name in the API and the store.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Minimal => "minimal",
            Self::Full => "full",
        }
    }

    /// What has that name.
    pub fn from_name(name: &str) -> Option<Self> {
        [Self::Minimal, Self::Full].into_iter().find(|detail| detail.name() == name)
    }
}

/// A workspace's settings.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Workspace {
    /// Rises with every write; 0 where the store has no row.
    pub version: u64,
    /// For people; empty where the store has no row.
    pub display_name: String,
    /// How much its pushes say.
    pub detail: Detail,
    /// By [`NotificationType::index`].
    pub settings: [Setting; NotificationType::COUNT],
}

impl Workspace {
    /// A workspace of which the store has no row: every type is enabled.
    pub fn unknown() -> Self {
        Self { version: 0, display_name: String::new(), detail: Detail::Minimal, settings: Default::default() }
    }

    /// The setting of one type.
    pub fn setting(&self, kind: NotificationType) -> Setting {
        self.settings[kind.index()]
    }
}

/// The push platforms.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Platform {
    /// Apple Push Notification service.
    Apns,
    /// Firebase Cloud Messaging.
    Fcm,
}

impl Platform {
    /// The name in config, metrics and the store.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Apns => "apns",
            Self::Fcm => "fcm",
        }
    }
}

/// Which of a platform's worlds a token belongs to. FCM knows production only.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Default, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Environment {
    /// Apps from a store.
    #[default]
    Production,
    /// Apps from a developer's machine.
    Sandbox,
}

impl Environment {
    /// The name in config and the store.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Production => "production",
            Self::Sandbox => "sandbox",
        }
    }
}

/// A push token: a bearer capability, so it never prints.
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct Token(Box<str>);

impl Token {
    /// Takes a platform's token as it is. Its length is the platform's affair; the store bounds it.
    pub fn new(text: impl Into<Box<str>>) -> Self {
        Self(text.into())
    }

    /// The token itself. Whoever calls this must not print it.
    pub fn expose(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Token {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Token(redacted)")
    }
}

/// What makes an installation unique across people: a dead token is dead for all of them.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Installation {
    /// The platform of the app.
    pub platform: Platform,
    /// The app.
    pub app: AppId,
    /// The token's world.
    pub environment: Environment,
    /// The token.
    pub token: Token,
}

/// One device of a person, open form.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Device {
    /// The row's id.
    pub id: DeviceId,
    /// Where pushes go.
    pub installation: Installation,
    /// BCP 47 tag of the phone's language; at most 35 bytes (RFC 5646 §4.4.1).
    pub locale: String,
    /// When this token was registered.
    pub registered_at: Timestamp,
    /// Whether its person wants it not to ring, as far as that is theirs to say.
    pub quiet: bool,
}

/// A person's preferences and devices, open form.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct User {
    /// Rises with every write to either; 0 where the store has no row.
    pub version: u64,
    /// By [`NotificationType::index`].
    pub preferences: [Preference; NotificationType::COUNT],
    /// At most 255, in the order of their ids.
    pub devices: Vec<Device>,
}

/// Why a user does not fit into a [`UserEntry`], or bytes are none.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum EntryError {
    /// More than 255 devices, or a field longer than its length byte can say (id, app and locale 255 bytes, token 65,535).
    #[error("a user has at most 255 devices, with app and locale of at most 255 bytes")]
    TooLarge,
    /// The bytes are not what [`UserEntry::pack`] writes.
    #[error("the bytes are no user entry of this version")]
    Malformed,
}

/// First byte of a packed entry; an entry of another layout is a miss, never a wrong answer.
const LAYOUT: u8 = 2;
const HEADER_BYTES: usize = 1 + 8 + 1 + 1;
/// All bits of a device's first byte that mean something.
const FLAGS_MAX: u8 = 0b111;

/// A person's preferences and devices, packed; cloning shares the bytes.
///
/// Layout, integers big-endian: layout (1), version (8), preferences as bits (1, set = off), device count (1); then for each device
/// platform, environment and quiet as bits (1), registered_at in ms (8), lengths of id, app, locale (1 each) and token (2), and their bytes.
#[derive(Clone, PartialEq, Eq)]
pub struct UserEntry(Arc<[u8]>);

impl UserEntry {
    /// Packs the open form.
    pub fn pack(user: &User) -> Result<Self, EntryError> {
        let count = u8::try_from(user.devices.len()).map_err(|_| EntryError::TooLarge)?;
        let mut bytes = Vec::with_capacity(HEADER_BYTES + user.devices.len() * 160);
        bytes.push(LAYOUT);
        bytes.extend_from_slice(&user.version.to_be_bytes());
        let off = NotificationType::ALL.into_iter().filter(|kind| user.preferences[kind.index()] == Preference::Off);
        bytes.push(off.fold(0, |bits, kind| bits | 1 << kind.index()));
        bytes.push(count);
        for device in &user.devices {
            pack_device(&mut bytes, device)?;
        }
        Ok(Self(bytes.into()))
    }

    /// Takes packed bytes, after checking every length in them.
    pub fn from_bytes(bytes: &[u8]) -> Result<Self, EntryError> {
        if bytes.len() < HEADER_BYTES || bytes[0] != LAYOUT {
            return Err(EntryError::Malformed);
        }
        let mut rest = &bytes[HEADER_BYTES..];
        for _ in 0..bytes[HEADER_BYTES - 1] {
            let (device, tail) = DeviceView::split(rest).ok_or(EntryError::Malformed)?;
            let texts = [device.id, device.app, device.locale, device.token];
            let texts = texts.into_iter().all(|text| std::str::from_utf8(text).is_ok());
            if !texts || !DeviceId::admits(device.id()) || device.flags > FLAGS_MAX {
                return Err(EntryError::Malformed);
            }
            rest = tail;
        }
        if rest.is_empty() { Ok(Self(bytes.into())) } else { Err(EntryError::Malformed) }
    }

    /// A person of whom the store has no row: everything on, no device.
    pub fn unknown() -> Self {
        let mut bytes = [0; HEADER_BYTES];
        bytes[0] = LAYOUT;
        Self(bytes.as_slice().into())
    }

    /// The packed bytes.
    pub fn as_bytes(&self) -> &[u8] {
        &self.0
    }

    /// Rises with every write; 0 where the store has no row.
    pub fn version(&self) -> u64 {
        let mut version = [0; 8];
        version.copy_from_slice(&self.0[1..9]);
        u64::from_be_bytes(version)
    }

    /// The preference of one type.
    pub fn preference(&self, kind: NotificationType) -> Preference {
        if self.0[9] & 1 << kind.index() == 0 { Preference::On } else { Preference::Off }
    }

    /// How many devices there are.
    pub fn device_count(&self) -> usize {
        usize::from(self.0[10])
    }

    /// The devices, in the order of their ids.
    pub fn devices(&self) -> impl Iterator<Item = DeviceView<'_>> {
        let mut rest = &self.0[HEADER_BYTES..];
        std::iter::from_fn(move || {
            let (device, tail) = DeviceView::split(rest)?;
            rest = tail;
            Some(device)
        })
    }

    /// The device of that id.
    pub fn device(&self, id: &str) -> Option<DeviceView<'_>> {
        self.devices().find(|device| device.id() == id)
    }
}

impl fmt::Debug for UserEntry {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("UserEntry").field("version", &self.version()).field("devices", &self.device_count()).finish()
    }
}

fn pack_device(bytes: &mut Vec<u8>, device: &Device) -> Result<(), EntryError> {
    let Installation { platform, app, environment, token } = &device.installation;
    let short = |text: &str| u8::try_from(text.len()).map_err(|_| EntryError::TooLarge);
    let flags = u8::from(*platform == Platform::Fcm)
        | u8::from(*environment == Environment::Sandbox) << 1
        | u8::from(device.quiet) << 2;
    bytes.push(flags);
    bytes.extend_from_slice(&device.registered_at.as_millis().to_be_bytes());
    bytes.extend_from_slice(&[short(device.id.as_str())?, short(app)?, short(&device.locale)?]);
    let token_len = u16::try_from(token.expose().len()).map_err(|_| EntryError::TooLarge)?;
    bytes.extend_from_slice(&token_len.to_be_bytes());
    for text in [device.id.as_str(), app, &device.locale, token.expose()] {
        bytes.extend_from_slice(text.as_bytes());
    }
    Ok(())
}

/// One device within a [`UserEntry`], read in place. Its token never prints.
#[derive(Clone, Copy)]
pub struct DeviceView<'a> {
    flags: u8,
    registered_at: i64,
    id: &'a [u8],
    app: &'a [u8],
    locale: &'a [u8],
    token: &'a [u8],
}

impl<'a> DeviceView<'a> {
    fn split(bytes: &'a [u8]) -> Option<(Self, &'a [u8])> {
        let (head, mut rest) = bytes.split_at_checked(14)?;
        let registered_at = i64::from_be_bytes(head[1..9].try_into().ok()?);
        let mut take = |len: usize| {
            let (text, tail) = rest.split_at_checked(len)?;
            rest = tail;
            Some(text)
        };
        let id = take(usize::from(head[9]))?;
        let app = take(usize::from(head[10]))?;
        let locale = take(usize::from(head[11]))?;
        let token = take(usize::from(u16::from_be_bytes([head[12], head[13]])))?;
        Some((Self { flags: head[0], registered_at, id, app, locale, token }, rest))
    }

    /// The row's id.
    pub fn id(&self) -> &'a str {
        text(self.id)
    }

    /// The row's id, to keep.
    pub fn device_id(&self) -> DeviceId {
        DeviceId::checked(self.id())
    }

    /// The platform.
    pub fn platform(&self) -> Platform {
        if self.flags & 1 == 0 { Platform::Apns } else { Platform::Fcm }
    }

    /// The token's world.
    pub fn environment(&self) -> Environment {
        if self.flags & 2 == 0 { Environment::Production } else { Environment::Sandbox }
    }

    /// Whether its person wants it not to ring.
    pub fn quiet(&self) -> bool {
        self.flags & 4 != 0
    }

    /// The app.
    pub fn app(&self) -> &'a str {
        text(self.app)
    }

    /// BCP 47 tag of the phone's language.
    pub fn locale(&self) -> &'a str {
        text(self.locale)
    }

    /// The token itself. Whoever calls this must not print it.
    pub fn expose_token(&self) -> &'a str {
        text(self.token)
    }

    /// When this token was registered.
    pub fn registered_at(&self) -> Timestamp {
        Timestamp(self.registered_at)
    }

    /// What makes this installation unique.
    pub fn installation(&self) -> Installation {
        Installation {
            platform: self.platform(),
            app: self.app().into(),
            environment: self.environment(),
            token: Token::new(self.expose_token()),
        }
    }
}

impl fmt::Debug for DeviceView<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("DeviceView").field("id", &self.id()).field("platform", &self.platform()).finish_non_exhaustive()
    }
}

/// Every text was checked when the entry was made, so this never gives the default.
fn text(bytes: &[u8]) -> &str {
    std::str::from_utf8(bytes).unwrap_or_default()
}

#[cfg(test)]
#[path = "entry_tests.rs"]
mod tests;
