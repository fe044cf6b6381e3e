//! Kubernetes quantities as integers: `1500m`, `2Gi`, `1e3`.

/// A quantity in thousandths of its unit, rounded up: `100m` CPU is 100, `1Gi` is 1024³ × 1000.
///
/// `None` for what is not a quantity or does not fit.
pub fn millis(text: &str) -> Option<i128> {
    let text = text.trim();
    let end = text
        .char_indices()
        .find(|(at, c)| !(c.is_ascii_digit() || *c == '.' || (*at == 0 && matches!(c, '+' | '-'))))
        .map_or(text.len(), |(at, _)| at);
    let (number, suffix) = text.split_at(end);
    let (negative, number) = match number.as_bytes().first()? {
        b'-' => (true, &number[1..]),
        b'+' => (false, &number[1..]),
        _ => (false, number),
    };
    let (whole, part) = number.split_once('.').unwrap_or((number, ""));
    if whole.len() + part.len() == 0 || part.contains('.') || whole.len() + part.len() > 27 {
        return None;
    }
    let mantissa: i128 = format!("{whole}{part}").parse().ok()?;
    let (factor, decimal): (i128, i32) = match suffix {
        "" => (1, 0),
        "n" => (1, -9),
        "u" => (1, -6),
        "m" => (1, -3),
        "k" => (1, 3),
        "M" => (1, 6),
        "G" => (1, 9),
        "T" => (1, 12),
        "P" => (1, 15),
        "E" => (1, 18),
        "Ki" => (1 << 10, 0),
        "Mi" => (1 << 20, 0),
        "Gi" => (1 << 30, 0),
        "Ti" => (1 << 40, 0),
        "Pi" => (1 << 50, 0),
        "Ei" => (1 << 60, 0),
        exponent => (1, exponent.strip_prefix(['e', 'E'])?.parse::<i32>().ok()?),
    };
    let power = decimal.checked_add(3)?.checked_sub(i32::try_from(part.len()).ok()?)?;
    let scaled = mantissa.checked_mul(factor)?;
    let magnitude = if power >= 0 {
        scaled.checked_mul(10_i128.checked_pow(power.unsigned_abs())?)?
    } else {
        match 10_i128.checked_pow(power.unsigned_abs()) {
            Some(divisor) => (scaled + divisor - 1) / divisor,
            None => i128::from(scaled > 0),
        }
    };
    Some(if negative { -magnitude } else { magnitude })
}

/// The integer that resources are counted in: thousandths for `cpu`, whole units (bytes, devices, pods) for the rest,
/// rounded up.
pub fn units(resource: &str, text: &str) -> Option<i64> {
    let millis = millis(text)?;
    let value = if resource == "cpu" {
        millis
    } else {
        millis.div_euclid(1000) + i128::from(millis.rem_euclid(1000) > 0)
    };
    i64::try_from(value).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quantities_are_read_exactly() {
        let check =
            |text: &str, expected: Option<i128>| assert_eq!(millis(text), expected, "{text}");
        check("1500m", Some(1_500));
        check("2", Some(2_000));
        check("0.5", Some(500));
        check("1Gi", Some(1024 * 1024 * 1024 * 1000));
        check("1e3", Some(1_000_000));
        check("1E", Some(1_000_000_000_000_000_000_000));
        check("1n", Some(1));
        check("-1", Some(-1_000));
        check("+1", Some(1_000));
        check("", None);
        check("Gi", None);
        check("1.2.3", None);
        check("1x", None);
    }

    #[test]
    fn cpu_counts_in_thousandths_and_memory_in_bytes() {
        assert_eq!(units("cpu", "250m"), Some(250));
        assert_eq!(units("memory", "512Mi"), Some(512 * 1024 * 1024));
        assert_eq!(units("nvidia.com/gpu", "1"), Some(1));
        assert_eq!(units("memory", "1500m"), Some(2));
    }
}
