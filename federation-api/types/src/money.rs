//! Money in integers: micro-dollars, so that sums are exact and the same on every machine.

use std::{fmt, ops};

/// An amount in millionths of a US dollar; rates are per hour unless a name says otherwise.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Money(pub i64);

/// Hours that a month has for billing: 365 × 24 ÷ 12 = 730.
pub const HOURS_PER_MONTH: i64 = 730;

impl Money {
    pub const ZERO: Self = Self(0);

    /// From a decimal number of dollars, as price lists write it: at most six places count, more are rounded up.
    pub fn parse_usd(text: &str) -> Option<Self> {
        let (negative, digits) = match text.trim().strip_prefix('-') {
            Some(rest) => (true, rest),
            None => (false, text.trim()),
        };
        let (whole, part) = digits.split_once('.').unwrap_or((digits, ""));
        if whole.is_empty() && part.is_empty() {
            return None;
        }
        if !whole.bytes().chain(part.bytes()).all(|byte| byte.is_ascii_digit()) {
            return None;
        }
        let whole: i64 = if whole.is_empty() { 0 } else { whole.parse().ok()? };
        let mut micros: i64 = 0;
        for place in 0..6 {
            let digit = part.as_bytes().get(place).map_or(0, |byte| i64::from(byte - b'0'));
            micros = micros * 10 + digit;
        }
        if part.bytes().skip(6).any(|byte| byte != b'0') {
            micros += 1;
        }
        let amount = whole.checked_mul(1_000_000)?.checked_add(micros)?;
        Some(Self(if negative { -amount } else { amount }))
    }

    /// A rate per hour as an amount per month.
    pub fn per_month(self) -> Self {
        Self(self.0.saturating_mul(HOURS_PER_MONTH))
    }

    /// An amount per month as a rate per hour, rounded up.
    pub fn per_hour(self) -> Self {
        let rest = i64::from(self.0.rem_euclid(HOURS_PER_MONTH) > 0);
        Self(self.0.div_euclid(HOURS_PER_MONTH) + rest)
    }

    /// Dollars as a decimal number, rounded to cents: `12.35`.
    pub fn decimal(self) -> String {
        self.to_string().replace('$', "")
    }

    /// `n` times the amount, without overflow.
    pub fn times(self, n: i64) -> Self {
        Self(self.0.saturating_mul(n))
    }
}

impl ops::Add for Money {
    type Output = Self;
    fn add(self, other: Self) -> Self {
        Self(self.0.saturating_add(other.0))
    }
}

impl ops::AddAssign for Money {
    fn add_assign(&mut self, other: Self) {
        *self = *self + other;
    }
}

impl ops::Sub for Money {
    type Output = Self;
    fn sub(self, other: Self) -> Self {
        Self(self.0.saturating_sub(other.0))
    }
}

impl std::iter::Sum for Money {
    fn sum<I: Iterator<Item = Self>>(amounts: I) -> Self {
        amounts.fold(Self::ZERO, |sum, it| sum + it)
    }
}

impl fmt::Display for Money {
    /// Dollars and cents, rounded to the nearest: `$12.35`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let cents = (self.0.unsigned_abs() + 5_000) / 10_000;
        let sign = if self.0 < 0 && cents > 0 { "-" } else { "" };
        write!(f, "{sign}${}.{:02}", cents / 100, cents % 100)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dollars_are_read_exactly() {
        let check = |text: &str, micros: Option<i64>| {
            assert_eq!(Money::parse_usd(text).map(|it| it.0), micros, "{text}");
        };
        check("0.2300000000", Some(230_000));
        check("12", Some(12_000_000));
        check(".5", Some(500_000));
        check("0.0000001", Some(1));
        check("-1.5", Some(-1_500_000));
        check("", None);
        check("1e3", None);
        check("99999999999999999999", None);
    }

    #[test]
    fn a_month_has_730_hours() {
        assert_eq!(Money(730_000_000).per_hour(), Money(1_000_000));
        assert_eq!(Money(731).per_hour(), Money(2));
        assert_eq!(Money(2).per_month(), Money(1_460));
    }

    #[test]
    fn it_prints_dollars_and_cents() {
        assert_eq!(Money(12_345_678).decimal(), "12.35");
        assert_eq!(Money(12_345_678).to_string(), "$12.35");
        assert_eq!(Money(-5_000).to_string(), "-$0.01");
        assert_eq!(Money(-1).to_string(), "$0.00");
    }
}
