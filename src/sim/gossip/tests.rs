#[test]
fn random_faults_break_no_invariant() {
    let seeds: u64 = std::env::var("GOSSIP_SEEDS").ok().and_then(|seeds| seeds.parse().ok()).unwrap_or(40);
    let broken: Vec<_> = (0..seeds).filter_map(|seed| super::run(seed).err()).collect();
    let text: String = broken.iter().take(12).map(|violation| format!("{violation}\n")).collect();
    assert!(broken.is_empty(), "{} of {seeds}\n{text}", broken.len());
}
#[test]
fn debug_one() {
    let seed: u64 = std::env::var("SEED").unwrap().parse().unwrap();
    let (history, _) = super::plan::run(seed);
    for s in history.sightings.iter().rev().take(40).rev() { println!("{s:?}"); }
    println!("{:?}", history.deaths);
}
