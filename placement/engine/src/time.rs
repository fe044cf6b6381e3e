//! Times as objects write them, in seconds: against the snapshot's `asOf`, never against a clock.

/// Seconds since 1970-01-01 of `2026-11-21`, `2026-11-21T10:00:00Z` or with an offset; `None` for anything else.
pub(crate) fn seconds(text: &str) -> Option<i64> {
    let (date, rest) = text.split_at_checked(10)?;
    let number = |from: usize, to: usize, text: &str| {
        let part = text.get(from..to)?;
        part.bytes().all(|it| it.is_ascii_digit()).then(|| part.parse::<i64>().ok())?
    };
    let (year, month, day) = (number(0, 4, date)?, number(5, 7, date)?, number(8, 10, date)?);
    if !(1..=12).contains(&month) || !(1..=31).contains(&day) {
        return None;
    }
    // Years begin in March here, so that the leap day is the last one.
    let year = if month <= 2 { year - 1 } else { year };
    let (era, of_era) = (year.div_euclid(400), year.rem_euclid(400));
    let of_year = (153 * ((month + 9) % 12) + 2) / 5 + day - 1;
    let days = era * 146_097 + of_era * 365 + of_era / 4 - of_era / 100 + of_year - 719_468;
    if rest.is_empty() {
        return Some(days * 86_400);
    }
    let (hour, minute, second) = (number(1, 3, rest)?, number(4, 6, rest)?, number(7, 9, rest)?);
    let zone = rest.get(9..)?.trim_start_matches(|it: char| it == '.' || it.is_ascii_digit());
    let offset = match zone.split_at_checked(1)? {
        ("Z" | "z", "") => 0,
        (sign @ ("+" | "-"), at) => {
            let minutes = number(0, 2, at)? * 60 + number(3, 5, at)?;
            if sign == "+" { minutes * 60 } else { -minutes * 60 }
        }
        _ => return None,
    };
    Some(days * 86_400 + hour * 3_600 + minute * 60 + second - offset)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_become_seconds() {
        assert_eq!(seconds("1970-01-01"), Some(0));
        assert_eq!(seconds("1970-01-02T00:00:01Z"), Some(86_401));
        assert_eq!(seconds("2000-03-01T10:00:00.25+01:30"), Some(951_899_400));
        assert_eq!(seconds("2026-11-21T10:00:00Z"), Some(1_795_255_200));
        assert_eq!(seconds("2026-13-01"), None);
        assert_eq!(seconds("2026-11-21T10:00"), None);
        assert_eq!(seconds(""), None);
    }
}
