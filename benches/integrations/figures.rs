//! What is measured of one run, and how several runs are told.

use std::time::Instant;

use crate::on_cpu::OnCpu;
use crate::support::gateway::Gateway;

/// Of one run.
pub struct Figures {
    /// Messages per second.
    pub rate: f64,
    /// Of the gateway, for each message.
    pub cpu_us: f64,
}

/// Time, and the gateway's CPU time, from here on.
pub struct Measuring {
    began: Instant,
    cpu: OnCpu,
}

impl Measuring {
    pub fn start(gateway: &mut Gateway) -> Measuring {
        let cpu = OnCpu::of_process(gateway.process().pid()).expect("perf events: see kernel.perf_event_paranoid");
        Measuring { cpu, began: Instant::now() }
    }

    pub fn end(mut self, messages: usize) -> Figures {
        let (time, cpu_ns) = (self.began.elapsed(), self.cpu.ns().expect("it is alive"));
        let messages = messages as f64;
        Figures { rate: messages / time.as_secs_f64(), cpu_us: cpu_ns as f64 / 1e3 / messages }
    }
}

/// The median, and in brackets the lowest and the highest.
pub fn spread(values: impl Iterator<Item = f64>) -> String {
    let mut values: Vec<f64> = values.collect();
    values.sort_by(f64::total_cmp);
    let [low, median, high] = [0, values.len() / 2, values.len() - 1].map(|at| short(values[at]));
    format!("{median} ({low} to {high})")
}

/// Three digits, and thousands set apart.
fn short(value: f64) -> String {
    match value {
        1e6.. => format!("{:.2} million", value / 1e6),
        999.5.. => {
            let last = 10f64.powi(value.log10() as i32 - 2);
            let rounded = ((value / last).round() * last) as u64;
            format!("{},{:03}", rounded / 1000, rounded % 1000)
        }
        100.0.. => format!("{value:.0}"),
        10.0.. => format!("{value:.1}"),
        _ => format!("{value:.2}"),
    }
}
