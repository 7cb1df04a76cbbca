//! The checker of linearizability on histories that are known to be good or bad, and the simulator itself.

use std::time::Duration;

use super::linear::{Effect, Operation, STEPS, Verdict, check};
use super::run::{Options, run};

use Effect::{Differs, Read, Swap, Write};

fn history(operations: &[(u64, u64, Effect)]) -> Vec<Operation> {
    let at = Duration::from_millis;
    let one = |(from, to, effect): &(u64, u64, Effect)| Operation {
        from: at(*from),
        to: (*to > 0).then(|| at(*to)),
        effect: *effect,
    };
    operations.iter().map(one).collect()
}

#[track_caller]
fn good(operations: &[(u64, u64, Effect)]) {
    assert_eq!(check(&history(operations), STEPS), Verdict::Linearizable);
}

#[track_caller]
fn bad(operations: &[(u64, u64, Effect)]) {
    assert!(matches!(check(&history(operations), STEPS), Verdict::Impossible(_)));
}

#[test]
fn histories_that_one_copy_can_give_are_accepted() {
    good(&[]);
    good(&[(1, 2, Write(Some(1))), (3, 4, Read(Some(1)))]);
    // While a write is under way it may have happened or not, but not back and forth.
    good(&[(1, 9, Write(Some(1))), (2, 3, Read(None)), (4, 5, Read(Some(1)))]);
    good(&[(1, 9, Write(Some(1))), (1, 9, Write(Some(2))), (10, 11, Read(Some(1)))]);
    good(&[(1, 2, Write(Some(1))), (3, 4, Swap { expected: Some(1), new: 2 }), (5, 6, Differs(Some(1)))]);
    good(&[(1, 2, Write(Some(1))), (3, 4, Write(None)), (5, 6, Read(None))]);
    // An answer that never came: it may have happened long after, or never.
    good(&[(1, 0, Write(Some(1))), (2, 3, Read(None)), (50, 51, Read(Some(1)))]);
    good(&[(1, 0, Write(Some(1))), (2, 3, Read(None)), (50, 51, Read(None))]);
}

#[test]
fn histories_that_no_single_copy_can_give_are_refused() {
    // A stale read.
    bad(&[(1, 2, Write(Some(1))), (3, 4, Write(Some(2))), (5, 6, Read(Some(1)))]);
    // A lost write.
    bad(&[(1, 2, Write(Some(1))), (3, 4, Read(None))]);
    // Back and forth.
    bad(&[(1, 9, Write(Some(1))), (2, 3, Read(Some(1))), (4, 5, Read(None))]);
    // Two swaps from the same value.
    bad(&[
        (1, 2, Write(Some(1))),
        (3, 8, Swap { expected: Some(1), new: 2 }),
        (3, 8, Swap { expected: Some(1), new: 3 }),
    ]);
    // A refusal without a reason.
    bad(&[(1, 2, Write(Some(1))), (3, 4, Differs(Some(1)))]);
    // A value from nowhere.
    bad(&[(1, 2, Write(Some(1))), (3, 4, Read(Some(7)))]);
    // What never got an answer cannot have happened before it was asked.
    bad(&[(1, 2, Read(Some(1))), (5, 0, Write(Some(1)))]);
    // Two readers that see two writes in different orders.
    bad(&[
        (1, 20, Write(Some(1))),
        (1, 20, Write(Some(2))),
        (2, 3, Read(Some(1))),
        (4, 5, Read(Some(2))),
        (6, 7, Read(Some(1))),
    ]);
}

#[test]
fn a_search_has_a_bound() {
    let writes: Vec<_> = (0..40).map(|n| (1, 90, Write(Some(n)))).chain([(91, 92, Read(Some(99)))]).collect();
    assert_eq!(check(&history(&writes), 10_000), Verdict::Tangled);
}

#[test]
fn a_run_holds_every_invariant_and_tells_what_happened() {
    let (held, trace) = run(Options { seed: 1, nodes: Some(3), minutes: 1, whole: false });
    assert!(held.is_ok(), "{held:?}");
    assert!(trace.lines().count() > 200, "{} lines", trace.lines().count());
}
