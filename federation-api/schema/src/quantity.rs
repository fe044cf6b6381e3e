//! Quantities: `100m`, `1.5Gi`, `12e6`, exactly, in billionths of their unit.

use std::{cmp::Ordering, fmt, str::FromStr};

use serde_json::Value;

/// The family of suffixes that a quantity is written with.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum QuantityFormat {
    /// `m`, `k`, `M`.
    #[default]
    DecimalSi,
    /// `Ki`, `Mi`.
    BinarySi,
    /// `e3`.
    DecimalExponent,
}

/// An exact amount. Equality and order look at the amount only: `1Ki` equals `1024`.
#[derive(Clone, Copy, Debug, Default)]
pub struct Quantity {
    nano: i128,
    format: QuantityFormat,
}

/// Why a text is no quantity.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum QuantityError {
    #[error(
        "quantities must match the regular expression '^([+-]?[0-9.]+)([eEinumkKMGTP]*[-+]?[0-9]*)$'"
    )]
    Format,
    #[error("unable to parse quantity's suffix")]
    Suffix,
    #[error("the quantity is too large")]
    TooLarge,
}

const NANO: i128 = 1_000_000_000;
const DECIMAL: [(&str, i32); 10] = [
    ("n", -9),
    ("u", -6),
    ("m", -3),
    ("", 0),
    ("k", 3),
    ("M", 6),
    ("G", 9),
    ("T", 12),
    ("P", 15),
    ("E", 18),
];
const BINARY: [&str; 6] = ["Ki", "Mi", "Gi", "Ti", "Pi", "Ei"];

impl Quantity {
    /// An amount of billionths.
    pub fn from_nano(nano: i128, format: QuantityFormat) -> Self {
        Self { nano, format }
    }

    /// What a JSON field holds: a string or a number.
    pub fn from_value(value: &Value) -> Result<Self, QuantityError> {
        match value {
            Value::String(text) => text.parse(),
            Value::Number(number) => number.to_string().parse(),
            _ => Err(QuantityError::Format),
        }
    }

    /// The amount in billionths.
    pub fn as_nano(self) -> i128 {
        self.nano
    }

    /// The amount in thousandths, rounded up (away from zero).
    pub fn milli(self) -> i128 {
        divide_up(self.nano, NANO / 1000)
    }

    /// The amount in whole units, rounded up (away from zero).
    pub fn value(self) -> i128 {
        divide_up(self.nano, NANO)
    }

    /// How it was written.
    pub fn format(self) -> QuantityFormat {
        self.format
    }

    /// The sum, in the format of the first that is not zero.
    pub fn checked_add(self, other: Self) -> Option<Self> {
        let format = if self.nano == 0 { other.format } else { self.format };
        Some(Self { nano: self.nano.checked_add(other.nano)?, format })
    }

    /// The difference, in the format of the first that is not zero.
    pub fn checked_sub(self, other: Self) -> Option<Self> {
        let format = if self.nano == 0 { other.format } else { self.format };
        Some(Self { nano: self.nano.checked_sub(other.nano)?, format })
    }

    fn decimal(self, exponents: bool) -> String {
        let (mut number, mut exponent) = (self.nano, -9);
        while number % 1000 == 0 && (exponents || exponent < 18) {
            number /= 1000;
            exponent += 3;
        }
        if exponents && exponent != 0 {
            return format!("{number}e{exponent}");
        }
        let suffix = DECIMAL.iter().find(|(_, e)| *e == exponent).map_or("", |(s, _)| s);
        format!("{number}{suffix}")
    }
}

fn divide_up(number: i128, by: i128) -> i128 {
    number / by + (number % by).signum()
}

impl FromStr for Quantity {
    type Err = QuantityError;

    fn from_str(text: &str) -> Result<Self, QuantityError> {
        if text.is_empty() {
            return Err(QuantityError::Format);
        }
        let (negative, rest) = match text.as_bytes()[0] {
            b'-' => (true, &text[1..]),
            b'+' => (false, &text[1..]),
            _ => (false, text),
        };
        let (whole, rest) = digits(rest);
        let (fraction, suffix) = rest.strip_prefix('.').map_or(("", rest), digits);
        if suffix.contains(|c: char| !"eEinumkKMGTP+-0123456789".contains(c)) {
            return Err(QuantityError::Format);
        }
        let (base2, exponent, format) = suffix_of(suffix)?;
        let mantissa = format!("{whole}{fraction}");
        let mantissa = mantissa.trim_start_matches('0');
        // All that is worth knowing of more digits than an i128 holds is that they are too many, or far below a nano.
        if mantissa.len() > 37 {
            return Err(QuantityError::TooLarge);
        }
        let number: i128 = if mantissa.is_empty() {
            0
        } else {
            mantissa.parse().map_err(|_| QuantityError::Format)?
        };
        let (shifted, scale) = (number << base2, exponent.saturating_add(9));
        let fraction_digits = i32::try_from(fraction.len()).map_err(|_| QuantityError::TooLarge)?;
        let nano = if shifted >> base2 == number {
            scaled(shifted, scale.saturating_sub(fraction_digits))
        } else {
            None
        };
        let most = i128::from(i64::MAX) * NANO;
        let (nano, format) = match (nano, format) {
            // More binary units than 64 bits hold are as many as they hold.
            (nano, QuantityFormat::BinarySi) => {
                let nano = nano.unwrap_or(most).min(most);
                let small = nano > 0 && nano < NANO;
                (nano, if small { QuantityFormat::DecimalSi } else { format })
            }
            (Some(nano), format) => (nano, format),
            (None, _) => return Err(QuantityError::TooLarge),
        };
        Ok(Self { nano: if negative { -nano } else { nano }, format })
    }
}

