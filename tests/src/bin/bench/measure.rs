//! What a process tree costs, as the kernel counts it, and the median of runs.

use std::{collections::BTreeMap, io};

/// The unit of times in `/proc/PID/stat`: what Linux shows to programs is hundredths, whatever it counts in.
const TICKS_PER_SECOND: f64 = 100.0;

/// What a process and its descendants have used so far.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Usage {
    /// User and system time, of ended children too.
    pub(crate) cpu_s: f64,
    pub(crate) rss_mib: f64,
    /// The most that the processes ever held, each for itself.
    pub(crate) peak_mib: f64,
}

/// Of several process trees together.
pub(crate) fn usage(roots: &[u32]) -> io::Result<Usage> {
    let mut children: BTreeMap<u32, Vec<u32>> = BTreeMap::new();
    for entry in std::fs::read_dir("/proc")? {
        let Some(pid) = entry?.file_name().to_str().and_then(|it| it.parse().ok()) else {
            continue;
        };
        // Processes come and go while we look.
        if let Ok(fields) = stat(pid) {
            children.entry(fields[1].parse().unwrap_or(0)).or_default().push(pid);
        }
    }
    let mut open = roots.to_vec();
    let mut sum = Usage::default();
    while let Some(pid) = open.pop() {
        open.extend(children.get(&pid).into_iter().flatten());
        let fields = stat(pid)?;
        // utime, stime, cutime, cstime: fields 14 to 17 of the line, the 12th after the name.
        let ticks: f64 = fields[11..15].iter().filter_map(|it| it.parse::<f64>().ok()).sum();
        sum.cpu_s += ticks / TICKS_PER_SECOND;
        let status = std::fs::read_to_string(format!("/proc/{pid}/status"))?;
        sum.rss_mib += kib(&status, "VmRSS:") / 1024.0;
        sum.peak_mib += kib(&status, "VmHWM:") / 1024.0;
    }
    Ok(sum)
}

/// What this process itself has used, without its children.
pub(crate) fn own_cpu_s() -> io::Result<f64> {
    let fields = stat(std::process::id())?;
    let ticks: f64 = fields[11..13].iter().filter_map(|it| it.parse::<f64>().ok()).sum();
    Ok(ticks / TICKS_PER_SECOND)
}

/// The fields after the name, which may hold anything.
fn stat(pid: u32) -> io::Result<Vec<String>> {
    let line = std::fs::read_to_string(format!("/proc/{pid}/stat"))?;
    let rest = line.rsplit_once(')').map_or("", |it| it.1);
    let fields: Vec<String> = rest.split_whitespace().map(str::to_owned).collect();
    if fields.len() < 15 { Err(io::Error::other("a short line in /proc")) } else { Ok(fields) }
}

fn kib(status: &str, field: &str) -> f64 {
    let value = status.lines().find_map(|it| it.strip_prefix(field));
    value.and_then(|it| it.trim().strip_suffix("kB")?.trim().parse().ok()).unwrap_or(0.0)
}

/// Of the runs; the upper one of two in the middle.
pub(crate) fn median(values: impl IntoIterator<Item = f64>) -> f64 {
    let mut values: Vec<f64> = values.into_iter().collect();
    values.sort_by(f64::total_cmp);
    values.get(values.len() / 2).copied().unwrap_or(f64::NAN)
}

/// To three digits after the point: more is noise.
pub(crate) fn rounded(value: f64) -> f64 {
    (value * 1000.0).round() / 1000.0
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn this_process_uses_something() {
        let used = usage(&[std::process::id()]).unwrap();
        assert!(used.rss_mib > 1.0 && used.peak_mib >= used.rss_mib, "{used:?}");
    }

    #[test]
    fn the_median_is_in_the_middle() {
        assert!((median([3.0, 1.0, 2.0]) - 2.0).abs() < f64::EPSILON);
    }
}
