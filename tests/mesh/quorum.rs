//! A quorum that looks after itself, and control actors that move with it: voters are killed, and nobody helps.

use std::collections::{BTreeMap, BTreeSet};
use std::thread::sleep;
use std::time::{Duration, Instant};

use serde_json::Value;

use super::harness::{Machine, PATIENCE, Segment, same, wait_until};

/// How soon after its node's death a control actor is placed elsewhere. The bound is 2 s; debug builds on a shared
/// machine get more.
const AT_WORK_AGAIN: Duration = Duration::from_secs(6);

/// What a node says of the quorum.
struct Quorum(Value);

impl Quorum {
    fn of(machine: &Machine) -> Result<Self, String> {
        machine.quorum().map(Self)
    }

    fn leader(&self) -> Option<String> {
        self.0["leader"].as_str().map(str::to_owned)
    }

    /// Node, epoch and state of every control actor.
    fn actors(&self) -> BTreeMap<String, (String, u64, String)> {
        let text = |actor: &Value, key: &str| actor[key].as_str().unwrap_or_default().to_owned();
        let all = self.0["actors"].as_array().into_iter().flatten();
        let place = |one: &Value| (text(one, "node"), one["epoch"].as_u64().unwrap_or(0), text(one, "state"));
        all.map(|one| (text(one, "name"), place(one))).collect()
    }
}

fn voters(api: &Machine, wanted: &[&str]) -> Result<(), String> {
    same(api.voters()?, wanted.iter().map(|one| (*one).to_owned()).collect())
}

/// Whether every actor runs, on one of these nodes, and each of these has some.
fn at_work(api: &Machine, on: &[&str]) -> Result<(), String> {
    let actors = Quorum::of(api)?.actors();
    let homes: BTreeSet<&str> = actors.values().map(|(node, _, _)| node.as_str()).collect();
    same(homes, on.iter().copied().collect())?;
    works(api)
}

/// Whether every actor runs, wherever that is.
pub fn works(api: &Machine) -> Result<(), String> {
    let actors = Quorum::of(api)?.actors();
    match actors.iter().find(|(_, (_, _, state))| state != "running") {
        Some(idle) => Err(format!("{idle:?}")),
        None if actors.len() < 10 => Err(format!("only {actors:?}")),
        None => Ok(()),
    }
}

pub fn deployment(name: &str, replicas: u32) -> String {
    format!(
        "apiVersion: apps/v1\nkind: Deployment\nmetadata: {{ name: {name} }}\nspec:\n  replicas: {replicas}\n  \
         selector: {{ matchLabels: {{ app: {name} }} }}\n  template:\n    metadata: {{ labels: {{ app: {name} }} }}\n    \
         spec:\n      containers: [{{ name: main, image: shoal.local/toolbox:v1 }}]\n"
    )
}

pub fn available(api: &Machine, name: &str, replicas: u32) -> Result<(), String> {
    let found = api.try_kubectl(&["get", "deployment", name, "-o=jsonpath={.status.availableReplicas}"])?;
    same(found, replicas.to_string())
}

