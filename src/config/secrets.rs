//! Secrets that come from files, and files that must be there.
use std::path::{Path, PathBuf};

use rustls_pki_types::{CertificateDer, pem::PemObject as _};
use secrecy::SecretString;

use super::Config;
use crate::settings::Problems;

/// A secret `key` and the file `<key>_file` that it may come from.
struct Slot<'a> {
    key: String,
    secret: &'a mut Option<SecretString>,
    file: &'a Option<PathBuf>,
}

impl Config {
    /// Reads every secret that is named by a file into its place. `is_default` says whether a key's value is a compiled-in default:
    /// a file outweighs that, while a value and a file set side by side are a contradiction.
    pub(super) fn read_secrets(&mut self, is_default: impl Fn(&str) -> bool) -> Problems {
        let mut problems = Problems::default();
        for slot in self.secret_slots() {
            let (Some(file), key) = (slot.file, slot.key) else { continue };
            if slot.secret.is_some() && !is_default(&key) {
                problems.add(format!("{key} and {key}_file are both set; remove one"));
                continue;
            }
            let text = std::fs::read_to_string(file).unwrap_or_else(|error| {
                problems.add(format!("{key}_file: cannot read {}: {error}", file.display()));
                String::new()
            });
            // Editors and `echo` end a file with a newline that is no part of a password.
            *slot.secret = Some(SecretString::from(text.trim_end_matches(['\r', '\n'])));
        }
        problems
    }

    fn secret_slots(&mut self) -> Vec<Slot<'_>> {
        let (security, policy) = (&mut self.kafka.security, &mut self.policy);
        let slot = |key: &str, secret, file| Slot { key: key.to_owned(), secret, file };
        let mut slots = vec![
            slot("kafka.security.password", &mut security.password, &security.password_file),
            slot("kafka.security.client_secret", &mut security.client_secret, &security.client_secret_file),
            slot("policy.store_url", &mut policy.store_url, &policy.store_url_file),
            slot("policy.redis_url", &mut policy.redis_url, &policy.redis_url_file),
        ];
        let apns = self.apns.iter_mut();
        slots.extend(apns.map(|(name, apns)| slot(&format!("apns.{name}.key"), &mut apns.key, &apns.key_file)));
        slots.extend(self.fcm.iter_mut().map(|(name, fcm)| {
            slot(&format!("fcm.{name}.service_account"), &mut fcm.service_account, &fcm.service_account_file)
        }));
        slots
    }

    /// Files that others will read by name must be readable now.
    pub(super) fn file_problems(&self) -> Problems {
        let security = &self.kafka.security;
        let mut files = vec![
            ("kafka.security.ca_file".to_owned(), &security.ca_file),
            ("kafka.security.certificate_file".to_owned(), &security.certificate_file),
            ("kafka.security.key_file".to_owned(), &security.key_file),
            ("auth.ca_file".to_owned(), &self.auth.ca_file),
        ];
        files.extend(self.apns.iter().map(|(name, apns)| (format!("apns.{name}.ca_file"), &apns.ca_file)));
        files.extend(self.fcm.iter().map(|(name, fcm)| (format!("fcm.{name}.ca_file"), &fcm.ca_file)));

        let mut problems = Problems::default();
        for (key, file) in files.iter().filter_map(|(key, file)| Some((key, file.as_deref()?))) {
            if let Err(error) = readable(file) {
                problems.add(format!("{key}: cannot read {}: {error}", file.display()));
            }
        }
        for (key, file) in [("ca_file", &security.ca_file), ("certificate_file", &security.certificate_file)] {
            if let Some(file) = file.as_deref().filter(|file| readable(file).is_ok() && !has_certificate(file)) {
                let file = file.display();
                problems.add(format!("kafka.security.{key}: {file} has no certificate in it; it must be a PEM file"));
            }
        }
        problems
    }
}

fn has_certificate(file: &Path) -> bool {
    CertificateDer::pem_file_iter(file).is_ok_and(|mut found| found.next().is_some_and(|first| first.is_ok()))
}

fn readable(file: &Path) -> std::io::Result<()> {
    std::fs::File::open(file).map(drop)
}
