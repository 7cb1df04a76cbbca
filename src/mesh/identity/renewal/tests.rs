//! Renewal on virtual time.

use std::sync::atomic::{AtomicU32, Ordering};

use super::super::tests::{NOW, subject};
use super::*;
use crate::world::clock::VirtualClock;
use crate::world::disk::real::RealDisk;
use crate::world::entropy::SeededEntropy;

fn world() -> World {
    World {
        clock: Arc::new(VirtualClock::starting_at(NOW)),
        entropy: Arc::new(SeededEntropy::new(1)),
        disk: Arc::new(RealDisk),
    }
}

/// Fails as often as told, then signs.
struct Flaky {
    inner: OwnAuthority,
    failures: AtomicU32,
    asked: AtomicU32,
}

#[async_trait]
impl Signer for Flaky {
    async fn sign(&self, request: NodeRequest) -> Result<String, String> {
        self.asked.fetch_add(1, Ordering::Relaxed);
        if self.failures.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |left| left.checked_sub(1)).is_ok() {
            return Err("no quorum".into());
        }
        self.inner.sign(request).await
    }
}

fn renewal(dir: &std::path::Path, failures: u32) -> (Renewal, Arc<Flaky>) {
    let (world, subject, lifetimes) = (world(), subject("one", &[]), Lifetimes::default());
    let identity = Identity::found(dir, &subject, &lifetimes, NOW).unwrap();
    let live = LiveIdentity::new(&identity, Default::default(), world.clock.clone()).unwrap();
    let identity = Arc::new(Mutex::new(identity));
    let inner = OwnAuthority { identity: identity.clone(), subject: subject.clone(), lifetimes, world: world.clone() };
    let signer = Arc::new(Flaky { inner, failures: failures.into(), asked: 0.into() });
    (Renewal { identity, live, subject, lifetimes, signer: signer.clone(), world }, signer)
}

#[tokio::test(start_paused = true)]
async fn the_certificate_is_renewed_before_a_third_is_left_kept_and_shown() {
    let dir = tempfile::tempdir().unwrap();
    let (renewal, signer) = renewal(&dir.path().join("pki"), 0);
    let first = renewal.live.certificate();
    let running = renewal.clone();
    let _ = tokio::time::timeout(Duration::from_hours(13), running.run()).await;
    assert_eq!(renewal.live.certificate(), first, "too early");
    let _ = tokio::time::timeout(Duration::from_hours(4), renewal.clone().run()).await;
    let second = renewal.live.certificate();
    assert!(second.issued > first.issued && second.not_after > first.not_after);
    assert_eq!(renewal.identity.lock().certificate().unwrap(), second);
    let _ = tokio::time::timeout(super::super::DAY * 7, renewal.clone().run()).await;
    assert!(renewal.live.certificate().not_after > renewal.world.clock.now());
    assert!((8..=14).contains(&signer.asked.load(Ordering::Relaxed)), "{signer:?}", signer = signer.asked);
}

#[tokio::test(start_paused = true)]
async fn a_failed_renewal_is_tried_again_at_a_bounded_pace_in_time() {
    let dir = tempfile::tempdir().unwrap();
    let (renewal, signer) = renewal(&dir.path().join("pki"), 20);
    let first = renewal.live.certificate();
    let _ = tokio::time::timeout(Duration::from_hours(20), renewal.clone().run()).await;
    assert!(renewal.live.certificate().issued > first.issued);
    assert_eq!(signer.asked.load(Ordering::Relaxed), 21);
    assert_eq!(backoff(0), RETRY_FIRST);
    assert_eq!(backoff(u32::MAX), RETRY_MAX);
}

#[tokio::test(start_paused = true)]
async fn a_new_signing_authority_renews_at_once() {
    let dir = tempfile::tempdir().unwrap();
    let (renewal, _) = renewal(&dir.path().join("pki"), 0);
    renewal.identity.lock().generate_successor(NOW).unwrap();
    renewal.live.trust(&renewal.identity.lock().bundle().clone()).unwrap();
    let before = renewal.live.issuer();
    let (subject, lifetimes) = (renewal.subject.clone(), renewal.lifetimes);
    renewal.identity.lock().switch(&subject, &lifetimes, NOW).unwrap();
    renewal.live.trust(&renewal.identity.lock().bundle().clone()).unwrap();
    let _ = tokio::time::timeout(Duration::from_secs(1), renewal.clone().run()).await;
    assert_ne!(renewal.live.issuer(), before);
    assert_eq!(renewal.live.issuer(), Some(renewal.live.bundle().signing()));
}
