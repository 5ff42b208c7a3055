//! `hold`: everybody connects, then nothing happens but heartbeats.

use std::time::Duration;

use super::phase::Figures;
use super::run::Run;
use crate::limits::Trouble;

const SOAK: Duration = Duration::from_secs(60);

pub(super) fn play(mut run: Run) -> Result<bool, Trouble> {
    run.connect()?;
    let beginning = run.begin("soak");
    run.pass(&beginning, run.common.duration.unwrap_or(SOAK))?;
    let asked = u64::from(run.common.connections);
    run.end(beginning, |_| Figures { asked, ..Figures::default() })?;
    run.finish()
}
