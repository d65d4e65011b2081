# 日本語（です・ます調）。名前は外部の人が付けたものなので、かぎ括弧で囲む。

unnamed = 名称なし
unknown-device = 不明なデバイス

identity-verification-title = サインインの確認
identity-verification-minimal = 「{ $application }」へのサインインが、あなたの確認を待っています。
identity-verification-full = { $device }から「{ $application }」へのサインインです。ご本人の場合のみ承認してください。
identity-verification-full-new-device = これまで使われていない{ $device }から「{ $application }」へのサインインです。ご本人の場合のみ承認してください。
identity-verification-full-new-location = 新しい場所で、{ $device }から「{ $application }」へのサインインです。ご本人の場合のみ承認してください。
identity-verification-full-new-device-and-location = 新しい場所で、これまで使われていない{ $device }から「{ $application }」へのサインインです。ご本人の場合のみ承認してください。
identity-verification-withdrawn-title = サインインの確認は終了しました
identity-verification-withdrawn = このサインインの確認は不要になりました。

trusted-device-title = 新しいデバイスの確認
trusted-device-minimal = あなたのアカウントの信頼できるデバイスへの追加が求められています。ご自身のデバイスの場合のみ承認してください。
trusted-device-full = 「{ $device }」が、信頼できるデバイスへの追加を求めています。ご自身のデバイスの場合のみ承認してください。
trusted-device-full-platform = 「{ $device }」（{ $platform }）が、信頼できるデバイスへの追加を求めています。ご自身のデバイスの場合のみ承認してください。
trusted-device-full-new-location = 新しい場所から「{ $device }」が、信頼できるデバイスへの追加を求めています。ご自身のデバイスの場合のみ承認してください。
trusted-device-full-platform-new-location = 新しい場所から「{ $device }」（{ $platform }）が、信頼できるデバイスへの追加を求めています。ご自身のデバイスの場合のみ承認してください。
trusted-device-withdrawn-title = デバイスの確認は終了しました
trusted-device-withdrawn = このデバイスの確認は不要になりました。

account-sharing-title = アカウントが共有されました
account-sharing-minimal = 「{ $account }」を利用できるようになりました。
account-sharing-full = { $access ->
    [view] 「{ $shared_by }」さんが「{ $account }」を共有しました。閲覧できます。
    [use] 「{ $shared_by }」さんが「{ $account }」を共有しました。サインインに使用できます。
    [edit] 「{ $shared_by }」さんが「{ $account }」を共有しました。編集できます。
    [manage] 「{ $shared_by }」さんが「{ $account }」を共有しました。管理と、ほかの人との共有ができます。
   *[unspecified] 「{ $shared_by }」さんが「{ $account }」を共有しました。
}
account-sharing-withdrawn-title = アカウントの共有が終了しました
account-sharing-withdrawn = このアカウントの共有は終了しました。

otp-received-title = ワンタイムパスワードの受信
otp-received-minimal = 「{ $account }」のコードが届きました。アプリを開いて確認してください。
otp-received-full = 「{ $service }」から「{ $account }」のコードが届きました。アプリを開いて確認してください。
otp-received-withdrawn-title = ワンタイムパスワードは不要です
otp-received-withdrawn = このコードは不要になりました。

## A push that only proves that notifications reach the phone. Most apps never show it.
reach-title = 通知を設定しています
reach = このスマートフォンに通知が届きます。

## What Watchbell itself tells people. These have no variables, and cannot be muted.
notice-guard-title = 短時間に複数のリクエストがありました
notice-guard = しばらくの間、新しいリクエストは音で通知されません。アプリで確認し、心当たりがない場合は拒否してください。
notice-enrolled-title = スマートフォンが設定されました
notice-enrolled = あなた宛ての通知を受け取るスマートフォンが設定されました。心当たりがない場合は、お知らせください。
notice-promoted-title = スマートフォンで承認できるようになりました
notice-promoted = あなたのアカウントへのリクエストを、スマートフォンで承認できるようになりました。心当たりがない場合は、お知らせください。
notice-removed-title = スマートフォンが削除されました
notice-removed = あなたのアカウントからスマートフォンが削除されました。心当たりがない場合は、お知らせください。
notice-reset-title = スマートフォンがリセットされました
notice-reset = 再設定するまで、どのスマートフォンでもリクエストを承認できません。心当たりがない場合は、お知らせください。
notice-not-me-title = リクエストについての報告
notice-not-me = ワークスペースのメンバーが、心当たりのないリクエストがあったと報告しました。
notice-rolled-title = スマートフォンの鍵が交換されました
notice-rolled = あなたのアカウントのスマートフォンの鍵が新しくなりました。心当たりがない場合は、お知らせください。
notice-erased-title = データが消去されました
notice-erased = ワークスペースのメンバーが自分のデータをすべて消去しました。誰が行ったかは監査ログで確認できます。

## What somebody sends to themselves to see whether it arrives, in the place of what its type says.
test-title = 通知のテスト
test = ご自身で送信したテストです。操作は必要ありません。
