//! Our three members, each a process of its own.

use std::io::{BufRead, BufReader, Write};
use std::net::{SocketAddr, UdpSocket};
use std::path::Path;
use std::process::{Child, ChildStdin, ChildStdout, Stdio};
use std::time::{Duration, Instant};

use super::figures::processor_of;
use super::protocol::{Answer, Command, Gap, MEMBER, Samples, Settings};
use crate::Failure;
use crate::paper::Authority;

/// Bound on a leader's turning up.
const LEADER_WITHIN: Duration = Duration::from_secs(20);

/// A member's process and the way to it.
pub struct Member {
    pub settings: Settings,
    process: Child,
    input: ChildStdin,
    output: BufReader<ChildStdout>,
}

impl Member {
    /// Starts it; returns once its store is open.
    pub fn start(settings: Settings) -> Result<Self, Failure> {
        let mut process = std::process::Command::new(std::env::current_exe()?)
            .env(MEMBER, serde_json::to_string(&settings)?)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()?;
        let (input, output) = (process.stdin.take().ok_or("no input")?, process.stdout.take().ok_or("no output")?);
        let mut member = Self { settings, process, input, output: BufReader::new(output) };
        member.answer()?;
        Ok(member)
    }

    pub fn tell(&mut self, command: &Command) -> Result<(), Failure> {
        Ok(writeln!(self.input, "{}", serde_json::to_string(command)?)?)
    }

    pub fn answer(&mut self) -> Result<Answer, Failure> {
        let mut line = String::new();
        self.output.read_line(&mut line)?;
        match serde_json::from_str(&line) {
            Ok(Answer::Failed(why)) => Err(format!("{}: {why}", self.settings.name).into()),
            Ok(answer) => Ok(answer),
            Err(error) => Err(format!("{} ended: {error}", self.settings.name).into()),
        }
    }

    pub fn ask(&mut self, command: &Command) -> Result<Answer, Failure> {
        self.tell(command)?;
        self.answer()
    }

    pub fn samples(&mut self, command: &Command) -> Result<Samples, Failure> {
        match self.ask(command)? {
            Answer::Samples(samples) => Ok(samples),
            other => Err(format!("no samples: {other:?}").into()),
        }
    }

    pub fn gap(&mut self) -> Result<Gap, Failure> {
        match self.answer()? {
            Answer::Gap(gap) => Ok(gap),
            other => Err(format!("no gap: {other:?}").into()),
        }
    }

    pub fn pid(&self) -> u32 {
        self.process.id()
    }

    /// `kill -9`.
    pub fn kill(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

impl Drop for Member {
    fn drop(&mut self) {
        self.kill();
    }
}

/// Three voters.
pub struct Shoal {
    pub members: Vec<Member>,
}

impl Shoal {
    pub fn start(dir: &Path, authority: &Authority) -> Result<Self, Failure> {
        let papers = dir.join("papers");
        let at = ports(3)?;
        let named = |n: usize| format!("n{}", n + 1);
        let mut members = Vec::new();
        for (n, own) in at.iter().enumerate() {
            authority.node(&named(n)).write(&papers, &named(n))?;
            let others = at.iter().enumerate().filter(|(other, _)| *other != n);
            members.push(Member::start(Settings {
                name: named(n),
                raft_id: n as u64 + 1,
                dir: dir.join(named(n)),
                papers: papers.clone(),
                at: *own,
                peers: others.map(|(other, at)| (named(other), *at)).collect(),
            })?);
        }
        let mut shoal = Self { members };
        for n in 1..3 {
            shoal.members[0].ask(&Command::Add { raft_id: n as u64 + 1, node: named(n) })?;
            shoal.members[n].ask(&Command::CatchUp)?;
        }
        Ok(shoal)
    }

    /// Which of them leads.
    pub fn leader(&mut self) -> Result<usize, Failure> {
        let until = Instant::now() + LEADER_WITHIN;
        while Instant::now() < until {
            for (n, member) in self.members.iter_mut().enumerate() {
                if matches!(member.ask(&Command::Leads)?, Answer::Leads(true)) {
                    return Ok(n);
                }
            }
            std::thread::sleep(Duration::from_millis(20));
        }
        Err("nobody leads".into())
    }

    /// Processor time of all.
    pub fn processor(&self) -> Duration {
        self.members.iter().map(|member| processor_of(member.pid())).sum()
    }

    /// Starts a killed member again; returns once it has caught up.
    pub fn restart(&mut self, n: usize) -> Result<(), Failure> {
        let settings = self.members[n].settings.clone();
        self.members[n] = Member::start(settings)?;
        self.members[n].ask(&Command::CatchUp).map(drop)
    }
}

/// Free ports of the loopback interface, as far as one can know.
pub fn ports(number: usize) -> Result<Vec<SocketAddr>, Failure> {
    let sockets = (0..number).map(|_| UdpSocket::bind("127.0.0.1:0")).collect::<Result<Vec<_>, _>>()?;
    Ok(sockets.iter().map(UdpSocket::local_addr).collect::<Result<_, _>>()?)
}
