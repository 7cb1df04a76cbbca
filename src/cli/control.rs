//! A socket of the running node for what is no business of the API: its images, its leaving. One request and one answer a
//! connection, a line of JSON each.

use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use async_trait::async_trait;
use serde::{Deserialize, Serialize};
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::{UnixListener, UnixStream};

use super::failure::Failure;
use crate::runtime::{ContainerRuntime, Image};

/// Bytes of a request.
const MAX_REQUEST_BYTES: u64 = 64 * 1024;
/// How long a client may take to send its request.
const PATIENCE: Duration = Duration::from_secs(5);

/// The node behind the socket.
#[async_trait]
pub trait Door: Sync {
    /// Its containers and images.
    fn runtime(&self) -> &dyn ContainerRuntime;

    /// Takes the node out of its cluster; once done, the process is to end.
    async fn leave(&self) -> Result<(), String>;
}

/// What may be asked.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Request {
    /// All images.
    Images,
    /// Takes the images of an archive, by its path on this machine.
    Import(PathBuf),
    /// Removes an image.
    Remove(String),
    /// Leaves the cluster, for good, and ends the process.
    Leave,
}

/// An image, as it is listed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Listed {
    /// Names and tags.
    pub names: Vec<String>,
    /// Digest of its configuration.
    pub id: String,
    /// Bytes of its layers.
    pub size_bytes: u64,
}

type Answer = Result<Vec<Listed>, String>;

impl From<Image> for Listed {
    fn from(image: Image) -> Self {
        let names = if image.references.is_empty() { image.digests } else { image.references };
        Self { names, id: image.id, size_bytes: image.size_bytes }
    }
}

/// The socket of the node with this directory.
pub fn path(run: &Path) -> PathBuf {
    run.join("control.sock")
}

/// Makes the socket, for this user only.
///
/// # Errors
/// Where the file system refuses.
pub fn bind(run: &Path) -> std::io::Result<UnixListener> {
    std::fs::create_dir_all(run)?;
    let path = path(run);
    let _ = std::fs::remove_file(&path);
    let listener = UnixListener::bind(&path)?;
    std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o600))?;
    Ok(listener)
}

/// Answers one request after the other, until the node has left its cluster.
pub async fn serve(listener: &UnixListener, node: &dyn Door) {
    let mut left = false;
    while !left {
        if let Ok((stream, _)) = listener.accept().await
            && let Err(error) = answer(stream, node, &mut left).await
        {
            tracing::debug!(%error, "a client of the control socket went away");
        }
    }
}

async fn answer(stream: UnixStream, node: &dyn Door, left: &mut bool) -> std::io::Result<()> {
    let (read, mut write) = stream.into_split();
    let mut line = String::new();
    let mut reader = BufReader::new(read.take(MAX_REQUEST_BYTES));
    tokio::time::timeout(PATIENCE, reader.read_line(&mut line)).await??;
    let answer: Answer = match serde_json::from_str(&line) {
        Ok(Request::Leave) => {
            let outcome = node.leave().await;
            *left = outcome.is_ok();
            outcome.map(|()| Vec::new())
        }
        Ok(request) => perform(request, node.runtime()).await,
        Err(error) => Err(error.to_string()),
    };
    write.write_all(&serde_json::to_vec(&answer)?).await?;
    write.shutdown().await
}

async fn perform(request: Request, runtime: &dyn ContainerRuntime) -> Answer {
    let outcome = match request {
        Request::Images => runtime.images().await,
        Request::Import(archive) => runtime.import(&archive).await,
        Request::Remove(name) => runtime.remove_image(&name).await.map(|()| Vec::new()),
        Request::Leave => return Err("a node does not leave through its runtime".into()),
    };
    outcome.map(|images| images.into_iter().map(Listed::from).collect()).map_err(|error| error.to_string())
}

/// Asks the running node.
///
/// # Errors
/// Where no node runs, or it refuses.
pub async fn ask(run: &Path, request: &Request) -> Result<Vec<Listed>, Failure> {
    let path = path(run);
    let mut stream = UnixStream::connect(&path).await.map_err(|error| {
        let advice = "the node must be up for this (`sudo shoal up`), and you must be root or its user";
        Failure::new(format!("cannot reach the node at {}: {error}; {advice}", path.display()))
    })?;
    let mut line = serde_json::to_vec(request)?;
    line.push(b'\n');
    stream.write_all(&line).await?;
    let mut text = Vec::new();
    stream.read_to_end(&mut text).await?;
    serde_json::from_slice::<Answer>(&text)?.map_err(Failure::new)
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use parking_lot::Mutex;

    use super::*;
    use crate::runtime::hollow::{Hollow, Machine, MachineOptions};
    use crate::world::World;

    struct Node(Arc<dyn ContainerRuntime>, Mutex<Vec<Result<(), String>>>);

    #[async_trait]
    impl Door for Node {
        fn runtime(&self) -> &dyn ContainerRuntime {
            &*self.0
        }

        async fn leave(&self) -> Result<(), String> {
            self.1.lock().pop().unwrap()
        }
    }

    fn node(leaving: Vec<Result<(), String>>) -> Node {
        let world = World {
            clock: Arc::new(crate::world::clock::SystemClock),
            entropy: Arc::new(crate::world::entropy::SeededEntropy::new(1)),
            disk: Arc::new(crate::world::disk::real::RealDisk),
        };
        Node(Hollow::new(Machine::new(MachineOptions::default(), world)), Mutex::new(leaving))
    }

    #[tokio::test]
    async fn a_refusal_to_let_go_is_told_and_leaving_ends_the_service() {
        let dir = tempfile::tempdir().unwrap();
        let listener = bind(dir.path()).unwrap();
        let node = node(vec![Ok(()), Err("the only voter".into())]);
        let asking = async {
            let refusal = ask(dir.path(), &Request::Leave).await.unwrap_err();
            assert_eq!(refusal.message(), "the only voter");
            ask(dir.path(), &Request::Images).await.unwrap();
            assert_eq!(ask(dir.path(), &Request::Leave).await.unwrap(), []);
        };
        tokio::join!(serve(&listener, &node), asking);
    }

    #[tokio::test]
    async fn images_are_listed_and_refusals_are_told() {
        let dir = tempfile::tempdir().unwrap();
        let listener = bind(dir.path()).unwrap();
        let node = node(Vec::new());
        tokio::spawn(async move { serve(&listener, &node).await });
        let images = ask(dir.path(), &Request::Images).await.unwrap();
        assert!(
            images.iter().any(|image| image.names.contains(&"shoal.local/toolbox:latest".to_string())),
            "{images:?}"
        );
        let mut garbage = UnixStream::connect(path(dir.path())).await.unwrap();
        garbage.write_all(b"nonsense\n").await.unwrap();
        let mut text = String::new();
        garbage.read_to_string(&mut text).await.unwrap();
        assert!(text.starts_with("{\"Err\":"), "{text}");
    }
}
