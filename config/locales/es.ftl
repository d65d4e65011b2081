# Español neutro, de tú. Los nombres van entre comillas angulares porque los escriben desconocidos.

unnamed = sin nombre
unknown-device = un dispositivo desconocido

identity-verification-title = ¿Estás iniciando sesión?
identity-verification-minimal = Un inicio de sesión en «{ $application }» espera tu respuesta.
identity-verification-full = Inicio de sesión en «{ $application }» desde { $device }. Apruébalo solo si eres tú.
identity-verification-full-new-device = Inicio de sesión en «{ $application }» desde { $device }, que no habías usado antes. Apruébalo solo si eres tú.
identity-verification-full-new-location = Inicio de sesión en «{ $application }» desde { $device }, en un lugar nuevo. Apruébalo solo si eres tú.
identity-verification-full-new-device-and-location = Inicio de sesión en «{ $application }» desde { $device }, que no habías usado antes, en un lugar nuevo. Apruébalo solo si eres tú.
identity-verification-withdrawn-title = Solicitud de inicio de sesión cerrada
identity-verification-withdrawn = Este inicio de sesión ya no necesita tu respuesta.

trusted-device-title = ¿Confiar en un dispositivo nuevo?
trusted-device-minimal = Un dispositivo pide ser de confianza para tu cuenta. Apruébalo solo si es tuyo.
trusted-device-full = «{ $device }» pide ser un dispositivo de confianza. Apruébalo solo si es tuyo.
trusted-device-full-platform = «{ $device }» ({ $platform }) pide ser un dispositivo de confianza. Apruébalo solo si es tuyo.
trusted-device-full-new-location = «{ $device }» pide ser un dispositivo de confianza desde un lugar nuevo. Apruébalo solo si es tuyo.
trusted-device-full-platform-new-location = «{ $device }» ({ $platform }) pide ser un dispositivo de confianza desde un lugar nuevo. Apruébalo solo si es tuyo.
trusted-device-withdrawn-title = Solicitud de dispositivo cerrada
trusted-device-withdrawn = Este dispositivo ya no necesita tu respuesta.

account-sharing-title = Se compartió una cuenta contigo
account-sharing-minimal = Ahora tienes acceso a «{ $account }».
account-sharing-full = { $access ->
    [view] «{ $shared_by }» compartió «{ $account }» contigo. Puedes verla.
    [use] «{ $shared_by }» compartió «{ $account }» contigo. Puedes iniciar sesión con ella.
    [edit] «{ $shared_by }» compartió «{ $account }» contigo. Puedes editarla.
    [manage] «{ $shared_by }» compartió «{ $account }» contigo. Puedes administrarla y compartirla con otras personas.
   *[unspecified] «{ $shared_by }» compartió «{ $account }» contigo.
}
account-sharing-withdrawn-title = La cuenta ya no se comparte
account-sharing-withdrawn = Esta cuenta ya no se comparte contigo.

otp-received-title = Código de un solo uso recibido
otp-received-minimal = Ha llegado un código para «{ $account }». Abre la aplicación para verlo.
otp-received-full = Ha llegado un código de «{ $service }» para «{ $account }». Abre la aplicación para verlo.
otp-received-withdrawn-title = Código de un solo uso ya innecesario
otp-received-withdrawn = Este código ya no hace falta.

## A push that only proves that notifications reach the phone. Most apps never show it.
reach-title = Configurando las notificaciones
reach = Las notificaciones llegan a este teléfono.

## What Watchbell itself tells people. These have no variables, and cannot be muted.
notice-guard-title = Varias solicitudes en poco tiempo
notice-guard = Las próximas solicitudes no sonarán durante un rato y te esperan en la aplicación. Si no son tuyas, recházalas ahí.
notice-enrolled-title = Se configuró un teléfono
notice-enrolled = Se configuró un teléfono para recibir tus notificaciones. Si no fuiste tú, avísanos.
notice-promoted-title = Un teléfono ya puede aprobar
notice-promoted = Un teléfono ya puede aprobar solicitudes de tu cuenta. Si no fuiste tú, avísanos.
notice-removed-title = Se quitó un teléfono
notice-removed = Se quitó un teléfono de tu cuenta. Si no fuiste tú, avísanos.
notice-reset-title = Se restablecieron tus teléfonos
notice-reset = Ninguno de tus teléfonos puede aprobar solicitudes hasta que lo configures de nuevo. Si no lo pediste, avísanos.
notice-not-me-title = Se denunció una solicitud
notice-not-me = Una persona de tu espacio de trabajo dice que una solicitud no era suya.
notice-rolled-title = Se cambió la clave de un teléfono
notice-rolled = Un teléfono de tu cuenta tiene una clave nueva. Si no fuiste tú, avísanos.
notice-erased-title = Una persona borró sus datos
notice-erased = Una persona de tu espacio de trabajo borró todos sus datos. El registro de auditoría dice quién fue.

## What somebody sends to themselves to see whether it arrives, in the place of what its type says.
test-title = Una prueba de tus notificaciones
test = Te la enviaste tú. No tienes que hacer nada.