/// `number` times a power of ten, rounded up; `None` when it is too large.
fn scaled(number: i128, power: i32) -> Option<i128> {
    if number == 0 {
        return Some(0);
    }
    let factor = 10_i128.checked_pow(power.unsigned_abs());
    if power >= 0 {
        number.checked_mul(factor?)
    } else {
        Some(factor.map_or(1, |factor| divide_up(number, factor)))
    }
}

fn digits(text: &str) -> (&str, &str) {
    text.split_at(text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len()))
}

/// The power of two, the power of ten and the family of a suffix.
fn suffix_of(suffix: &str) -> Result<(u32, i32, QuantityFormat), QuantityError> {
    if let Some((_, exponent)) = DECIMAL.iter().find(|(s, _)| *s == suffix) {
        return Ok((0, *exponent, QuantityFormat::DecimalSi));
    }
    if let Some(at) = BINARY.iter().position(|s| *s == suffix) {
        return Ok((10 * (u32::try_from(at).unwrap_or(0) + 1), 0, QuantityFormat::BinarySi));
    }
    let exponent = suffix.strip_prefix(['e', 'E']).and_then(|e| e.parse::<i32>().ok());
    exponent.map(|e| (0, e, QuantityFormat::DecimalExponent)).ok_or(QuantityError::Suffix)
}

/// Canonical: no fraction, the largest suffix that keeps it exact.
impl fmt::Display for Quantity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.nano == 0 {
            return f.write_str("0");
        }
        match self.format {
            QuantityFormat::DecimalExponent => f.write_str(&self.decimal(true)),
            QuantityFormat::BinarySi
                if self.nano % NANO == 0 && (self.nano / NANO).abs() >= 1024 =>
            {
                let (mut number, mut suffix) = (self.nano / NANO, "");
                for next in BINARY {
                    if number % 1024 != 0 {
                        break;
                    }
                    number /= 1024;
                    suffix = next;
                }
                write!(f, "{number}{suffix}")
            }
            QuantityFormat::BinarySi | QuantityFormat::DecimalSi => {
                f.write_str(&self.decimal(false))
            }
        }
    }
}

impl PartialEq for Quantity {
    fn eq(&self, other: &Self) -> bool {
        self.nano == other.nano
    }
}

impl Eq for Quantity {}

impl PartialOrd for Quantity {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Quantity {
    fn cmp(&self, other: &Self) -> Ordering {
        self.nano.cmp(&other.nano)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn canonical_forms() {
        let cases = [
            ("0", "0"),
            ("1000m", "1"),
            ("0.5", "500m"),
            ("1.5Gi", "1536Mi"),
            ("1024", "1024"),
            ("1024Ki", "1Mi"),
            ("0.1Mi", "104857600m"),
            ("1e3", "1e3"),
            ("12E6", "12e6"),
            ("1500", "1500"),
            ("1000k", "1M"),
            ("-1.5k", "-1500"),
            ("1E", "1E"),
            ("0.1n", "1n"),
            ("9223372036854775807Ei", "9223372036854775807"),
            ("100000", "100k"),
        ];
        for (text, want) in cases {
            assert_eq!(text.parse::<Quantity>().unwrap().to_string(), want, "{text}");
        }
    }

    #[test]
    fn amounts_compare_exactly() {
        let q = |t: &str| t.parse::<Quantity>().unwrap();
        assert_eq!(q("1Ki"), q("1024"));
        assert!(q("1M") < q("1Mi"));
        assert_eq!(q("1500m").milli(), 1500);
        assert_eq!(q("1001u").milli(), 2);
        assert_eq!(q("1.1").value(), 2);
        assert_eq!(q("-1.1").value(), -2);
        assert_eq!(q("1").checked_sub(q("250m")).unwrap().to_string(), "750m");
        assert_eq!(q("0").checked_add(q("1Gi")).unwrap().to_string(), "1Gi");
    }

    #[test]
    fn what_is_no_quantity_is_refused() {
        for bad in ["", "abc", "1e", "1 ", "1mi", "1.2.3", "1Kii"] {
            assert!(bad.parse::<Quantity>().is_err(), "{bad}");
        }
        assert_eq!("1e60".parse::<Quantity>(), Err(QuantityError::TooLarge));
        assert!(Quantity::from_value(&serde_json::json!(true)).is_err());
        assert_eq!(Quantity::from_value(&serde_json::json!(1.5)).unwrap().milli(), 1500);
    }
}
