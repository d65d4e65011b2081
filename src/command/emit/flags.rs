//! The flags of `emit`: one subcommand for each type, and the small values they are made of.
use std::str::FromStr;
use std::time::Duration;

use clap::{Args, Subcommand, ValueEnum};

use super::Production;
use super::template::Template;
use crate::event::NotificationType;
use crate::event::wire::{self, event::Body};

/// What one type is emitted with.
#[derive(Args)]
pub(super) struct Common {
    /// The workspace's id.
    #[arg(long, value_name = "ID")]
    workspace: String,
    /// The recipients' ids, 1 to 500: several after one another, or the flag repeated.
    #[arg(long = "user", visible_alias = "to", value_name = "ID", required = true, num_args = 1..)]
    users: Vec<String>,
    /// The event's id. The same id again is the same event. Default: a new UUIDv7.
    #[arg(long, value_name = "ID")]
    event_id: Option<String>,
    /// After this time nobody is told any more, for example 90s, 5m, 12h or 7d. Default: by type.
    #[arg(long, value_name = "TIME")]
    expires_in: Option<Lifetime>,
    #[command(flatten)]
    production: Production,
}

/// The types.
#[derive(Subcommand)]
pub(super) enum Typed {
    /// Somebody signs in and the person must say whether it is them: approve or deny.
    IdentityVerification {
        /// The application that asks.
        #[arg(long)]
        application: String,
        /// Why it asks.
        #[arg(long, default_value = "")]
        reason: String,
        /// The device that asks, for people: "Firefox on Windows".
        #[arg(long, default_value = "")]
        device: String,
        /// The address of the browser that asks.
        #[arg(long, default_value = "", value_name = "IP")]
        ip_address: String,
        #[command(flatten)]
        sign_in: SignIn,
        #[command(flatten)]
        common: Box<Common>,
    },
    /// A new device wants to be trusted: approve or deny.
    TrustedDevice {
        /// As its owner named it.
        #[arg(long, value_name = "NAME")]
        device_name: String,
        /// What it is.
        #[arg(long, value_name = "KIND")]
        device_kind: Option<DeviceKind>,
        /// Its browser.
        #[arg(long, default_value = "")]
        browser: String,
        /// Its operating system.
        #[arg(long, default_value = "")]
        operating_system: String,
        #[command(flatten)]
        sign_in: SignIn,
        #[command(flatten)]
        common: Box<Common>,
    },
    /// An account was shared with the person.
    AccountSharing {
        /// The account's name.
        #[arg(long)]
        account: String,
        /// The name of the person who shared it.
        #[arg(long, value_name = "NAME")]
        shared_by: String,
        /// What they may do with it.
        #[arg(long, value_name = "LEVEL")]
        access_level: Option<AccessLevel>,
        #[command(flatten)]
        common: Box<Common>,
    },
    /// A one-time password arrived in a shared account.
    #[command(visible_alias = "otp-received")]
    Otp {
        /// The account's name.
        #[arg(long)]
        account: String,
        /// Who sent the code.
        #[arg(long)]
        service: String,
        #[command(flatten)]
        common: Box<Common>,
    },
    /// An earlier event no longer matters: its notification is taken back.
    Cancel {
        /// The earlier event's id.
        #[arg(long, value_name = "ID")]
        of: String,
        /// The earlier event's type.
        #[arg(long = "type", value_name = "TYPE")]
        kind: TypeOfTopic,
        #[command(flatten)]
        common: Box<Common>,
    },
}

/// What the two types that await an answer say about the attempt.
#[derive(Args)]
pub(super) struct SignIn {
    /// Where, roughly: "Lisbon, Portugal".
    #[arg(long, default_value = "")]
    location: String,
    /// The six digits that approving requires.
    #[arg(long, value_name = "DIGITS")]
    match_number: Option<String>,
    /// The attempt or browser; a newer request supersedes an older one within it.
    #[arg(long, default_value = "")]
    source: String,
    /// The person was never seen there before.
    #[arg(long)]
    new_location: bool,
    /// The person was never seen with that device before.
    #[arg(long)]
    new_device: bool,
}

