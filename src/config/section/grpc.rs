//! `[grpc]`: backends by the names that other systems have for them. Each is a service without further settings.

use serde::{Deserialize, Serialize};

use crate::config::check::Check;
use crate::config::value::Endpoint;

use super::services::{Backend, Common, Contract, GrpcService, Kind, ServiceRule};

/// Where backends of the shipped contracts listen; each key makes a service.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Grpc {
    /// The service `location`.
    pub location: Option<Endpoint>,
    /// The service `chat`.
    pub chat: Option<Endpoint>,
    /// The service `notifications`.
    pub notification: Option<Endpoint>,
}

impl Grpc {
    pub(super) fn check(&self, named: &[ServiceRule], check: &mut Check<'_>) {
        for (key, service, ..) in self.all() {
            if !cfg!(feature = "grpc") {
                check.problem(key, "this build has no gRPC (feature `grpc`)");
            } else if is_named(service, named) {
                check.warning(key, format_args!("has no effect: [[services]] has an entry {service}"));
            }
        }
    }

    /// The services that these addresses make, unless they are among those that have an entry.
    pub fn services(&self, named: &[ServiceRule]) -> impl Iterator<Item = ServiceRule> {
        let unnamed = self.all().filter(|(_, service, ..)| !is_named(service, named));
        unnamed.map(|(_, service, contract, address)| ServiceRule {
            common: Common { name: service.to_owned(), kind: Kind::Grpc, ..Common::default() },
            backend: Backend::Grpc(GrpcService { address: address.clone(), contract, ..GrpcService::default() }),
        })
    }

    fn all(&self) -> impl Iterator<Item = (&'static str, &'static str, Contract, &Endpoint)> {
        let all = [
            ("location", "location", Contract::Location, &self.location),
            ("chat", "chat", Contract::Chat, &self.chat),
            ("notification", "notifications", Contract::Notification, &self.notification),
        ];
        all.into_iter()
            .filter_map(|(key, service, contract, address)| Some((key, service, contract, address.as_ref()?)))
    }
}

fn is_named(service: &str, named: &[ServiceRule]) -> bool {
    named.iter().any(|rule| rule.common.name == service)
}
