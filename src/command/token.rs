//! `ringway token`: signs a token that this gateway accepts, and says on stderr with which secret.

use std::process::ExitCode;

use crate::auth::TokenError;
use crate::auth::Wanted;
use crate::auth::mint::mint;
use crate::cli::Token;
use crate::clock::Now;
use crate::config::{Config, Loaded};

/// Why a gateway that only has public keys cannot sign.
const NO_SECRET: &str = "no token can be signed here: auth.secret is not set, and public keys (auth.public_keys, \
                         auth.jwks_url) only check what their issuer has signed; get a token from it";

pub fn run(wish: &Token, loaded: &Loaded) -> ExitCode {
    match sign(wish, &loaded.config) {
        Ok(token) => {
            eprintln!("{}", signed_with(loaded));
            println!("{token}");
            ExitCode::SUCCESS
        }
        Err(error) => {
            eprintln!("{error}");
            ExitCode::FAILURE
        }
    }
}

fn sign(wish: &Token, config: &Config) -> Result<String, String> {
    let secret = config.auth.secret.as_ref().ok_or(NO_SECRET)?.expose();
    let now = Now::read().unix_s();
    let token = mint(secret, &wish.user, wish.user_type.as_deref(), wish.ttl.as_secs(), now, &wish.claims)
        .map_err(|error| error.to_string())?;
    match config.auth.verifier(None, Wanted::default()).verify(&token, now) {
        // It will be.
        Ok(_) | Err(TokenError::NotYetValid) => Ok(token),
        Err(error) => Err(format!("this gateway would refuse the token: {}{}", error.message(), remedy(error))),
    }
}

fn remedy(error: TokenError) -> &'static str {
    match error {
        TokenError::BadClaim => r#"; channels, for one, is a list: --claim 'channels=["conv:*"]'"#,
        TokenError::Expired => "; give it a longer --ttl",
        _ => "",
    }
}

/// A secret that is set for one command and not for the next is easily missed.
fn signed_with(loaded: &Loaded) -> String {
    let set_by = loaded.secret_set_by();
    match loaded.config.development {
        true => format!("signed with the published development secret ({set_by}): no other gateway accepts it"),
        false => format!("signed with auth.secret ({set_by})"),
    }
}
