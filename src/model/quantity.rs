//! Resource quantities: parse, compare, add, print in canonical form. Rules: `k8s.io/apimachinery/pkg/api/resource`.

#[cfg(test)]
mod tests;

use std::fmt;
use std::ops::{Add, Neg, Sub};

const NANOS_PER_UNIT: i128 = 1_000_000_000;
/// The largest amount that a quantity with more digits is cut to: 2^63 - 1 units.
const LARGEST: i128 = i64::MAX as i128 * NANOS_PER_UNIT;

/// What Kubernetes says of text that is not a quantity.
pub const SYNTAX: &str = "quantities must match the regular expression '^([+-]?[0-9.]+)([eEinumkKMGTP]*[-+]?[0-9]*)$'";

/// An exact amount, in billionths (nano) of its unit. Covers 10^-9 up to about 1.7 * 10^29.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Quantity {
    /// Amount times 10^9.
    pub nano: i128,
}

/// Which suffixes a quantity was written with, and is printed with.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Family {
    /// `m`, `k`, `M`, ...: powers of 1000.
    #[default]
    Decimal,
    /// `Ki`, `Mi`, ...: powers of 1024.
    Binary,
    /// `e3`, `E6`, ...
    Exponent,
}

impl Quantity {
    /// Nothing.
    pub const ZERO: Self = Self { nano: 0 };

    /// Reads `100m`, `1.5`, `64Mi`, `1e3`, ...; `None` where the text is not a quantity.
    pub fn parse(text: &str) -> Option<Self> {
        Self::parse_with_family(text).map(|(quantity, _)| quantity)
    }

    /// Like [`Quantity::parse`], with the family of its suffix.
    ///
    /// What is finer than a billionth is rounded away from zero; what is too large is cut to 2^63 - 1.
    pub fn parse_with_family(text: &str) -> Option<(Self, Family)> {
        let (negative, rest) = match text.as_bytes().first()? {
            b'-' => (true, text.get(1..)?),
            b'+' => (false, text.get(1..)?),
            _ => (false, text),
        };
        let end = rest.find(|c: char| !c.is_ascii_digit() && c != '.').unwrap_or(rest.len());
        let (number, suffix) = rest.split_at(end);
        let (whole, fraction) = number.split_once('.').unwrap_or((number, ""));
        if (whole.is_empty() && fraction.is_empty()) || fraction.contains('.') {
            return None;
        }
        let (family, scale) = scale(suffix)?;
        let nano = magnitude(whole, fraction, scale);
        Some((Self { nano: if negative { -nano } else { nano } }, family))
    }

    /// The canonical form of a quantity's text; `None` where the text is not a quantity.
    pub fn canonical(text: &str) -> Option<String> {
        Self::parse_with_family(text).map(|(quantity, family)| quantity.format(family))
    }

    /// A whole number of units.
    pub fn from_units(units: i64) -> Self {
        Self { nano: i128::from(units) * NANOS_PER_UNIT }
    }

    /// A number of thousandths.
    pub fn from_millis(millis: i64) -> Self {
        Self { nano: i128::from(millis) * (NANOS_PER_UNIT / 1000) }
    }

    /// Thousandths of the unit, rounded up, as CPU requests are counted.
    pub fn millis(self) -> i64 {
        saturated(-(-self.nano).div_euclid(1_000_000))
    }

    /// Whole units, rounded up, as memory requests are counted.
    pub fn units(self) -> i64 {
        saturated(-(-self.nano).div_euclid(NANOS_PER_UNIT))
    }

    /// Rounded up to whole thousandths, as the amounts of resource lists are kept.
    #[must_use]
    pub fn rounded_to_millis(self) -> Self {
        Self { nano: (-(-self.nano).div_euclid(1_000_000)).saturating_mul(1_000_000) }
    }

    /// The shortest exact form with the suffixes of `family`.
    ///
    /// A binary amount that is below 1024 or not whole is printed as a decimal one: no digit is ever lost.
    pub fn format(self, family: Family) -> String {
        let whole = self.nano % NANOS_PER_UNIT == 0;
        match family {
            _ if self.nano == 0 => "0".to_owned(),
            Family::Binary if whole && (self.nano / NANOS_PER_UNIT).unsigned_abs() >= 1024 => {
                binary(self.nano / NANOS_PER_UNIT)
            }
            Family::Exponent => decimal(self.nano, |power| format!("e{power}")),
            Family::Binary | Family::Decimal => decimal(self.nano, decimal_suffix),
        }
    }
}

fn saturated(value: i128) -> i64 {
    i64::try_from(value).unwrap_or(if value < 0 { i64::MIN } else { i64::MAX })
}

/// What a suffix multiplies by: a power of ten or of two.
#[derive(Clone, Copy)]
enum Scale {
    Ten(i32),
    Two(u32),
}

