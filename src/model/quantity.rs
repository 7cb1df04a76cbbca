//! Resource quantities: parse, compare, add, print in canonical form.

/// An exact amount, in billionths (nano) of its unit. Covers 10^-9 up to about 1.7 * 10^29.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Quantity {
    /// Amount times 10^9.
    pub nano: i128,
}

impl Quantity {
    /// Reads `100m`, `1.5`, `64Mi`, `1e3`, ...; `None` where the text is not a quantity.
    pub fn parse(_text: &str) -> Option<Self> {
        None
    }

    /// Thousandths of the unit, rounded up, as CPU requests are counted.
    pub fn millis(self) -> i64 {
        i64::try_from(-(-self.nano).div_euclid(1_000_000)).unwrap_or(i64::MAX)
    }

    /// Whole units, rounded up, as memory requests are counted.
    pub fn units(self) -> i64 {
        i64::try_from(-(-self.nano).div_euclid(1_000_000_000)).unwrap_or(i64::MAX)
    }
}
