//! What development mode prints: where to connect, a token that works, and the commands that send a first message.

use std::net::SocketAddr;
use std::time::Duration;

use crate::auth::mint::mint;
use crate::clock::Now;
use crate::config::Config;

const USER: &str = "you";
const TOKEN_TTL: Duration = Duration::from_secs(24 * 3600);

pub fn print(config: &Config, public: SocketAddr, admin: SocketAddr) {
    let Some(secret) = &config.auth.secret else { return };
    let Ok(token) = mint(secret.expose(), USER, None, TOKEN_TTL.as_secs(), Now::read().unix_s(), &[]) else { return };
    let path = &config.server.path;
    let redis = match &config.redis.url {
        Some(_) => format!(
            "\n       or through Redis:\n       redis-cli publish {}:conv:c1 '{{\"type\":\"message.new\",\"payload\":{{}}}}'\n",
            config.redis.prefix
        ),
        None => String::new(),
    };
    println!(
        r#"
  Ringway {version}, development mode: loopback only, signed with the published development secret.

  clients  ws://{public}{path}
  admin    http://{admin}/ (dashboard)
  try it   http://{admin}/client (a client in the browser, with a message of every kind)
  token    {token}
           (user "{USER}", valid for 24 hours; more with: ringway token --user NAME)

  1. connect and subscribe:
     npx --yes wscat -c "ws://{public}{path}?token={token}" -w 3600 -x '{{"type":"subscribe","channels":["conv:c1"]}}'

  2. send that conversation a message:
     curl -X POST http://{admin}/broadcast/channel/conv:c1 -d '{{"type":"message.new","payload":{{"content":"Hello!"}}}}'
{redis}"#,
        version = env!("CARGO_PKG_VERSION"),
    );
}
