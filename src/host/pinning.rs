//! Which core each shard is pinned to. Decided once, when the gateway starts.
//!
//! A shard on a core of its own keeps its caches. But a process that may use a part of the time of all cores
//! (a CPU quota, as containers have it) does not own any of them: every such process on a host would choose
//! the same ones, and wait there while others are idle. So it is left to the scheduler, unless it has been
//! given cores (a cpuset, `taskset`).

use core_affinity::CoreId;

use crate::config::Pin;
use crate::host::doctor::{self, Host};

/// What the host lets this process have.
#[derive(Debug, Clone)]
pub struct Cores {
    /// That this process may run on.
    pub allowed: Vec<usize>,
    /// Of the host.
    pub online: usize,
    /// The part of the time of all of them, in cores.
    pub quota: Option<f64>,
}

#[derive(Debug, PartialEq)]
pub enum Pinning {
    /// Shard n to the nth, again from the first when there are more shards.
    To(Vec<usize>),
    /// Wherever the scheduler likes, because of this.
    Off(&'static str),
}

impl Cores {
    /// As it is here. The calling thread must not have been pinned.
    pub fn here() -> Self {
        let allowed: Vec<usize> =
            core_affinity::get_core_ids().unwrap_or_default().iter().map(|core| core.id).collect();
        let host = Host::this();
        Self { online: doctor::cores_online(&host).unwrap_or(allowed.len()), quota: doctor::cpu_quota(&host), allowed }
    }
}

impl Pinning {
    /// `draw` is a random number: where there are more cores than shards, several gateways should not all take the
    /// first.
    ///
    /// # Errors
    ///
    /// When a core was asked for that this process may not use.
    pub fn decide(pin: &Pin, cores: &Cores, shards: usize, draw: usize) -> Result<Self, String> {
        let allowed = &cores.allowed;
        match pin {
            Pin::Off => Ok(Pinning::Off("server.pin is off")),
            Pin::Cores(asked) => match asked.iter().find(|core| !allowed.contains(core)) {
                Some(core) => Err(format!("core {core} is none of those that this process may use: {allowed:?}")),
                None => Ok(Pinning::To(asked.clone())),
            },
            Pin::Auto if allowed.is_empty() => Ok(Pinning::Off("the host does not say which cores there are")),
            Pin::Auto if cores.quota.is_some() && allowed.len() >= cores.online => {
                Ok(Pinning::Off("there is a CPU quota and no cpuset, so that no core is ours"))
            }
            Pin::Auto => {
                let first = if shards < allowed.len() { draw % allowed.len() } else { 0 };
                Ok(Pinning::To(allowed.iter().cycle().skip(first).take(shards.min(allowed.len())).copied().collect()))
            }
        }
    }

    pub fn core_of(&self, shard: usize) -> Option<CoreId> {
        match self {
            Pinning::To(cores) => Some(CoreId { id: cores[shard % cores.len()] }),
            Pinning::Off(_) => None,
        }
    }

    pub fn tell(&self) {
        match self {
            Pinning::To(cores) => tracing::info!(?cores, "shards are pinned to cores"),
            Pinning::Off(why) => tracing::info!(%why, "shards are not pinned to cores"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn host(allowed: impl IntoIterator<Item = usize>, quota: Option<f64>) -> Cores {
        Cores { allowed: allowed.into_iter().collect(), online: 8, quota }
    }

    fn auto(cores: &Cores, shards: usize, draw: usize) -> Pinning {
        Pinning::decide(&Pin::Auto, cores, shards, draw).expect("it finds a way")
    }

    fn is_off(pinning: Pinning) -> bool {
        matches!(pinning, Pinning::Off(_))
    }

    #[test]
    fn a_host_without_quota_is_pinned_to() {
        assert_eq!(auto(&host(0..8, None), 8, 5), Pinning::To((0..8).collect()));
        assert_eq!(auto(&host([2, 5], None), 2, 5), Pinning::To(vec![2, 5]));
    }

    #[test]
    fn under_a_quota_only_cores_of_our_own_are_pinned_to() {
        assert!(is_off(auto(&host(0..8, Some(2.0)), 2, 0)));
        assert!(is_off(auto(&host(0..8, Some(8.0)), 8, 0)));
        assert_eq!(auto(&host([4, 5], Some(2.0)), 2, 0), Pinning::To(vec![4, 5]));
    }

    #[test]
    fn more_shards_than_cores_share_them() {
        let pinning = auto(&host([3, 4], None), 5, 1);
        let cores: Vec<_> = (0..5).map(|shard| pinning.core_of(shard).map(|core| core.id)).collect();
        assert_eq!(cores, [3, 4, 3, 4, 3].map(Some));
    }

    #[test]
    fn fewer_shards_than_cores_do_not_always_take_the_first() {
        assert_eq!(auto(&host(0..8, None), 2, 3), Pinning::To(vec![3, 4]));
        assert_eq!(auto(&host(0..8, None), 2, 15), Pinning::To(vec![7, 0]));
    }

    #[test]
    fn what_was_asked_for_is_done_or_refused() {
        let decide = |pin| Pinning::decide(&pin, &host(0..8, Some(1.5)), 3, 0);
        assert!(is_off(decide(Pin::Off).expect("always")));
        assert_eq!(decide(Pin::Cores(vec![6, 1])), Ok(Pinning::To(vec![6, 1])));
        let refused = decide(Pin::Cores(vec![6, 8])).expect_err("there is no core 8");
        assert!(refused.starts_with("core 8 is none of those"), "{refused}");
    }

    #[test]
    fn a_host_that_hides_its_cores_is_left_alone() {
        let pinning = auto(&host([], None), 4, 0);
        assert_eq!(pinning.core_of(0), None);
    }

    #[test]
    fn this_host_has_cores() {
        let cores = Cores::here();
        assert!(!cores.allowed.is_empty() && cores.online >= cores.allowed.len(), "{cores:?}");
    }
}