fn scale(suffix: &str) -> Option<(Family, Scale)> {
    const DECIMAL: [(&str, i32); 10] =
        [("n", -9), ("u", -6), ("m", -3), ("", 0), ("k", 3), ("M", 6), ("G", 9), ("T", 12), ("P", 15), ("E", 18)];
    const BINARY: [(&str, u32); 6] = [("Ki", 10), ("Mi", 20), ("Gi", 30), ("Ti", 40), ("Pi", 50), ("Ei", 60)];
    if let Some((_, power)) = DECIMAL.iter().find(|(name, _)| *name == suffix) {
        return Some((Family::Decimal, Scale::Ten(*power)));
    }
    if let Some((_, power)) = BINARY.iter().find(|(name, _)| *name == suffix) {
        return Some((Family::Binary, Scale::Two(*power)));
    }
    let power = suffix.strip_prefix(['e', 'E'])?;
    power.parse().ok().map(|power| (Family::Exponent, Scale::Ten(power)))
}

/// `whole.fraction` times `scale`, in nanos.
fn magnitude(whole: &str, fraction: &str, scale: Scale) -> i128 {
    let fraction = fraction.trim_end_matches('0');
    let places = i32::try_from(fraction.len()).unwrap_or(i32::MAX);
    let digits = whole.bytes().chain(fraction.bytes()).skip_while(|digit| *digit == b'0');
    let (mut mantissa, mut dropped, mut inexact) = (0i128, 0i32, false);
    for digit in digits {
        // Digits beyond what an i128 holds can only matter for rounding.
        let next = mantissa.checked_mul(10).and_then(|value| value.checked_add(i128::from(digit - b'0')));
        match next {
            Some(next) if dropped == 0 => mantissa = next,
            _ => {
                dropped = dropped.saturating_add(1);
                inexact |= digit != b'0';
            }
        }
    }
    let (tens, twos) = match scale {
        Scale::Ten(power) => (power, 0),
        Scale::Two(power) => (0, power),
    };
    let tens = tens.saturating_add(9).saturating_sub(places).saturating_add(dropped);
    scaled(mantissa, tens, twos, inexact).map_or(LARGEST, |nano| nano)
}

/// `mantissa * 10^tens * 2^twos`, rounded up; `None` where it does not fit.
fn scaled(mantissa: i128, tens: i32, twos: u32, inexact: bool) -> Option<i128> {
    if mantissa == 0 {
        return Some(i128::from(inexact));
    }
    let power = 10i128.checked_pow(tens.unsigned_abs());
    if tens >= 0 {
        return mantissa.checked_mul(power?)?.checked_mul(1i128 << twos);
    }
    let Some(power) = power else { return Some(1) };
    match mantissa.checked_mul(1i128 << twos) {
        Some(value) => Some(value / power + i128::from(value % power != 0 || inexact)),
        // Too wide to multiply first: divide first, and multiply the remainder apart.
        None => {
            let rest = (mantissa % power).checked_mul(1i128 << twos)?;
            let base = (mantissa / power).checked_mul(1i128 << twos)?;
            base.checked_add(rest / power + i128::from(rest % power != 0 || inexact))
        }
    }
}

fn decimal(nano: i128, suffix: impl Fn(i32) -> String) -> String {
    let (mut mantissa, mut power) = (nano, -9);
    while mantissa % 1000 == 0 && power < 18 {
        mantissa /= 1000;
        power += 3;
    }
    if power == 0 { mantissa.to_string() } else { format!("{mantissa}{}", suffix(power)) }
}

fn decimal_suffix(power: i32) -> String {
    let suffix = match power {
        -9 => "n",
        -6 => "u",
        -3 => "m",
        3 => "k",
        6 => "M",
        9 => "G",
        12 => "T",
        15 => "P",
        18 => "E",
        _ => "",
    };
    suffix.to_owned()
}

fn binary(units: i128) -> String {
    let (mut mantissa, mut rest) = (units, ["", "Ki", "Mi", "Gi", "Ti", "Pi", "Ei"].iter().peekable());
    let mut suffix = rest.next().copied().unwrap_or_default();
    while mantissa % 1024 == 0 {
        let Some(next) = rest.next() else { break };
        mantissa /= 1024;
        suffix = next;
    }
    format!("{mantissa}{suffix}")
}

impl Add for Quantity {
    type Output = Self;

    fn add(self, rhs: Self) -> Self {
        Self { nano: self.nano.saturating_add(rhs.nano) }
    }
}

impl Sub for Quantity {
    type Output = Self;

    fn sub(self, rhs: Self) -> Self {
        Self { nano: self.nano.saturating_sub(rhs.nano) }
    }
}

impl Neg for Quantity {
    type Output = Self;

    fn neg(self) -> Self {
        Self { nano: self.nano.saturating_neg() }
    }
}

impl std::iter::Sum for Quantity {
    fn sum<I: Iterator<Item = Self>>(iter: I) -> Self {
        iter.fold(Self::ZERO, Add::add)
    }
}

impl fmt::Display for Quantity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.format(Family::Decimal))
    }
}
