//! The test client: one page at `/client` that connects to the public port as any client does, and what it asks for.
//!
//! The page is made of the files in the folder beside this one, the dashboard's style, and the client library of
//! `tools/client` as it is built there: nothing is fetched from elsewhere. It is served to everybody, as it says
//! nothing; where to connect, the token of development mode and the routes need the admin token.

use std::sync::{Arc, LazyLock};

use axum::Json;
use axum::extract::rejection::QueryRejection;
use axum::extract::{Query, State as Shared};
use axum::http::{HeaderName, header};
use serde::{Deserialize, Serialize};

use crate::auth::Origins;
use crate::auth::mint::mint;
use crate::clock::Now;
use crate::route::Routes;

use super::State;
use super::error::AdminError;
use super::pages::{self, PageOf};

/// The modules of the client library, each behind those that it uses.
const LIBRARY: [&str; 12] = [
    include_str!("../../tools/client/dist/closing.js"),
    include_str!("../../tools/client/dist/error.js"),
    include_str!("../../tools/client/dist/listeners.js"),
    include_str!("../../tools/client/dist/options.js"),
    include_str!("../../tools/client/dist/outbox.js"),
    include_str!("../../tools/client/dist/pace.js"),
    include_str!("../../tools/client/dist/pulse.js"),
    include_str!("../../tools/client/dist/requests.js"),
    include_str!("../../tools/client/dist/seen.js"),
    include_str!("../../tools/client/dist/socket.js"),
    include_str!("../../tools/client/dist/topics.js"),
    include_str!("../../tools/client/dist/client.js"),
];

/// Put together once.
static PAGE: LazyLock<String> = LazyLock::new(|| {
    let style = [include_str!("dashboard/page.css"), include_str!("test_client/page.css")].concat();
    let script = [&library(), include_str!("test_client/page.js")].concat();
    pages::put_together(include_str!("test_client/page.html"), &style, &script)
});

/// That of the dashboard, and WebSockets to wherever one is to be tried.
const POLICY: &str = "default-src 'none'; script-src 'unsafe-inline'; style-src 'unsafe-inline'; img-src data:; \
                      connect-src 'self' ws: wss:; base-uri 'none'; form-action 'none'; frame-ancestors 'none'";

/// Long enough to try something, and the page asks for another one in time.
const TOKEN_TTL_S: u64 = 3600;

/// What a client of the public port needs to know.
#[derive(Clone)]
pub struct Public {
    pub port: u16,
    pub path: String,
    pub origins: Origins,
    /// In development mode: everybody knows it, and the page signs its tokens with it.
    pub development_secret: Option<String>,
    pub routes: &'static Routes,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Who {
    /// The page's own, as the browser will name it to the public port.
    origin: String,
    /// Of whom development mode makes a token.
    user: String,
}

#[derive(Serialize)]
pub struct Settings {
    server_id: String,
    port: u16,
    path: String,
    origin_allowed: bool,
    development: bool,
    token: Option<String>,
}

pub async fn page() -> PageOf {
    pages::answer(POLICY, &PAGE)
}

pub async fn settings(
    Shared(state): Shared<Arc<State>>,
    query: Result<Query<Who>, QueryRejection>,
) -> Result<Json<Settings>, AdminError> {
    let Query(Who { origin, user }) = query?;
    let public = &state.context.public;
    let token = public.development_secret.as_ref().map(|secret| token(secret, &user)).transpose()?;
    Ok(Json(Settings {
        server_id: state.context.server_id.clone(),
        port: public.port,
        path: public.path.clone(),
        origin_allowed: public.origins.allows(Some(&origin)),
        development: public.development_secret.is_some(),
        token,
    }))
}

/// The routes as they are compiled, and what backends publish.
pub async fn routes(Shared(state): Shared<Arc<State>>) -> ([(HeaderName, &'static str); 1], String) {
    ([(header::CONTENT_TYPE, "application/json")], state.context.public.routes.json())
}

fn token(secret: &str, user: &str) -> Result<String, AdminError> {
    mint(secret, user, None, TOKEN_TTL_S, Now::read().unix_s(), &[]).map_err(|_| AdminError::BadName)
}

/// The library as one script that makes `Ringway`: what the modules tell each other stays inside.
fn library() -> String {
    let lines = LIBRARY.iter().flat_map(|module| module.lines()).filter(|line| !line.starts_with("import "));
    let body: String = lines.map(|line| format!("{}\n", line.strip_prefix("export ").unwrap_or(line))).collect();
    format!("const {{ Ringway }} = (() => {{\n{body}return {{ Ringway }};\n}})();\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_library_is_one_script() {
        let script = library();
        for line in script.lines() {
            assert!(!line.starts_with("import ") && !line.starts_with("export "), "{line}");
        }
        for module in LIBRARY {
            assert!(module.lines().all(|line| !line.starts_with("import ") || line.ends_with(".js\";")), "{module}");
        }
        assert!(!PAGE.contains("{{"), "a place of the page is not filled");
    }
}
