//! A node whose death is being declared, as it and its leader see it.

use tokio::time::Instant;

use super::net::{Net, pair};
use super::*;

#[tokio::test(start_paused = true)]
async fn who_is_being_declared_dead_gets_no_answer_before_that_is_written_and_sees_it_with_the_next() {
    const SILENT: Duration = Duration::from_secs(3);
    let (net, disks) = (Net::new(1), (SimDisk::new(1), SimDisk::new(2)));
    let (leader, learner) = pair(&net, (&disks.0, &disks.1)).await;
    let asked = Instant::now();
    learner.barrier().await.unwrap();
    assert!(leader.contacts().asked("n2").is_some_and(|at| at >= asked));
    assert!(!leader.contacts().condemn("n2", SILENT, Instant::now()), "it was answered just now");
    tokio::time::sleep(SILENT).await;
    assert!(leader.contacts().condemn("n2", SILENT, Instant::now()));
    assert_eq!(learner.barrier().await, Err(Error::Unavailable));
    let waiting = {
        let learner = learner.clone();
        tokio::spawn(async move { learner.barrier().await })
    };
    tokio::time::sleep(Duration::from_secs(1)).await;
    let written = leader.commit(put("declared", Expect::Absent)).await.unwrap().revision;
    assert!(!waiting.is_finished());
    leader.contacts().acquit("n2");
    let seen = waiting.await.unwrap().unwrap();
    assert!(seen >= written && learner.get(&key("declared")).is_some());
}
