//! What quantities mean and how they are printed.

use super::{Family, Quantity};

#[test]
fn text_is_brought_to_its_canonical_form() {
    for (text, expect) in [
        ("0", "0"),
        ("0Mi", "0"),
        ("-0", "0"),
        ("1500m", "1500m"),
        ("0.5", "500m"),
        ("1000m", "1"),
        (".5", "500m"),
        ("5.", "5"),
        ("1024Mi", "1Gi"),
        ("1.5Gi", "1536Mi"),
        ("0.5Ki", "512"),
        ("0.1Mi", "104857600m"),
        ("1000Ki", "1000Ki"),
        ("1e3", "1e3"),
        ("1000e0", "1e3"),
        ("12E5", "1200e3"),
        ("1E", "1E"),
        ("1000k", "1M"),
        ("1.0000000001", "1000000001n"),
        ("0.0000000001", "1n"),
        ("+5", "5"),
        ("-1500", "-1500"),
        ("-2048Ki", "-2Mi"),
        ("100000000000000000000000000000000000000000", "9223372036854775807"),
        ("1e-3", "1e-3"),
        ("1Ei", "1Ei"),
        ("1e400", "9223372036854775807"),
        ("1e-400", "1e-9"),
        ("9223372036854775807", "9223372036854775807"),
    ] {
        assert_eq!(Quantity::canonical(text).as_deref(), Some(expect), "{text}");
    }
}

#[test]
fn what_is_not_a_quantity_is_refused() {
    for text in ["", "-", ".", "1.2.3", "1 ", " 1", "1mi", "1KI", "1K", "e3", "1e", "1ee3", "0x1", "1_000", "--1", "Mi"]
    {
        assert_eq!(Quantity::parse(text), None, "{text}");
    }
}

#[test]
fn rounding_counts_what_is_asked_for_and_never_less() {
    let of = |text: &str| Quantity::parse(text).unwrap();
    assert_eq!(of("0.0001").millis(), 1);
    assert_eq!(of("100m").millis(), 100);
    assert_eq!(of("1500m").units(), 2);
    assert_eq!(of("1500m").rounded_to_millis(), of("1.5"));
    assert_eq!(of("1n").rounded_to_millis(), of("1m"));
    assert_eq!(of("64Mi").units(), 64 << 20);
    assert_eq!(of("-1500m").units(), -1);
}

#[test]
fn amounts_of_different_families_compare_and_add_exactly() {
    let of = |text: &str| Quantity::parse(text).unwrap();
    assert!(of("1Gi") > of("1G") && of("1e3") == of("1k") && of("999m") < of("1"));
    assert_eq!((of("1Gi") - of("512Mi")).format(Family::Binary), "512Mi");
    assert_eq!((of("250m") + of("1.75")).to_string(), "2");
    assert_eq!([of("100m"), of("0.9")].into_iter().sum::<Quantity>(), of("1"));
}

/// Printing loses nothing: over a spread of mantissas and suffixes, reading the canonical form gives the same amount,
/// and the canonical form is its own canonical form.
#[test]
fn canonical_forms_read_back_as_the_same_amount() {
    let suffixes =
        ["", "n", "u", "m", "k", "M", "G", "T", "P", "E", "Ki", "Mi", "Gi", "Ti", "Pi", "Ei", "e0", "e7", "E-2", "e-5"];
    let mut mantissa: u64 = 1;
    for round in 0..400u64 {
        mantissa = mantissa.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(round);
        let number =
            format!("{}.{}", mantissa >> 58, mantissa % [10, 100, 1000, 1][usize::try_from(round % 4).unwrap()]);
        for suffix in suffixes {
            let text = format!("{number}{suffix}");
            let (amount, family) = Quantity::parse_with_family(&text).unwrap();
            let canonical = amount.format(family);
            assert_eq!(Quantity::parse(&canonical), Some(amount), "{text} became {canonical}");
            assert_eq!(Quantity::canonical(&canonical), Some(canonical.clone()), "{text}");
        }
    }
}
