//! `hold`: everybody connects, then nothing happens but heartbeats.

use std::time::Duration;

use super::phase::Figures;
use super::run::Run;
use crate::limits::Trouble;

const SOAK: Duration = Duration::from_secs(60);

pub(super) fn play(mut run: Run) -> Result<bool, Trouble> {
    run.connect()?;
    let duration = run.common.duration.unwrap_or(SOAK);
    soak(&mut run, duration)?;
    run.finish()
}

/// The quiet phase by itself.
pub(super) fn soak(run: &mut Run, duration: Duration) -> Result<(), Trouble> {
    let beginning = run.begin("soak");
    run.pass(&beginning, duration)?;
    let asked = u64::from(run.common.connections);
    run.end(beginning, |_| Figures { asked, ..Figures::default() })
}
