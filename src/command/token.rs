//! `ringway token`: signs a token that this gateway accepts.

use std::process::ExitCode;

use crate::auth::mint::{mint, parse_claim};
use crate::cli::Token;
use crate::clock::Now;
use crate::config::Config;

pub fn run(wish: &Token, config: &Config) -> ExitCode {
    match sign(wish, config) {
        Ok(token) => {
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
    let secret = config.auth.secret.expose();
    let claims: Result<Vec<_>, _> =
        wish.claims.iter().map(|(name, value)| parse_claim(&format!("{name}={value}"))).collect();
    let claims = claims.map_err(|error| error.to_string())?;
    mint(secret, &wish.user, wish.user_type.as_deref(), wish.ttl.as_secs(), Now::read().unix_s(), &claims)
        .map_err(|error| error.to_string())
}
