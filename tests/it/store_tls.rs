//! TLS to Redis and to PostgreSQL: the right authority is let in, a wrong one is refused with what to do.
use std::fs::{self, Permissions};
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};
use std::process::Command;

use tempfile::TempDir;
use watchbell::event::NotificationType::OtpReceived;
use watchbell::policy::Preference;
use watchbell::store::{Announced, OpenError, migrate, open};

use crate::store_support::{Kind, Place, ask, preference, until};
use crate::support::SOON;
use crate::support::secure::Certificates;
use crate::support::services::{Postgres, Redis, free_port};

/// The certificate of a server named localhost, as files that its process may read, and two authorities: its own and a stranger.
struct Files {
    dir: TempDir,
}

impl Files {
    fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        fs::set_permissions(dir.path(), Permissions::from_mode(0o711)).unwrap();
        let (own, strange) = (Certificates::of(&["localhost"]), Certificates::of(&["localhost"]));
        let files = Self { dir };
        fs::write(files.path("ca.pem"), own.ca).unwrap();
        fs::write(files.path("stranger.pem"), strange.ca).unwrap();
        fs::write(files.path("server.pem"), own.certificate).unwrap();
        fs::write(files.path("server.key"), own.key).unwrap();
        files
    }

    fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    fn text(&self, name: &str) -> String {
        self.path(name).display().to_string()
    }

    /// PostgreSQL wants its key for itself; its process is nobody's where the tests are root's.
    fn give_key_to_postgres(&self) {
        let key = self.path("server.key");
        fs::set_permissions(&key, Permissions::from_mode(0o600)).unwrap();
        if fs::metadata(&key).unwrap().uid() == 0 {
            assert!(Command::new("chown").arg("nobody:nogroup").arg(&key).status().unwrap().success());
        }
    }
}

/// A Redis that speaks TLS, and its URL.
fn redis(files: &Files) -> (Redis, String) {
    let port = free_port().to_string();
    let (certificate, key, ca) = (files.text("server.pem"), files.text("server.key"), files.text("ca.pem"));
    let options = ["--tls-port", &port, "--tls-cert-file", &certificate, "--tls-key-file", &key];
    let options = [&options[..], &["--tls-ca-cert-file", &ca, "--tls-auth-clients", "no"]].concat();
    (Redis::start_with(&options), format!("rediss://localhost:{port}"))
}

async fn behind(url: &str, ca_file: Option<PathBuf>) -> Place {
    let mut place = Place::empty(Kind::Postgres);
    migrate(&place.config, false).await.unwrap();
    place.config.redis_url = Some(url.into());
    place.config.redis_ca_file = ca_file;
    place
}

