//! Public keys in PEM (RFC 7468), as `openssl pkey -pubout` writes them. Read once, with the configuration.

use super::key_set::{BadKey, KeyName, PublicKey};

/// Every key of `text`, each with this name.
///
/// # Errors
///
/// When there is none, or one of them is not a public key that tokens can be checked with. Nothing of the text is
/// quoted.
pub fn read_keys(text: &str, name: Option<&KeyName>) -> Result<Vec<PublicKey>, BadKey> {
    let blocks = ::pem::parse_many(text).map_err(|_| BadKey::Because("not PEM, or damaged"))?;
    if blocks.is_empty() {
        return Err(BadKey::Because("no PEM block in it: -----BEGIN PUBLIC KEY----- is expected"));
    }
    blocks.iter().map(|block| Ok(read(block)?.named(name.cloned()))).collect()
}

fn read(block: &::pem::Pem) -> Result<PublicKey, BadKey> {
    match block.tag() {
        "PUBLIC KEY" | "RSA PUBLIC KEY" => PublicKey::from_der(block.contents()),
        "CERTIFICATE" => Err(BadKey::Because("a certificate: take its key with `openssl x509 -pubkey -noout`")),
        tag if tag.ends_with("PRIVATE KEY") => Err(BadKey::Because(
            "a private key, which belongs to the issuer alone: give its public one (`openssl pkey -pubout`)",
        )),
        _ => Err(BadKey::Because("a PEM block that is no public key")),
    }
}
