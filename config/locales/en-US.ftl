# What people read on their phones. One file per language; every file has the same messages with the same variables (a test says so).
#
# Names in variables come from strangers: they stand in quotation marks, so that nobody can continue our sentence with a name.
# Minimal texts say what a lock screen may show to everybody; full texts may name devices and people. No text ever holds a code,
# an address or a place.

## Where a name is empty or has no visible character.
unnamed = unnamed
unknown-device = an unknown device

## Somebody signs in and the person must say whether it is them. Approve and deny.
identity-verification-title = Is this you signing in?
identity-verification-minimal = A sign-in to “{ $application }” is waiting for your answer.
identity-verification-full = Sign-in to “{ $application }” from { $device }. Approve it only if this is you.
identity-verification-full-new-device = Sign-in to “{ $application }” from { $device }, which you have not used before. Approve it only if this is you.
identity-verification-full-new-location = Sign-in to “{ $application }” from { $device }, at a new location. Approve it only if this is you.
identity-verification-full-new-device-and-location = Sign-in to “{ $application }” from { $device }, which you have not used before, at a new location. Approve it only if this is you.
identity-verification-withdrawn-title = Sign-in request closed
identity-verification-withdrawn = This sign-in no longer needs your answer.

## A new device wants to be trusted. Approve and deny.
trusted-device-title = Trust a new device?
trusted-device-minimal = A device is asking to be trusted with your account. Approve it only if it is yours.
trusted-device-full = “{ $device }” is asking to be trusted. Approve it only if it is yours.
trusted-device-full-platform = “{ $device }” ({ $platform }) is asking to be trusted. Approve it only if it is yours.
trusted-device-full-new-location = “{ $device }” is asking to be trusted, from a new location. Approve it only if it is yours.
trusted-device-full-platform-new-location = “{ $device }” ({ $platform }) is asking to be trusted, from a new location. Approve it only if it is yours.
trusted-device-withdrawn-title = Device request closed
trusted-device-withdrawn = This device no longer needs your answer.

## An account was shared with the person.
account-sharing-title = An account was shared with you
account-sharing-minimal = You now have access to “{ $account }”.
account-sharing-full = { $access ->
    [view] “{ $shared_by }” shared “{ $account }” with you. You can view it.
    [use] “{ $shared_by }” shared “{ $account }” with you. You can sign in with it.
    [edit] “{ $shared_by }” shared “{ $account }” with you. You can edit it.
    [manage] “{ $shared_by }” shared “{ $account }” with you. You can manage it and share it with others.
   *[unspecified] “{ $shared_by }” shared “{ $account }” with you.
}
account-sharing-withdrawn-title = Account no longer shared
account-sharing-withdrawn = This account is no longer shared with you.

## A one-time password arrived. The code itself is never here.
otp-received-title = One-time password received
otp-received-minimal = A code for “{ $account }” has arrived. Open the app to see it.
otp-received-full = A code from “{ $service }” for “{ $account }” has arrived. Open the app to see it.
otp-received-withdrawn-title = One-time password no longer needed
otp-received-withdrawn = This code is no longer needed.

## A push that only proves that notifications reach the phone. Most apps never show it.
reach-title = Setting up notifications
reach = Notifications reach this phone.

## What Watchbell itself tells people. These have no variables, and cannot be muted.
notice-guard-title = Several requests in a short time
notice-guard = Further requests stay silent for a while and wait in the app. If they are not yours, deny them there.
notice-enrolled-title = A phone was set up
notice-enrolled = A phone was set up to receive your notifications. If this was not you, say so.
notice-promoted-title = A phone can now approve
notice-promoted = A phone can now approve requests on your account. If this was not you, say so.
notice-removed-title = A phone was removed
notice-removed = A phone was removed from your account. If this was not you, say so.
notice-reset-title = Your phones were reset
notice-reset = None of your phones can approve requests until you set it up again. If you did not ask for this, say so.
notice-not-me-title = A request was reported
notice-not-me = Somebody in your workspace says that a request was not theirs.
notice-rolled-title = A phone's key was replaced
notice-rolled = A phone on your account has a new key. If this was not you, say so.
notice-erased-title = Somebody erased their data
notice-erased = Somebody in your workspace erased everything about themselves. The audit trail says who.

## What somebody sends to themselves to see whether it arrives, in the place of what its type says.
test-title = A test of your notifications
test = You sent this to yourself. It asks nothing of you.
