//! The protobuf types generated from `proto/watchbell/v1`, and the conversions that they and the domain share.
//!
//! Wire types are a promise to others and are kept apart from the domain's: only `event` and the adapters that write Watchbell's own
//! records look in here.
#![allow(missing_docs, clippy::all)]

include!(concat!(env!("OUT_DIR"), "/watchbell.v1.rs"));

use super::{NotificationType as Kind, SystemNotice as Notices};

/// A type as it is written.
pub const fn wire_type(kind: Kind) -> NotificationType {
    match kind {
        Kind::IdentityVerification => NotificationType::IdentityVerification,
        Kind::TrustedDevice => NotificationType::TrustedDevice,
        Kind::AccountSharing => NotificationType::AccountSharing,
        Kind::OtpReceived => NotificationType::OtpReceived,
    }
}

/// A type as it was read; `None` where none was written.
pub const fn domain_type(kind: NotificationType) -> Option<Kind> {
    match kind {
        NotificationType::Unspecified => None,
        NotificationType::IdentityVerification => Some(Kind::IdentityVerification),
        NotificationType::TrustedDevice => Some(Kind::TrustedDevice),
        NotificationType::AccountSharing => Some(Kind::AccountSharing),
        NotificationType::OtpReceived => Some(Kind::OtpReceived),
    }
}

/// A notice as it is written.
pub const fn wire_notice(notice: Notices) -> SystemNotice {
    match notice {
        Notices::Guard => SystemNotice::Guard,
        Notices::Enrolled => SystemNotice::Enrolled,
        Notices::Promoted => SystemNotice::Promoted,
        Notices::Removed => SystemNotice::Removed,
        Notices::Reset => SystemNotice::Reset,
        Notices::NotMe => SystemNotice::NotMe,
        Notices::Rolled => SystemNotice::Rolled,
        Notices::Erased => SystemNotice::Erased,
    }
}

/// A notice as it was read; `None` where none was written.
pub const fn domain_notice(notice: SystemNotice) -> Option<Notices> {
    match notice {
        SystemNotice::Unspecified => None,
        SystemNotice::Guard => Some(Notices::Guard),
        SystemNotice::Enrolled => Some(Notices::Enrolled),
        SystemNotice::Promoted => Some(Notices::Promoted),
        SystemNotice::Removed => Some(Notices::Removed),
        SystemNotice::Reset => Some(Notices::Reset),
        SystemNotice::NotMe => Some(Notices::NotMe),
        SystemNotice::Rolled => Some(Notices::Rolled),
        SystemNotice::Erased => Some(Notices::Erased),
    }
}

/// A moment as it is written.
pub const fn wire_time(at: super::Timestamp) -> prost_types::Timestamp {
    let millis = at.as_millis();
    prost_types::Timestamp { seconds: millis.div_euclid(1000), nanos: millis.rem_euclid(1000) as i32 * 1_000_000 }
}
