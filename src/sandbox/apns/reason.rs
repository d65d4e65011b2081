//! Every reason APNs gives for a refusal, with its HTTP status.
//!
//! Source: Apple, "Handling notification responses from APNs". The table is the whole of it; the simulator can say nothing
//! else by itself, and faults may say any of these or a word of their own.

/// Why a push was refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[allow(missing_docs, reason = "the names are Apple's own words")]
pub enum Reason {
    BadCollapseId,
    BadDeviceToken,
    BadExpirationDate,
    BadMessageId,
    BadPriority,
    BadRequestPayload,
    BadTopic,
    DeviceTokenNotForTopic,
    DuplicateHeaders,
    IdleTimeout,
    InvalidPushType,
    MissingDeviceToken,
    MissingTopic,
    PayloadEmpty,
    TopicDisallowed,
    BadCertificate,
    BadCertificateEnvironment,
    BadEnvironmentKeyIdInToken,
    ExpiredProviderToken,
    Forbidden,
    InvalidProviderToken,
    MissingProviderToken,
    UnrelatedKeyIdInToken,
    BadPath,
    MethodNotAllowed,
    ExpiredToken,
    Unregistered,
    PayloadTooLarge,
    TooManyProviderTokenUpdates,
    TooManyRequests,
    InternalServerError,
    ServiceUnavailable,
    Shutdown,
}

/// Reason, status, the word on the wire.
const TABLE: [(Reason, u16, &str); 33] = [
    (Reason::BadCollapseId, 400, "BadCollapseId"),
    (Reason::BadDeviceToken, 400, "BadDeviceToken"),
    (Reason::BadExpirationDate, 400, "BadExpirationDate"),
    (Reason::BadMessageId, 400, "BadMessageId"),
    (Reason::BadPriority, 400, "BadPriority"),
    (Reason::BadRequestPayload, 400, "BadRequestPayload"),
    (Reason::BadTopic, 400, "BadTopic"),
    (Reason::DeviceTokenNotForTopic, 400, "DeviceTokenNotForTopic"),
    (Reason::DuplicateHeaders, 400, "DuplicateHeaders"),
    (Reason::IdleTimeout, 400, "IdleTimeout"),
    (Reason::InvalidPushType, 400, "InvalidPushType"),
    (Reason::MissingDeviceToken, 400, "MissingDeviceToken"),
    (Reason::MissingTopic, 400, "MissingTopic"),
    (Reason::PayloadEmpty, 400, "PayloadEmpty"),
    (Reason::TopicDisallowed, 400, "TopicDisallowed"),
    (Reason::BadCertificate, 403, "BadCertificate"),
    (Reason::BadCertificateEnvironment, 403, "BadCertificateEnvironment"),
    (Reason::BadEnvironmentKeyIdInToken, 403, "BadEnvironmentKeyIdInToken"),
    (Reason::ExpiredProviderToken, 403, "ExpiredProviderToken"),
    (Reason::Forbidden, 403, "Forbidden"),
    (Reason::InvalidProviderToken, 403, "InvalidProviderToken"),
    (Reason::MissingProviderToken, 403, "MissingProviderToken"),
    (Reason::UnrelatedKeyIdInToken, 403, "UnrelatedKeyIdInToken"),
    (Reason::BadPath, 404, "BadPath"),
    (Reason::MethodNotAllowed, 405, "MethodNotAllowed"),
    (Reason::ExpiredToken, 410, "ExpiredToken"),
    (Reason::Unregistered, 410, "Unregistered"),
    (Reason::PayloadTooLarge, 413, "PayloadTooLarge"),
    (Reason::TooManyProviderTokenUpdates, 429, "TooManyProviderTokenUpdates"),
    (Reason::TooManyRequests, 429, "TooManyRequests"),
    (Reason::InternalServerError, 500, "InternalServerError"),
    (Reason::ServiceUnavailable, 503, "ServiceUnavailable"),
    (Reason::Shutdown, 503, "Shutdown"),
];

impl Reason {
    /// HTTP status and the word on the wire.
    #[must_use]
    pub fn wire(self) -> (u16, &'static str) {
        let (_, status, word) = TABLE[self as usize];
        (status, word)
    }

    /// The status that belongs to a word, if it is one of Apple's.
    #[must_use]
    pub fn status_of(word: &str) -> Option<u16> {
        TABLE.iter().find(|(_, _, known)| *known == word).map(|(_, status, _)| *status)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_table_is_in_the_order_of_the_reasons() {
        // `wire` indexes the table by the reason: each row has to stand at its own place, with its own name.
        for (index, (reason, _, word)) in TABLE.iter().enumerate() {
            assert_eq!(*reason as usize, index);
            assert_eq!(format!("{reason:?}"), *word);
        }
    }
}