impl Typed {
    /// The event, and how it is to be written.
    pub(super) fn into_template(self) -> (Template, Production) {
        let (kind, body, common) = match self {
            Self::IdentityVerification { application, reason, device, ip_address, sign_in, common } => {
                let SignIn { location, match_number, source, new_location, new_device } = sign_in;
                let body = Body::IdentityVerificationRequested(wire::IdentityVerificationRequested {
                    application,
                    reason,
                    ip_address,
                    location,
                    device,
                    match_number,
                    source,
                    new_location,
                    new_device,
                });
                (NotificationType::IdentityVerification, body, common)
            }
            Self::TrustedDevice { device_name, device_kind, browser, operating_system, sign_in, common } => {
                let SignIn { location, match_number, source, new_location, new_device } = sign_in;
                let body = Body::TrustedDeviceRequested(wire::TrustedDeviceRequested {
                    device_name,
                    device_kind: device_kind.map_or(wire::DeviceKind::Unspecified, DeviceKind::wire).into(),
                    browser,
                    operating_system,
                    location,
                    match_number,
                    source,
                    new_location,
                    new_device,
                });
                (NotificationType::TrustedDevice, body, common)
            }
            Self::AccountSharing { account, shared_by, access_level, common } => {
                let access_level = access_level.map_or(wire::AccessLevel::Unspecified, AccessLevel::wire).into();
                let body = Body::AccountShared(wire::AccountShared { account, shared_by, access_level });
                (NotificationType::AccountSharing, body, common)
            }
            Self::Otp { account, service, common } => {
                (NotificationType::OtpReceived, Body::OtpReceived(wire::OtpReceived { account, service }), common)
            }
            Self::Cancel { of, kind, common } => (kind.0, Body::Cancel(wire::Cancel { event_id: of }), common),
        };
        let Common { workspace, users, event_id, expires_in, production } = *common;
        let event = wire::Event {
            event_id: event_id.unwrap_or_default(),
            workspace_id: workspace,
            recipients: users,
            occurred_at: None,
            expires_at: None,
            test: false,
            body: Some(body),
        };
        (Template { kind, event, lifetime: expires_in.map(|lifetime| lifetime.0), line: None }, production)
    }
}

/// `DeviceKind` of event.proto.
#[derive(Clone, Copy, ValueEnum)]
pub(super) enum DeviceKind {
    Phone,
    Tablet,
    Desktop,
    Browser,
    Other,
}

impl DeviceKind {
    const fn wire(self) -> wire::DeviceKind {
        match self {
            Self::Phone => wire::DeviceKind::Phone,
            Self::Tablet => wire::DeviceKind::Tablet,
            Self::Desktop => wire::DeviceKind::Desktop,
            Self::Browser => wire::DeviceKind::Browser,
            Self::Other => wire::DeviceKind::Other,
        }
    }
}

/// `AccessLevel` of event.proto.
#[derive(Clone, Copy, ValueEnum)]
pub(super) enum AccessLevel {
    View,
    Use,
    Edit,
    Manage,
}

impl AccessLevel {
    const fn wire(self) -> wire::AccessLevel {
        match self {
            Self::View => wire::AccessLevel::View,
            Self::Use => wire::AccessLevel::Use,
            Self::Edit => wire::AccessLevel::Edit,
            Self::Manage => wire::AccessLevel::Manage,
        }
    }
}

/// A type by the name of its subcommand or its name in the configuration.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct TypeOfTopic(pub(super) NotificationType);

impl FromStr for TypeOfTopic {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let name = if text == "otp" { "otp_received".to_owned() } else { text.replace('-', "_") };
        NotificationType::from_name(&name)
            .map(Self)
            .ok_or_else(|| "it is one of identity-verification, trusted-device, account-sharing and otp".to_owned())
    }
}

/// `NAME=VALUE`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Header(pub(super) String, pub(super) String);

impl FromStr for Header {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text.split_once('=') {
            Some((name, value)) if !name.is_empty() => Ok(Self(name.to_owned(), value.to_owned())),
            _ => Err("it is NAME=VALUE, for example traceparent=00-…".to_owned()),
        }
    }
}

/// A time span: a whole number and `ms`, `s`, `m`, `h` or `d`; above zero.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Lifetime(pub(super) Duration);

impl FromStr for Lifetime {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let digits = text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len());
        let millis: Option<u64> = match &text[digits..] {
            "ms" => Some(1),
            "s" => Some(1_000),
            "m" => Some(60_000),
            "h" => Some(3_600_000),
            "d" => Some(86_400_000),
            _ => None,
        };
        let number: Option<u64> = text[..digits].parse().ok();
        number
            .zip(millis)
            .and_then(|(number, millis)| number.checked_mul(millis))
            .filter(|millis| *millis > 0)
            .map(|millis| Self(Duration::from_millis(millis)))
            .ok_or_else(|| "it is a whole number and ms, s, m, h or d, for example 90s".to_owned())
    }
}

/// How many: at least one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Count(pub(super) u64);

impl FromStr for Count {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let number = text.replace('_', "").parse().ok().filter(|number| *number > 0);
        number.map(Self).ok_or_else(|| "it is a whole number, at least 1".to_owned())
    }
}

/// Events a second: above zero.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Rate(f64);

impl Rate {
    /// When the `index`-th event is due, counted from the first.
    pub(super) fn due(self, index: u64) -> Duration {
        Duration::from_secs_f64(index as f64 / self.0)
    }
}

impl FromStr for Rate {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let number = text.strip_suffix("/s").unwrap_or(text).replace('_', "").parse().ok();
        // A hundredth of an event a second is one in two minutes: who wants it slower wants cron.
        let number = number.filter(|number| (0.01..=10_000_000.0).contains(number));
        number.map(Self).ok_or_else(|| "it is a number of events a second, for example 200/s or 0.5/s".to_owned())
    }
}
