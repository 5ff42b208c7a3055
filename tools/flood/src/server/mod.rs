//! The server under load: one that runs already, or one that this tool starts and stops.

mod baseline;
mod child;
mod gateway;
mod redis;
mod url;

use std::net::{SocketAddr, TcpListener};

use crate::args::Common;
use crate::baseline::Mode;
use crate::cores::Cores;
use crate::limits::Trouble;
use crate::measure::process::Processes;
use crate::publish::sink;

use child::Child;
pub use url::Url;

/// Where to connect, where to publish, whom to measure. What was started is stopped when this is dropped.
pub struct Server {
    pub url: Url,
    pub target: SocketAddr,
    pub label: String,
    /// Without `/` at its end.
    pub admin: Option<String>,
    pub redis: Option<String>,
    pub processes: Processes,
    /// The secret that it verifies tokens with, where it is known.
    pub secret: Option<String>,
    _children: Vec<Child>,
}

impl Server {
    /// The server that the arguments name. Where it is to have cores of its own, the
    /// calling thread is left on the others.
    pub fn find(common: &Common) -> Result<Self, Trouble> {
        let cores = common.server_cores.map(Cores::split).transpose()?;
        if let Some(program) = &common.spawn {
            // Redis is nobody's: it runs with the tool.
            let redis = (common.redis.as_deref() == Some("spawn")).then(redis::start).transpose()?;
            return on_its_cores(cores, || gateway::start(program, common, redis));
        }
        let url: Url = common.url.parse().map_err(Trouble::new)?;
        Ok(Self {
            target: url.resolve()?,
            label: common.label.clone().unwrap_or_else(|| url.host.clone()),
            admin: common.admin.clone().map(|admin| admin.trim_end_matches('/').to_owned()),
            redis: common.redis.clone(),
            processes: Processes::watch(&common.server_pid),
            secret: None,
            url,
            _children: Vec::new(),
        })
    }

    /// The baseline, under the same conditions.
    pub fn baseline(mode: Mode, common: &Common) -> Result<Self, Trouble> {
        let cores = common.server_cores.map(Cores::split).transpose()?;
        on_its_cores(cores, || baseline::start(mode, common))
    }

    /// Where messages are published.
    pub fn sink(&self, common: &Common) -> Result<sink::Address, Trouble> {
        if let Some(url) = &self.redis {
            return Ok(sink::Address::Redis { url: url.clone(), prefix: common.redis_prefix.clone() });
        }
        let url = match (&common.publish, &self.admin) {
            (Some(url), _) => url.clone(),
            (None, Some(admin)) => format!("{admin}/broadcast/channel/{{channel}}"),
            (None, None) => {
                return Err(Trouble::new("nobody to publish through: give --admin, --publish or --redis, or --spawn"));
            }
        };
        Ok(sink::Address::Http { url, token: common.admin_token.clone() })
    }
}

fn on_its_cores(cores: Option<Cores>, start: impl FnOnce() -> Result<Server, Trouble>) -> Result<Server, Trouble> {
    let Some(cores) = cores else { return start() };
    cores.enter_server()?;
    let server = start();
    cores.enter_tool()?;
    server
}

/// A port of 127.0.0.1 that is free at this moment.
fn free_port() -> Result<SocketAddr, Trouble> {
    Ok(TcpListener::bind("127.0.0.1:0")?.local_addr()?)
}
