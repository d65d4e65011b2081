# Deutsch, geduzt. Namen stehen in Anführungszeichen, weil Fremde sie schreiben.

unnamed = ohne Namen
unknown-device = einem unbekannten Gerät

identity-verification-title = Meldest du dich gerade an?
identity-verification-minimal = Eine Anmeldung bei „{ $application }“ wartet auf deine Antwort.
identity-verification-full = Anmeldung bei „{ $application }“ mit { $device }. Bestätige sie nur, wenn du das bist.
identity-verification-full-new-device = Anmeldung bei „{ $application }“ mit { $device }; dieses Gerät hast du bisher nicht benutzt. Bestätige sie nur, wenn du das bist.
identity-verification-full-new-location = Anmeldung bei „{ $application }“ mit { $device } an einem neuen Ort. Bestätige sie nur, wenn du das bist.
identity-verification-full-new-device-and-location = Anmeldung bei „{ $application }“ mit { $device } an einem neuen Ort; dieses Gerät hast du bisher nicht benutzt. Bestätige sie nur, wenn du das bist.
identity-verification-withdrawn-title = Anmeldung erledigt
identity-verification-withdrawn = Diese Anmeldung braucht deine Antwort nicht mehr.

trusted-device-title = Neuem Gerät vertrauen?
trusted-device-minimal = Ein Gerät möchte für dein Konto vertrauenswürdig werden. Bestätige es nur, wenn es deins ist.
trusted-device-full = „{ $device }“ möchte vertrauenswürdig werden. Bestätige es nur, wenn es deins ist.
trusted-device-full-platform = „{ $device }“ ({ $platform }) möchte vertrauenswürdig werden. Bestätige es nur, wenn es deins ist.
trusted-device-full-new-location = „{ $device }“ möchte von einem neuen Ort aus vertrauenswürdig werden. Bestätige es nur, wenn es deins ist.
trusted-device-full-platform-new-location = „{ $device }“ ({ $platform }) möchte von einem neuen Ort aus vertrauenswürdig werden. Bestätige es nur, wenn es deins ist.
trusted-device-withdrawn-title = Geräteanfrage erledigt
trusted-device-withdrawn = Dieses Gerät braucht deine Antwort nicht mehr.

account-sharing-title = Ein Konto wurde mit dir geteilt
account-sharing-minimal = Du hast jetzt Zugriff auf „{ $account }“.
account-sharing-full = { $access ->
    [view] „{ $shared_by }“ hat „{ $account }“ mit dir geteilt. Du kannst es ansehen.
    [use] „{ $shared_by }“ hat „{ $account }“ mit dir geteilt. Du kannst dich damit anmelden.
    [edit] „{ $shared_by }“ hat „{ $account }“ mit dir geteilt. Du kannst es bearbeiten.
    [manage] „{ $shared_by }“ hat „{ $account }“ mit dir geteilt. Du kannst es verwalten und mit anderen teilen.
   *[unspecified] „{ $shared_by }“ hat „{ $account }“ mit dir geteilt.
}
account-sharing-withdrawn-title = Konto nicht mehr geteilt
account-sharing-withdrawn = Dieses Konto wird nicht mehr mit dir geteilt.

otp-received-title = Einmalpasswort eingetroffen
otp-received-minimal = Für „{ $account }“ ist ein Code eingetroffen. Öffne die App, um ihn zu sehen.
otp-received-full = Von „{ $service }“ ist ein Code für „{ $account }“ eingetroffen. Öffne die App, um ihn zu sehen.
otp-received-withdrawn-title = Einmalpasswort nicht mehr nötig
otp-received-withdrawn = Dieser Code wird nicht mehr gebraucht.

## A push that only proves that notifications reach the phone. Most apps never show it.
reach-title = Benachrichtigungen werden eingerichtet
reach = Benachrichtigungen erreichen dieses Telefon.

## What Watchbell itself tells people. These have no variables, and cannot be muted.
notice-guard-title = Mehrere Anfragen in kurzer Zeit
notice-guard = Weitere Anfragen bleiben vorerst stumm und warten in der App. Stammen sie nicht von dir, lehne sie dort ab.
notice-enrolled-title = Ein Telefon wurde eingerichtet
notice-enrolled = Ein Telefon empfängt jetzt deine Benachrichtigungen. Warst du das nicht, dann melde es.
notice-promoted-title = Ein Telefon darf jetzt bestätigen
notice-promoted = Ein Telefon darf jetzt Anfragen für dein Konto bestätigen. Warst du das nicht, dann melde es.
notice-removed-title = Ein Telefon wurde entfernt
notice-removed = Ein Telefon wurde aus deinem Konto entfernt. Warst du das nicht, dann melde es.
notice-reset-title = Deine Telefone wurden zurückgesetzt
notice-reset = Keines deiner Telefone kann Anfragen bestätigen, bis du es neu einrichtest. Hast du das nicht veranlasst, dann melde es.
notice-not-me-title = Eine Anfrage wurde gemeldet
notice-not-me = Jemand aus deinem Arbeitsbereich sagt, dass eine Anfrage nicht von ihm stammt.
notice-rolled-title = Der Schlüssel eines Telefons wurde ersetzt
notice-rolled = Ein Telefon deines Kontos hat einen neuen Schlüssel. Warst du das nicht, dann melde es.
notice-erased-title = Jemand hat seine Daten gelöscht
notice-erased = Jemand aus deinem Arbeitsbereich hat alles über sich gelöscht. Wer das war, steht im Protokoll.

## What somebody sends to themselves to see whether it arrives, in the place of what its type says.
test-title = Ein Test deiner Benachrichtigungen
test = Du hast dir das selbst geschickt. Es ist nichts zu tun.
