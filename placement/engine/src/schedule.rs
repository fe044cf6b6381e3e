//! How long and how often Jobs run: what turns a price per hour into one per month (RULES 5.5).

use federation_types::validate::seconds;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::workload::KindClass;

/// On a template: how long one run takes, such as `30m`.
pub const RUN_DURATION: &str = "archipel.dev/run-duration";
/// What a run of unknown length counts as.
const HOUR: i64 = 3_600;
/// Days over which runs are counted: four years with their leap day.
const DAYS: i64 = 1_461;
/// 1970-01-01 was a Thursday.
const FIRST_WEEKDAY: i64 = 4;

/// The runs of a Job or CronJob.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Run {
    pub seconds: i64,
    /// Nothing says how long a run takes.
    pub assumed: bool,
    /// Pods of one run at a time.
    pub pods: i64,
    /// In four years; `None` for a Job, which runs once.
    pub in_four_years: Option<i64>,
    /// One run waits for the one before.
    pub one_at_a_time: bool,
}

impl Run {
    /// What an hourly amount for all pods of a run comes to: in a month, or of a Job once.
    pub(crate) fn amount(&self, hourly: i64) -> i64 {
        let once = i128::from(hourly) * i128::from(self.seconds);
        let micros = match self.in_four_years {
            None => once / i128::from(HOUR),
            Some(runs) => {
                // A month is 1/48 of four years.
                let mut seconds = i128::from(runs) * i128::from(self.seconds);
                if self.one_at_a_time {
                    seconds = seconds.min(i128::from(DAYS) * 86_400);
                }
                i128::from(hourly) * seconds / i128::from(HOUR) / 48
            }
        };
        i64::try_from(micros).unwrap_or(i64::MAX)
    }
}

/// Reads the runs of a template; `None` for other kinds.
pub(crate) fn run(class: KindClass, template: &Value) -> Option<Run> {
    let job = match class {
        KindClass::Job => template,
        KindClass::CronJob => template.pointer("/spec/jobTemplate")?,
        _ => return None,
    };
    let number = |pointer: &str| job.pointer(pointer).and_then(Value::as_i64);
    let stated = template
        .pointer("/metadata/annotations")
        .and_then(|it| it.get(RUN_DURATION))
        .and_then(Value::as_str)
        .and_then(seconds)
        .and_then(|it| i64::try_from(it).ok());
    let known = stated.or_else(|| number("/spec/activeDeadlineSeconds"));
    let text = |pointer: &str| template.pointer(pointer).and_then(Value::as_str).unwrap_or("");
    let suspended = template.pointer("/spec/suspend").and_then(Value::as_bool) == Some(true);
    Some(Run {
        seconds: known.unwrap_or(HOUR).max(0),
        assumed: known.is_none(),
        pods: number("/spec/parallelism").unwrap_or(1).max(0),
        in_four_years: (class == KindClass::CronJob)
            .then(|| if suspended { 0 } else { firings(text("/spec/schedule")).unwrap_or(0) }),
        one_at_a_time: matches!(text("/spec/concurrencyPolicy"), "Forbid" | "Replace"),
    })
}

/// How often a schedule fires in four years; `None` if it cannot be read.
fn firings(schedule: &str) -> Option<i64> {
    let schedule = match schedule.trim() {
        "@yearly" | "@annually" => "0 0 1 1 *",
        "@monthly" => "0 0 1 * *",
        "@weekly" => "0 0 * * 0",
        "@daily" | "@midnight" => "0 0 * * *",
        "@hourly" => "0 * * * *",
        other => other,
    };
    let fields: Vec<&str> = schedule.split_whitespace().collect();
    let [minute, hour, day, month, weekday] = fields[..] else { return None };
    let minutes = field(minute, 0, 59, &[])?;
    let hours = field(hour, 0, 23, &[])?;
    let days = field(day, 1, 31, &[])?;
    let months = field(month, 1, 12, MONTHS)?;
    let weekdays = field(weekday, 0, 7, WEEKDAYS)?;
    let on_weekday = |at: i64| weekdays & (1 << at) != 0 || (at == 0 && weekdays & (1 << 7) != 0);
    // Where both are restricted, either is enough.
    let either = !day.starts_with('*') && !weekday.starts_with('*');
    let mut matched = 0;
    let (mut month, mut of_month) = (1, 1);
    let mut year = 0;
    for at in 0..DAYS {
        let by_day = days & (1 << of_month) != 0;
        let by_weekday = on_weekday((at + FIRST_WEEKDAY) % 7);
        let fires = if either { by_day || by_weekday } else { by_day && by_weekday };
        matched += i64::from(months & (1 << month) != 0 && fires);
        of_month += 1;
        if of_month > length(month, year) {
            of_month = 1;
            month += 1;
            if month > 12 {
                month = 1;
                year += 1;
            }
        }
    }
    Some(matched * i64::from(hours.count_ones()) * i64::from(minutes.count_ones()))
}