#[test]
fn any_of_three_voters_may_die_and_come_back() {
    let segment = Segment::new();
    let mut machines = vec![Machine::found(&segment, "a", "hollow")];
    let token = machines[0].token(&[]);
    for name in ["b", "c"] {
        let joined = Machine::joined(&segment, name, "hollow", &machines[0], &token);
        machines.push(joined);
    }
    for machine in &machines {
        wait_until("all three vote", PATIENCE, || voters(machine, &["a", "b", "c"]));
    }
    wait_until("the actors are spread", PATIENCE, || at_work(&machines[1], &["a", "b", "c"]));
    let mut written = Vec::new();
    for round in 0..3 {
        // Whoever leads dies first.
        let leader = wait_until("somebody leads", PATIENCE, || {
            Quorum::of(&machines[round])?.leader().ok_or_else(|| "nobody".into())
        });
        let victim = machines.iter().position(|one| one.name == leader).expect("a member");
        let others: Vec<usize> = (0..3).filter(|one| *one != victim).collect();
        let alive: Vec<String> = others.iter().map(|one| machines[*one].name.clone()).collect();
        let alive: Vec<&str> = alive.iter().map(String::as_str).collect();
        machines[victim].kill_9();
        let died = Instant::now();
        let name = format!("written-{round}");
        wait_until("a write goes on", PATIENCE, || {
            machines[others[0]].try_kubectl(&["create", "configmap", &name, "--from-literal=x=y"]).map(drop).or_else(
                // An answer may have been lost with the leader.
                |error| if error.contains("AlreadyExists") { Ok(()) } else { Err(error) },
            )
        });
        println!("leader {leader} died; a write after {:?}", died.elapsed());
        written.push(name);
        wait_until("its actors work elsewhere", AT_WORK_AGAIN, || at_work(&machines[others[1]], &alive));
        println!("control actors at work again after {:?}", died.elapsed());
        let web = format!("web-{round}");
        machines[others[0]].apply(&deployment(&web, 3));
        wait_until("a deployment converges", PATIENCE, || available(&machines[others[1]], &web, 3));
        machines[victim].up(&[]);
        machines[victim].wait_ready();
        wait_until("it votes again", PATIENCE, || voters(&machines[victim], &["a", "b", "c"]));
        // Until it has heard of the leader it answers from what it had.
        for name in &written {
            let back = &machines[victim];
            wait_until("it has what was written", PATIENCE, || back.try_kubectl(&["get", "configmap", name]));
        }
    }
    let epochs: Vec<u64> =
        Quorum::of(&machines[0]).expect("an answer").actors().values().map(|(_, epoch, _)| *epoch).collect();
    assert!(epochs.iter().any(|epoch| *epoch > 1), "{epochs:?}");
}

#[test]
fn a_dead_voter_is_replaced_and_a_leader_may_leave() {
    let segment = Segment::new();
    let mut a = Machine::found(&segment, "a", "hollow");
    let token = a.token(&[]);
    let [b, mut c, d] = ["b", "c", "d"].map(|name| Machine::joined(&segment, name, "hollow", &a, &token));
    wait_until("three vote", PATIENCE, || voters(&a, &["a", "b", "c"]));
    c.kill_9();
    wait_until("the fourth votes instead", PATIENCE, || voters(&d, &["a", "b", "d"]));

    let moved = b.shoal(&["control", "move", "default-scheduler", "d"]);
    assert!(moved.contains("default-scheduler runs on d"), "{moved}");
    wait_until("the scheduler is on d", PATIENCE, || {
        let actors = Quorum::of(&b)?.actors();
        let scheduler = actors.get("default-scheduler").ok_or("no scheduler")?;
        same(scheduler.0.as_str(), "d")
    });
    let refused = b.try_shoal(&["control", "move", "default-scheduler", "c"]).expect_err("c does not vote");
    assert!(refused.contains("no voter"), "{refused}");

    b.apply(&deployment("web", 2));
    wait_until("it converges", PATIENCE, || available(&b, "web", 2));
    let leader = Quorum::of(&b).expect("an answer").leader().expect("a leader");
    assert_eq!(leader, "a");
    a.leave().unwrap_or_else(|error| panic!("shoal leave: {error}\n{}", a.log()));
    assert!(a.wait_end(PATIENCE).success(), "{}", a.log());
    wait_until("the others vote without it", PATIENCE / 3, || {
        if d.voters()?.contains("a") { Err(d.quorum()?.to_string()) } else { Ok(()) }
    });
    // The authority's key went with the vote: a newcomer is still let in.
    let token = b.token(&[]);
    let e = Machine::joined(&segment, "e", "hollow", &b, &token);
    wait_until("e is a member", PATIENCE, || e.sees_ready("e", true));
    sleep(Duration::from_millis(500));
    e.kubectl(&["get", "deployment", "web"]);
}