#[tokio::test(flavor = "multi_thread")]
async fn redis_is_trusted_by_the_authority_in_config() {
    // Two processes behind a Redis with TLS: what one changes, the other hears of.
    let files = Files::new();
    let (_redis, url) = redis(&files);
    let place = behind(&url, Some(files.path("ca.pem"))).await;
    let (one, two) = (open(&place.config).await.unwrap(), open(&place.config).await.unwrap());
    assert!(one.hears_of_changes() && two.hears_of_changes(), "Redis is not in use");
    for value in [Preference::Off, Preference::On] {
        let change = [preference("acme", "ada", OtpReceived, value)];
        assert_eq!(one.admin().write(&change).await.unwrap(), Announced::Everywhere);
        until("the change arrives", SOON, async || {
            (ask(&two, "acme", &["ada"]).await.unwrap().users[0].preference(OtpReceived) == value).then_some(())
        })
        .await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn redis_with_a_strange_certificate_is_refused() {
    // Whoever shows a certificate of somebody else's, to us or under another name, is not asked for policy; the operator learns which key to
    // set, at the start.
    let files = Files::new();
    let (_redis, url) = redis(&files);
    let elsewhere = url.replace("localhost", "127.0.0.1");
    for (url, ca_file) in
        [(&url, Some(files.path("stranger.pem"))), (&url, None), (&elsewhere, Some(files.path("ca.pem")))]
    {
        let place = behind(url, ca_file).await;
        let refused = open(&place.config).await.err().unwrap();
        assert!(matches!(&refused, OpenError::Redis(_)), "{refused}");
        let told = refused.to_string();
        assert!(told.contains("not trusted") && told.contains("policy.redis_ca_file"), "{told}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_file_without_authorities_is_told_by_its_name() {
    // A missing file, a key instead of a certificate: the sentence names the key and the file.
    let files = Files::new();
    for name in ["nowhere.pem", "server.key"] {
        let place = behind("rediss://localhost:1", Some(files.path(name))).await;
        let told = open(&place.config).await.err().unwrap().to_string();
        assert!(told.starts_with("policy.redis_ca_file") && told.contains(name), "{told}");
    }
}

/// A PostgreSQL that speaks TLS and nothing else over TCP, and the URL of a new database on it, without the part on TLS.
fn postgres(files: &Files) -> (Postgres, String) {
    files.give_key_to_postgres();
    let certificate = format!("ssl_cert_file={}", files.text("server.pem"));
    let key = format!("ssl_key_file={}", files.text("server.key"));
    let postgres = Postgres::start_with(&["-c", "ssl=on", "-c", &certificate, "-c", &key]);
    let url = postgres.new_database().replace("127.0.0.1", "localhost");
    (postgres, url)
}

fn at(url: &str, mode: &str, ca_file: Option<&Path>) -> Place {
    let root = ca_file.map(|path| format!("&sslrootcert={}", path.display())).unwrap_or_default();
    Place::at(format!("{url}?sslmode={mode}{root}"), tempfile::tempdir().unwrap())
}

#[tokio::test(flavor = "multi_thread")]
async fn postgres_is_trusted_by_the_authority_in_its_url() {
    // `verify-full` works with the authority in the URL, and every connection is encrypted.
    let files = Files::new();
    let (_postgres, url) = postgres(&files);
    let place = at(&url, "verify-full", Some(&files.path("ca.pem")));
    migrate(&place.config, false).await.unwrap();
    let policy = open(&place.config).await.unwrap();
    policy.admin().write(&[preference("acme", "ada", OtpReceived, Preference::Off)]).await.unwrap();
    let answer = ask(&policy, "acme", &["ada"]).await.unwrap();
    assert_eq!(answer.users[0].preference(OtpReceived), Preference::Off);
    let (plain, encrypted) = connections(&url).await;
    assert_eq!(plain, 0);
    assert!(encrypted > 0);
}

/// The store's connections on the server, those without TLS and those with it.
async fn connections(url: &str) -> (i64, i64) {
    use sqlx::{Connection as _, Row as _};
    const COUNT: &str = "SELECT count(*) FILTER (WHERE NOT s.ssl), count(*) FILTER (WHERE s.ssl)
        FROM pg_stat_ssl s JOIN pg_stat_activity a USING (pid) WHERE a.application_name = 'watchbell'";
    let mut connection = sqlx::PgConnection::connect(url).await.unwrap();
    let row = sqlx::query(COUNT).fetch_one(&mut connection).await.unwrap();
    (row.get(0), row.get(1))
}

#[tokio::test(flavor = "multi_thread")]
async fn postgres_with_a_strange_certificate_is_refused() {
    // A certificate of a strange authority, or for another name, is refused under `verify-full`, in words that say so.
    let files = Files::new();
    let (_postgres, url) = postgres(&files);
    let elsewhere = url.replace("localhost", "127.0.0.1");
    for (url, ca) in [(&url, Some("stranger.pem")), (&url, None), (&elsewhere, Some("ca.pem"))] {
        let place = at(url, "verify-full", ca.map(|name| files.path(name)).as_deref());
        let told = migrate(&place.config, false).await.unwrap_err().to_string();
        assert!(told.contains("cannot be reached") && told.contains("certificate"), "{told}");
    }
}