const MONTHS: &[&str] =
    &["", "jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec"];
const WEEKDAYS: &[&str] = &["sun", "mon", "tue", "wed", "thu", "fri", "sat"];

/// Days of a month of the years from 1970; the third of them is a leap year.
fn length(month: i64, year: i64) -> i64 {
    match month {
        4 | 6 | 9 | 11 => 30,
        2 => 28 + i64::from(year == 2),
        _ => 31,
    }
}

/// The values that a field of a schedule names, as bits.
fn field(text: &str, min: u32, max: u32, names: &[&str]) -> Option<u64> {
    let value = |it: &str| {
        let named = names.iter().position(|name| !name.is_empty() && it.eq_ignore_ascii_case(name));
        let found = match named {
            Some(at) => u32::try_from(at).ok()?,
            None => it.parse().ok()?,
        };
        (min..=max).contains(&found).then_some(found)
    };
    let mut bits = 0;
    for part in text.split(',') {
        let (range, step) = part.split_once('/').map_or((part, None), |it| (it.0, Some(it.1)));
        let step: u32 = step.map_or(Some(1), |it| it.parse().ok()).filter(|it| *it > 0)?;
        let stepped = part.contains('/');
        let (from, to) = match range.split_once('-') {
            _ if range == "*" || range == "?" => (min, max),
            Some((from, to)) => (value(from)?, value(to)?),
            None if stepped => (value(range)?, max),
            None => (value(range)?, value(range)?),
        };
        let mut at = from;
        while at <= to {
            bits |= 1 << at;
            at += step;
        }
    }
    (bits != 0).then_some(bits)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn firings_are_counted() {
        let check = |schedule: &str, expected: Option<i64>| {
            assert_eq!(firings(schedule), expected, "{schedule}");
        };
        check("0 * * * *", Some(24 * DAYS));
        check("@daily", Some(DAYS));
        check("*/15 9-17 * * *", Some(4 * 9 * DAYS));
        check("0 0 1 * *", Some(48));
        check("0 0 29 2 *", Some(1));
        check("@yearly", Some(4));
        // The first day is a Thursday, the last a Monday: one more of each between them.
        check("0 0 * * mon-fri", Some(208 * 5 + 3));
        check("0 0 * * 0", Some(209));
        check("0 0 * * 7", Some(209));
        check("0 0 13 * 5", Some(209 + 48 - 7));
        check("5/20 0 * jan *", Some(3 * 4 * 31));
        check("60 * * * *", None);
        check("* * * *", None);
        check("0 0 */0 * *", None);
    }

    #[test]
    fn rule_5_5_jobs_cost_per_run_and_cron_jobs_by_their_schedule() {
        let job = json!({"metadata": {"annotations": {RUN_DURATION: "30m"}}, "spec": {}});
        let once = run(KindClass::Job, &job).unwrap();
        assert_eq!((once.amount(1_000_000), once.assumed), (500_000, false));
        let cron = json!({"spec": {"schedule": "0 * * * *",
            "jobTemplate": {"spec": {"activeDeadlineSeconds": 360, "parallelism": 2}}}});
        let hourly = run(KindClass::CronJob, &cron).unwrap();
        // A tenth of each hour, 730.5 hours a month.
        assert_eq!((hourly.amount(1_000_000), hourly.pods), (73_050_000, 2));
        let unknown = json!({"spec": {"schedule": "*/5 * * * *", "concurrencyPolicy": "Forbid",
            "jobTemplate": {}}});
        let long = run(KindClass::CronJob, &unknown).unwrap();
        assert!(long.assumed);
        assert_eq!(long.amount(1_000_000), 730_500_000, "never more than all the time");
        assert_eq!(run(KindClass::Deployment, &json!({})), None);
    }
}
