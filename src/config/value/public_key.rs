//! How a public key is written in `auth.public_keys`: the path of a PEM file, `kid=path`, or the PEM itself.
//!
//! The file is read here, once, with the rest of the configuration. Its name without the last ending is taken for the
//! `kid` that the issuer may have given the key; `kid=path` says so and is held to it.

use std::fmt;
use std::fs::File;
use std::io::Read;
use std::path::Path;
use std::str::FromStr;

use crate::auth::{KeyName, PublicKey, pem};

/// Longest file that is read: room for all the keys that may be set, of the longest kind.
const FILE_BYTES_MAX: u64 = 128 * 1024;

const PEM_BEGINS: &str = "-----BEGIN ";

/// One entry of the list. Two are equal when they are written alike.
#[derive(Clone, Debug)]
pub struct PublicKeys {
    written: String,
    /// More than one where the PEM has several.
    pub keys: Vec<PublicKey>,
}

impl PartialEq for PublicKeys {
    fn eq(&self, other: &PublicKeys) -> bool {
        self.written == other.written
    }
}

impl FromStr for PublicKeys {
    /// One line that names the file, and quotes nothing of a key.
    type Err = String;

    fn from_str(written: &str) -> Result<PublicKeys, String> {
        let keys = if written.trim_start().starts_with(PEM_BEGINS) {
            pem::read_keys(written, None).map_err(|error| format!("the PEM in the list is of no use: {error}"))?
        } else {
            from_file(written)?
        };
        Ok(PublicKeys { written: written.to_owned(), keys })
    }
}

impl fmt::Display for PublicKeys {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.written)
    }
}

fn from_file(written: &str) -> Result<Vec<PublicKey>, String> {
    let (name, path) = match written.split_once('=') {
        Some(("", _)) | Some((_, "")) => return Err(format!("`{written}` is neither a path nor kid=path")),
        Some((kid, path)) => (Some(KeyName::Kid(kid.into())), Path::new(path)),
        None => (guessed(Path::new(written)), Path::new(written)),
    };
    let text = read(path).map_err(|error| format!("{}: cannot be read: {error}", path.display()))?;
    pem::read_keys(&text, name.as_ref()).map_err(|error| format!("{}: {error}", path.display()))
}

fn guessed(path: &Path) -> Option<KeyName> {
    Some(KeyName::Guessed(path.file_stem()?.to_str()?.into()))
}

fn read(path: &Path) -> std::io::Result<String> {
    let mut text = String::new();
    File::open(path)?.take(FILE_BYTES_MAX + 1).read_to_string(&mut text)?;
    if text.len() as u64 > FILE_BYTES_MAX {
        return Err(std::io::Error::other(format!("longer than {FILE_BYTES_MAX} bytes")));
    }
    Ok(text)
}
