//! The files a client needs to talk to the sandbox: a CA, APNs signing keys, Google service accounts.
//!
//! What is missing in the directory is generated, what is there is used again, so that a client configured once stays
//! configured. Only the server's certificate and the service accounts' `token_uri` are made anew at each start.
//! It never prints a key; private keys are written with mode 0600.
//! A file that cannot be read, written or understood ends the start, with its path.
use std::fs;
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};
use std::sync::OnceLock;

use aws_lc_rs::encoding::{AsDer, Pkcs8V1Der, PublicKeyX509Der};
use aws_lc_rs::rsa;
use aws_lc_rs::signature::{ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, KeyPair as _};
use base64::Engine as _;
use rustls_pki_types::pem::PemObject as _;
use rustls_pki_types::{CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer};

/// Why the files of a sandbox cannot be had.
#[derive(Debug, thiserror::Error)]
pub enum CredentialsError {
    /// A file or the directory cannot be read or written.
    #[error("the sandbox cannot use {path}: {error}; give it a directory that it may write to")]
    File {
        /// Which.
        path: PathBuf,
        /// Why.
        error: io::Error,
    },
    /// A file is not what its name says.
    #[error("{path} is not a key that the sandbox can use ({what}); remove it to have it made anew")]
    Key {
        /// Which.
        path: PathBuf,
        /// Why.
        what: String,
    },
    /// A certificate cannot be made.
    #[error("the sandbox cannot make its certificate: {0}")]
    Certificate(#[from] rcgen::Error),
    /// A key cannot be generated.
    #[error("the sandbox cannot generate a key: the cryptographic library refuses")]
    Generate,
}

/// The directory of a sandbox, removed at the end if it was temporary.
#[derive(Debug)]
pub(crate) struct Directory {
    path: PathBuf,
    temporary: bool,
}

impl Directory {
    /// Opens `path`, or makes a fresh temporary directory.
    pub(crate) fn open(path: Option<&Path>) -> Result<Self, CredentialsError> {
        let temporary = path.is_none();
        let path = match path {
            Some(path) => path.to_owned(),
            None => std::env::temp_dir().join(format!("watchbell-sandbox-{}", uuid::Uuid::new_v4().simple())),
        };
        fs::create_dir_all(&path).map_err(|error| CredentialsError::File { path: path.clone(), error })?;
        Ok(Self { path, temporary })
    }

    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    fn read(&self, name: &str) -> Result<Option<String>, CredentialsError> {
        let path = self.path.join(name);
        match fs::read_to_string(&path) {
            Ok(text) => Ok(Some(text)),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(CredentialsError::File { path, error }),
        }
    }

    fn write(&self, name: &str, text: &str, secret: bool) -> Result<PathBuf, CredentialsError> {
        let path = self.path.join(name);
        let mut options = fs::OpenOptions::new();
        options.write(true).create(true).truncate(true);
        #[cfg(unix)]
        std::os::unix::fs::OpenOptionsExt::mode(&mut options, if secret { 0o600 } else { 0o644 });
        let written = options.open(&path).and_then(|mut file| file.write_all(text.as_bytes()));
        written.map_err(|error| CredentialsError::File { path: path.clone(), error })?;
        Ok(path)
    }

    /// A fresh RSA key of 2,048 bits, PEM. Temporary sandboxes of one process share one: it takes half a second to find its primes.
    fn rsa_key(&self) -> Result<String, CredentialsError> {
        static SHARED: OnceLock<String> = OnceLock::new();
        if let (true, Some(pem)) = (self.temporary, SHARED.get()) {
            return Ok(pem.clone());
        }
        let key = rsa::KeyPair::generate(rsa::KeySize::Rsa2048).map_err(|_| CredentialsError::Generate)?;
        let der = AsDer::<Pkcs8V1Der<'_>>::as_der(&key).map_err(|_| CredentialsError::Generate)?;
        let pem = to_pem(der.as_ref());
        Ok(if self.temporary { SHARED.get_or_init(|| pem).clone() } else { pem })
    }

