//! `https://issuer.example/.well-known/jwks.json`: where an issuer publishes its keys.

use std::str::FromStr;

use serde::{Deserialize, Serialize};
use url::{Host, Url};

/// An http or https URL with a host, without user, password and fragment.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct JwksUrl(Url);

impl JwksUrl {
    pub fn as_str(&self) -> &str {
        self.0.as_str()
    }

    /// For people: without the query, in which some issuers are told a key.
    pub fn shown(&self) -> String {
        let mut shown = self.0.clone();
        shown.set_query(None);
        shown.into()
    }

    /// Whether everybody on the way can read what is sent, and change what comes back.
    pub fn is_in_the_clear(&self) -> bool {
        let is_here = match self.0.host() {
            Some(Host::Ipv4(address)) => address.is_loopback(),
            Some(Host::Ipv6(address)) => address.is_loopback(),
            Some(Host::Domain(name)) => name == "localhost",
            None => false,
        };
        self.0.scheme() != "https" && !is_here
    }
}

impl FromStr for JwksUrl {
    /// One line that says what is wrong and does not repeat the URL.
    type Err = String;

    fn from_str(text: &str) -> Result<JwksUrl, String> {
        let url = Url::parse(text).map_err(|error| format!("not a valid URL: {error}"))?;
        if !matches!(url.scheme(), "http" | "https") || !url.has_host() {
            return Err("expected https://host/path".into());
        }
        if !url.username().is_empty() || url.password().is_some() {
            return Err("has a user or password in it; auth.jwks_bearer is the place for a secret".into());
        }
        if url.fragment().is_some() {
            return Err("has a fragment (#…) in it, which is no part of what is asked for".into());
        }
        Ok(JwksUrl(url))
    }
}

impl TryFrom<String> for JwksUrl {
    type Error = String;

    fn try_from(text: String) -> Result<JwksUrl, String> {
        text.parse()
    }
}

impl From<JwksUrl> for String {
    fn from(url: JwksUrl) -> String {
        url.0.into()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_names_no_key_set_is_refused_without_quoting_it() {
        for (text, part) in [
            ("issuer.example/jwks.json", "URL"),
            ("ftp://hunter2.example/jwks.json", "https://host/path"),
            ("file:///hunter2", "https://host/path"),
            ("https://u:hunter2@issuer.example/", "jwks_bearer"),
            ("https://hunter2@issuer.example/", "jwks_bearer"),
            ("https://issuer.example/#hunter2", "fragment"),
            ("https://", "URL"),
        ] {
            let error = text.parse::<JwksUrl>().expect_err(text);
            assert!(error.contains(part) && !error.contains("hunter"), "{text}: {error}");
        }
    }

    #[test]
    fn only_https_and_this_machine_are_not_in_the_clear() {
        for (text, is_in_the_clear) in [
            ("https://issuer.example/jwks.json", false),
            ("http://issuer.example/jwks.json", true),
            ("http://127.0.0.1:8080/jwks", false),
            ("http://[::1]/jwks", false),
            ("http://localhost/jwks", false),
            ("http://localhost.example/jwks", true),
            ("http://10.0.0.1/jwks", true),
        ] {
            assert_eq!(text.parse::<JwksUrl>().expect(text).is_in_the_clear(), is_in_the_clear, "{text}");
        }
    }

    #[test]
    fn its_query_is_not_shown() {
        let url: JwksUrl = "https://issuer.example/jwks?api_key=hunter2".parse().expect("valid");
        assert_eq!((url.as_str().len(), &*url.shown()), (43, "https://issuer.example/jwks"));
    }
}
