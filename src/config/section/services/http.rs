//! A service that is a web service: each message is one POST.

use std::path::{Path, PathBuf};
use std::time::Duration;

use serde::{Deserialize, Serialize};
use toml::Table;

use crate::config::section::entry::Entry;
use crate::config::value::{Secret, UrlTemplate, duration};

use super::Body;

/// The keys of `kind = "http"`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct HttpService {
    /// Where messages are posted to. Must be set.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub url: Option<UrlTemplate>,
    /// Signs what is posted, so that the backend knows whose it is.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub secret: Option<Secret>,
    /// A file that has the secret in it, instead; read at start, without the line end behind it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub secret_file: Option<PathBuf>,
    /// The certificates (PEM) of whom the backend's is signed by, instead of those that the host trusts.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ca_file: Option<PathBuf>,
    /// For the answer to one request. What is left of `timeout` bounds it, too.
    #[serde(with = "duration")]
    pub attempt_timeout: Duration,
    /// Further requests for a message that the backend cannot have, or asks for again.
    pub retries: u32,
    /// Requests at once. Messages that keep their order with each other go one after another.
    pub concurrency: usize,
    /// Failures in a row after which no message is taken until the backend is reached again.
    pub breaker_failures: u32,
    /// How long it is then left alone between two tries.
    #[serde(with = "duration")]
    pub breaker_pause: Duration,
    /// What is posted: the message alone, or with who says it.
    pub body: Body,
}

impl Default for HttpService {
    fn default() -> Self {
        Self {
            url: None,
            secret: None,
            secret_file: None,
            ca_file: None,
            attempt_timeout: Duration::from_secs(5),
            retries: 2,
            concurrency: 16,
            breaker_failures: 5,
            breaker_pause: Duration::from_secs(1),
            body: Body::Message,
        }
    }
}

/// Shorter ones can be guessed from a signature.
const SECRET_BYTES_MIN: usize = 32;

impl HttpService {
    pub(super) fn read(entry: &mut Entry<'_>, keys: Table) -> Option<Self> {
        let mut read: Self = entry.read(keys)?;
        if let Err((name, message)) = read.check() {
            entry.problem(name, message);
            return None;
        }
        if let Some(path) = &read.secret_file {
            match secret_in(path) {
                Ok(secret) => read.secret = Some(secret),
                Err(message) => {
                    entry.problem("secret_file", message);
                    return None;
                }
            }
        }
        if read.secret.as_ref().is_some_and(|secret| secret.expose().len() < SECRET_BYTES_MIN) {
            let message =
                format_args!("has less than {SECRET_BYTES_MIN} bytes: it can be guessed from what is signed with it");
            entry.warning("secret", message);
        }
        Some(read)
    }

    fn check(&self) -> Result<(), (&'static str, String)> {
        let between = |name, value: usize, min: usize, max: usize| match (min..=max).contains(&value) {
            true => Ok(()),
            false => Err((name, format!("{value} is not between {min} and {max}"))),
        };
        let lasting = |name, value: Duration, min_ms: u64, max_s: u64| {
            let bounds = Duration::from_millis(min_ms)..=Duration::from_secs(max_s);
            match bounds.contains(&value) {
                true => Ok(()),
                false => Err((name, format!("{value:?} is not between {min_ms}ms and {max_s}s"))),
            }
        };
        let Some(url) = &self.url else { return Err(("url", "must be set".into())) };
        if self.secret.is_some() && self.secret_file.is_some() {
            return Err(("secret_file", "there is a secret already; set one of the two".into()));
        }
        if self.ca_file.is_some() && !url.is_https() {
            return Err(("ca_file", "the url is not https".into()));
        }
        if let Some(Err(error)) = self.ca_file.as_ref().map(std::fs::File::open) {
            return Err(("ca_file", format!("cannot be read: {error}")));
        }
        between("retries", self.retries as usize, 0, 5)?;
        between("concurrency", self.concurrency, 1, 256)?;
        between("breaker_failures", self.breaker_failures as usize, 1, 1000)?;
        lasting("attempt_timeout", self.attempt_timeout, 10, 120)?;
        lasting("breaker_pause", self.breaker_pause, 100, 60)
    }
}

/// Errors do not say what stands in the file.
fn secret_in(path: &Path) -> Result<Secret, String> {
    let text = std::fs::read_to_string(path).map_err(|error| format!("{}: {error}", path.display()))?;
    let secret = text.trim_end_matches(['\r', '\n']);
    if secret.is_empty() { Err(format!("{} is empty", path.display())) } else { Ok(Secret::new(secret)) }
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use super::*;
    use crate::config::SetBy;
    use crate::config::finding::Findings;

    fn read(keys: &str) -> (Option<HttpService>, Findings) {
        let (mut findings, set_by) = (Findings::default(), SetBy::File("r.toml".into()));
        let mut entry = Entry { list: "services", index: 0, set_by: &set_by, findings: &mut findings };
        let read = HttpService::read(&mut entry, keys.parse().expect("valid TOML"));
        (read, findings)
    }

    #[test]
    fn what_is_out_of_bounds_is_named() {
        let url = "url = 'http://127.0.0.1:1/'\n";
        for (keys, problem) in [
            ("retries = 1".to_owned(), "url (file r.toml): must be set"),
            (format!("{url}retries = 6"), "retries (file r.toml): 6 is not between 0 and 5"),
            (format!("{url}concurrency = 0"), "concurrency (file r.toml): 0 is not between"),
            (format!("{url}attempt_timeout = '1ms'"), "attempt_timeout (file r.toml): 1ms is not between"),
            (format!("{url}breaker_pause = '0s'"), "breaker_pause (file r.toml): 0ns is not between"),
            (format!("{url}breaker_failures = 0"), "breaker_failures (file r.toml): 0 is not between"),
            (format!("{url}ca_file = '/x'"), "ca_file (file r.toml): the url is not https"),
            ("url = 'https://h'\nca_file = '/nonexistent'".to_owned(), "ca_file (file r.toml): cannot be read"),
            (format!("{url}secret = 'x'\nsecret_file = '/x'"), "secret_file (file r.toml): there is a secret already"),
            (format!("{url}secret_file = '/nonexistent'"), "secret_file (file r.toml): /nonexistent: No such file"),
            (format!("{url}secret = 7"), "secret (file r.toml): expected text in quotes"),
        ] {
            let (read, findings) = read(&keys);
            let problems: Vec<String> = findings.problems.iter().map(ToString::to_string).collect();
            assert!(read.is_none() && problems.len() == 1, "{keys}: {problems:?}");
            assert!(problems[0].starts_with(&format!("services[0].{problem}")), "{keys}: {problems:?}");
        }
    }

    #[test]
    fn a_secret_comes_from_its_file_and_is_printed_nowhere() {
        let mut file = tempfile::NamedTempFile::new().expect("a temporary file");
        file.write_all(b"hunter2-hunter2\r\n").expect("it is writable");
        let keys = format!("url = 'http://127.0.0.1:1/'\nsecret_file = '{}'", file.path().display());
        let (read, findings) = read(&keys);
        let read = read.expect("valid");
        assert_eq!(read.secret.as_ref().map(Secret::expose), Some("hunter2-hunter2"));
        assert_eq!(findings.warnings.len(), 1, "it is short");
        let printed = format!("{read:?} {} {findings:?}", Table::try_from(&read).expect("plain data"));
        assert!(!printed.contains("hunter2"), "{printed}");
    }
}