    fn bad(&self, name: &str, what: impl ToString) -> CredentialsError {
        CredentialsError::Key { path: self.path.join(name), what: what.to_string() }
    }
}

impl Drop for Directory {
    fn drop(&mut self) {
        if self.temporary
            && let Err(error) = fs::remove_dir_all(&self.path)
        {
            tracing::debug!(%error, "the sandbox leaves its temporary directory behind");
        }
    }
}

/// The server's certificate chain and key, and the file of the CA that signed it.
pub(crate) struct ServerIdentity {
    pub(crate) ca_file: PathBuf,
    pub(crate) chain: Vec<CertificateDer<'static>>,
    pub(crate) key: PrivateKeyDer<'static>,
}

const CA_FILE: &str = "ca.pem";
const CA_KEY_FILE: &str = "ca.key";

/// What the CA's certificate says; the same at each start, so that the issuer follows from its key alone.
fn ca_params() -> rcgen::CertificateParams {
    let mut params = rcgen::CertificateParams::default();
    params.is_ca = rcgen::IsCa::Ca(rcgen::BasicConstraints::Constrained(0));
    params.key_usages = vec![rcgen::KeyUsagePurpose::KeyCertSign, rcgen::KeyUsagePurpose::CrlSign];
    params.distinguished_name = rcgen::DistinguishedName::new();
    params.distinguished_name.push(rcgen::DnType::CommonName, "Watchbell sandbox CA");
    params
}

/// The CA of the directory, and a fresh certificate for `localhost`, the loopback addresses, `host` and `more`.
pub(crate) fn server_identity(
    dir: &Directory,
    host: std::net::IpAddr,
    more: &[String],
) -> Result<ServerIdentity, CredentialsError> {
    let (issuer, ca_pem) = match (dir.read(CA_FILE)?, dir.read(CA_KEY_FILE)?) {
        (Some(ca), Some(key)) => {
            let key = rcgen::KeyPair::from_pem(&key).map_err(|error| dir.bad(CA_KEY_FILE, error))?;
            (rcgen::Issuer::new(ca_params(), key), ca)
        }
        _ => {
            let key = rcgen::KeyPair::generate()?;
            let params = ca_params();
            let ca = params.self_signed(&key)?.pem();
            dir.write(CA_FILE, &ca, false)?;
            dir.write(CA_KEY_FILE, &key.serialize_pem(), true)?;
            (rcgen::Issuer::new(params, key), ca)
        }
    };
    let mut names = vec!["localhost".to_owned(), "127.0.0.1".to_owned(), "::1".to_owned()];
    if !host.is_unspecified() && !names.contains(&host.to_string()) {
        names.push(host.to_string());
    }
    names.extend_from_slice(more);
    let key = rcgen::KeyPair::generate()?;
    let mut params = rcgen::CertificateParams::new(names)?;
    params.distinguished_name = rcgen::DistinguishedName::new();
    params.distinguished_name.push(rcgen::DnType::CommonName, "Watchbell sandbox");
    params.use_authority_key_identifier_extension = true;
    params.extended_key_usages = vec![rcgen::ExtendedKeyUsagePurpose::ServerAuth];
    let certificate = params.signed_by(&key, &issuer)?;
    let ca = CertificateDer::from_pem_slice(ca_pem.as_bytes()).map_err(|error| dir.bad(CA_FILE, error))?;
    Ok(ServerIdentity {
        ca_file: dir.path().join(CA_FILE),
        chain: vec![certificate.der().clone(), ca],
        key: PrivatePkcs8KeyDer::from(key.serialize_der()).into(),
    })
}

/// The file of the APNs key `key_id` as Apple names it, and its public point (uncompressed, 65 bytes).
pub(crate) fn apns_key(dir: &Directory, key_id: &str) -> Result<(PathBuf, Vec<u8>), CredentialsError> {
    let name = format!("AuthKey_{key_id}.p8");
    let pem = match dir.read(&name)? {
        Some(pem) => pem,
        None => {
            let key = EcdsaKeyPair::generate(&ECDSA_P256_SHA256_FIXED_SIGNING);
            let der = key.and_then(|key| key.to_pkcs8v1()).map_err(|_| CredentialsError::Generate)?;
            let pem = to_pem(der.as_ref());
            dir.write(&name, &pem, true)?;
            pem
        }
    };
    let der = PrivatePkcs8KeyDer::from_pem_slice(pem.as_bytes()).map_err(|error| dir.bad(&name, error))?;
    let key = EcdsaKeyPair::from_pkcs8(&ECDSA_P256_SHA256_FIXED_SIGNING, der.secret_pkcs8_der())
        .map_err(|error| dir.bad(&name, error))?;
    Ok((dir.path().join(&name), key.public_key().as_ref().to_vec()))
}

/// A service account as the token endpoint knows it.
pub(crate) struct ServiceAccount {
    pub(crate) file: PathBuf,
    pub(crate) project_id: String,
    pub(crate) client_email: String,
    pub(crate) key_id: String,
    /// SubjectPublicKeyInfo, DER.
    pub(crate) public_key: Vec<u8>,
}

/// The service account of `project_id`, whose file points at `token_uri`.
pub(crate) fn service_account(
    dir: &Directory,
    project_id: &str,
    token_uri: &str,
) -> Result<ServiceAccount, CredentialsError> {
    let name = format!("{project_id}.service-account.json");
    let known = match dir.read(&name)? {
        Some(text) => Some(serde_json::from_str::<serde_json::Value>(&text).map_err(|error| dir.bad(&name, error))?),
        None => None,
    };
    let text = |field: &str| known.as_ref().and_then(|known| known[field].as_str()).map(str::to_owned);
    let (key_id, pem) = match (text("private_key_id"), text("private_key")) {
        (Some(key_id), Some(pem)) => (key_id, pem),
        _ => (uuid::Uuid::new_v4().simple().to_string(), dir.rsa_key()?),
    };
    let client_email = format!("sandbox@{project_id}.iam.gserviceaccount.com");
    let file = serde_json::json!({
        "type": "service_account",
        "project_id": project_id,
        "private_key_id": key_id,
        "private_key": pem,
        "client_email": client_email,
        "client_id": "100000000000000000001",
        "token_uri": token_uri,
        "universe_domain": "googleapis.com",
    });
    let file = dir.write(&name, &format!("{file:#}\n"), true)?;
    let der = PrivatePkcs8KeyDer::from_pem_slice(pem.as_bytes()).map_err(|error| dir.bad(&name, error))?;
    let key = rsa::KeyPair::from_pkcs8(der.secret_pkcs8_der()).map_err(|error| dir.bad(&name, error))?;
    let public = AsDer::<PublicKeyX509Der<'_>>::as_der(key.public_key()).map_err(|_| CredentialsError::Generate)?;
    let public_key = public.as_ref().to_vec();
    Ok(ServiceAccount { file, project_id: project_id.to_owned(), client_email, key_id, public_key })
}

/// A PKCS#8 key as PEM, lines of 64 characters (RFC 7468).
fn to_pem(der: &[u8]) -> String {
    let text = base64::engine::general_purpose::STANDARD.encode(der);
    let mut pem = String::from("-----BEGIN PRIVATE KEY-----\n");
    for line in text.as_bytes().chunks(64) {
        pem.extend(line.iter().map(|byte| char::from(*byte)));
        pem.push('\n');
    }
    pem.push_str("-----END PRIVATE KEY-----\n");
    pem
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_are_kept_and_private() {
        // A second start finds the same CA and the same keys, and only the owner may read them.
        let temp = tempfile::tempdir().unwrap();
        let dir = Directory::open(Some(temp.path())).unwrap();
        let host = std::net::IpAddr::from([127, 0, 0, 1]);
        let ca = fs::read(server_identity(&dir, host, &[]).unwrap().ca_file).unwrap();
        let (file, public) = apns_key(&dir, "ABCDEFGHIJ").unwrap();
        let account = service_account(&dir, "p", "https://127.0.0.1:1/token").unwrap();
        assert_eq!(fs::read(server_identity(&dir, host, &[]).unwrap().ca_file).unwrap(), ca);
        assert_eq!(apns_key(&dir, "ABCDEFGHIJ").unwrap().1, public);
        let again = service_account(&dir, "p", "https://127.0.0.1:2/token").unwrap();
        assert_eq!(again.public_key, account.public_key);
        assert!(fs::read_to_string(&again.file).unwrap().contains("https://127.0.0.1:2/token"), "the port may change");
        #[cfg(unix)]
        for secret in [file, account.file, temp.path().join(CA_KEY_FILE)] {
            let mode = std::os::unix::fs::PermissionsExt::mode(&fs::metadata(&secret).unwrap().permissions());
            assert_eq!(mode & 0o777, 0o600, "{}", secret.display());
        }
    }

    #[test]
    fn a_broken_key_file_is_named_and_not_replaced() {
        // An existing file is never overwritten: the error says which one and what to do.
        let temp = tempfile::tempdir().unwrap();
        let dir = Directory::open(Some(temp.path())).unwrap();
        fs::write(temp.path().join("AuthKey_X.p8"), "not a key").unwrap();
        let error = apns_key(&dir, "X").unwrap_err().to_string();
        assert!(error.contains("AuthKey_X.p8") && error.contains("remove it"), "{error}");
        assert_eq!(fs::read(temp.path().join("AuthKey_X.p8")).unwrap(), b"not a key");
    }
}
