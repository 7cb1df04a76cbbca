//! An identity in its directory. A founder makes the cluster's authority and signs for itself; a joined node keeps what
//! the cluster gave it.
//!
//! | file | founder | joined |
//! | --- | --- | --- |
//! | `ca.crt`, `ca.key` | the authority that signs | while it votes |
//! | `ca-next.crt`, `ca-next.key` | its successor, while it is introduced | while it votes |
//! | `authorities.crt` | every authority that is trusted, the one that signs first | the same |
//! | `node.pem` | the node's certificate, its authority's, the key: one file, replaced at once | the same |
//! | `admin.crt`, `admin.key` | the administrator's | where the cluster gave one |
//!
//! All are mode 0600, checked before they are read.

mod entrust;

use std::path::{Path, PathBuf};

pub use entrust::{Held, Keys};

use super::issue::{Authority, Leaf};
use super::stored::{self, AUTHORITIES, NODE};
use super::{
    ADMINS_GROUP, Bundle, Certificate, Credential, Error, Fingerprint, Lifetimes, SignError, Subject, files, inspect,
};
use crate::model::{NodeId, Timestamp};

/// What earlier releases kept: apart for server and client, key and certificate.
const BEFORE: [&str; 4] = ["server.crt", "server.key", "node.crt", "node.key"];

/// What a cluster gives to a node that joins.
#[derive(Clone)]
pub struct Adoption {
    /// The node's certificate with its authority's, and the key that the node made.
    pub node: Credential,
    /// Every trusted authority, the one that signs first.
    pub bundle: Bundle,
    /// The administrator's certificate, where the node may write a kubeconfig.
    pub admin: Option<Credential>,
}

/// Who this node is, as kept on disk. Methods that take `&mut self` write before they answer.
#[derive(Clone)]
pub struct Identity {
    directory: PathBuf,
    name: NodeId,
    bundle: Bundle,
    authority: Option<Authority>,
    successor: Option<Authority>,
    node: Credential,
    admin: Option<Credential>,
}

impl Identity {
    /// Reads the founder's identity in `dir` (made where missing, mode 0700); makes what is missing, about to end or
    /// no longer as `subject` says. A directory of an earlier release becomes one of this.
    ///
    /// # Errors
    /// Where files are readable by others, the authority is damaged, the node has joined a cluster, or the file system
    /// refuses.
    pub fn found(dir: &Path, subject: &Subject, lifetimes: &Lifetimes, now: Timestamp) -> Result<Self, Error> {
        files::private_dir(dir)?;
        stored::finish_dismissal(dir)?;
        if !stored::has_authority(dir) && dir.join(NODE).exists() {
            return Err(Error::Taken { directory: dir.to_path_buf(), there: "has joined a cluster" });
        }
        stored::finish_switch(dir)?;
        let authority = stored::load_authority(dir, now)?;
        let successor = stored::load_successor(dir, now)?;
        let bundle = stored::load_bundle(dir, &authority, successor.as_ref())?.current(now);
        let name = NodeId(subject.node.as_str().into());
        let identity = Self {
            node: stored::load_node(dir, subject, &authority, lifetimes, now)?,
            admin: Some(stored::load_admin(dir, &authority, &name, lifetimes, now)?),
            directory: dir.to_path_buf(),
            name,
            bundle,
            authority: Some(authority),
            successor,
        };
        identity.write_bundle()?;
        files::remove(dir, &BEFORE)?;
        Ok(identity)
    }

    /// Keeps in `dir` what a cluster has given to the node `name`, in place of an earlier membership.
    ///
    /// # Errors
    /// Where the directory is a founder's, the parts do not fit together, or the file system refuses.
    pub fn adopt(dir: &Path, name: &NodeId, adoption: Adoption) -> Result<Self, Error> {
        files::private_dir(dir)?;
        if stored::has_authority(dir) {
            return Err(Error::Taken { directory: dir.to_path_buf(), there: "has founded a cluster" });
        }
        let Adoption { node, bundle, admin } = adoption;
        stored::check_node(&node, name, &bundle).map_err(Error::Credential)?;
        let identity = Self {
            directory: dir.to_path_buf(),
            name: name.clone(),
            bundle,
            authority: None,
            successor: None,
            node,
            admin,
        };
        identity.write_bundle()?;
        match &identity.admin {
            Some(admin) => stored::store(dir, "admin", admin)?,
            None => files::remove(dir, &["admin.crt", "admin.key"])?, // of an earlier membership
        }
        identity.write_node()?; // last: with it the node has joined
        files::remove(dir, &BEFORE)?;
        Ok(identity)
    }

    /// Reads what is in `dir`: `None` where the node has neither founded nor joined. A joined node's certificate may
    /// have ended while it was down: see [`Identity::certificate`].
    ///
    /// # Errors
    /// As [`Identity::found`], or where a joined node's files are damaged.
    pub fn load(dir: &Path, subject: &Subject, lifetimes: &Lifetimes, now: Timestamp) -> Result<Option<Self>, Error> {
        stored::finish_dismissal(dir)?;
        if stored::has_authority(dir) {
            return Self::found(dir, subject, lifetimes, now).map(Some);
        }
        if !dir.join(NODE).exists() {
            return Ok(None);
        }
        files::private_dir(dir)?;
        let damaged =
            |file: &str, reason: String| Error::Joined { path: dir.join(file), directory: dir.to_path_buf(), reason };
        let text = files::read(&dir.join(AUTHORITIES))?.ok_or_else(|| damaged(AUTHORITIES, "it is missing".into()))?;
        let bundle = Bundle::from_pem(&text).map_err(|error| damaged(AUTHORITIES, error.to_string()))?;
        let node = stored::read_node(dir)?.ok_or_else(|| damaged(NODE, "it is missing".into()))?;
        let name = NodeId(subject.node.as_str().into());
        stored::check_node(&node, &name, &bundle).map_err(|reason| damaged(NODE, reason))?;
        let admin = stored::read_pair(dir, "admin")?.filter(stored::is_whole);
        let directory = dir.to_path_buf();
        Ok(Some(Self { directory, name, bundle, authority: None, successor: None, node, admin }))
    }

    /// The directory that it is in.
    pub fn directory(&self) -> &Path {
        &self.directory
    }

    /// The node.
    pub fn name(&self) -> &NodeId {
        &self.name
    }

    /// The trusted authorities, the one that signs first: what clients must trust.
    pub fn bundle(&self) -> &Bundle {
        &self.bundle
    }

    /// The authority with its key; `None` on a joined node.
    pub fn authority(&self) -> Option<&Authority> {
        self.authority.as_ref()
    }

    /// The authority's successor with its key, while it is introduced.
    pub fn successor(&self) -> Option<&Authority> {
        self.successor.as_ref()
    }

    /// The node's own: `system:node:<name>` of `system:nodes`, for both ends of a connection.
    pub fn node(&self) -> &Credential {
        &self.node
    }

    /// What the node's certificate says.
    ///
    /// # Errors
    /// Never for one that was loaded; the type says so because it is read again.
    pub fn certificate(&self) -> Result<Certificate, Error> {
        inspect::first_certificate(&self.node.certificate_pem).map_err(Error::Credential)
    }

    /// The administrator's (`kubernetes-admin` of `system:masters`); a joined node may have none.
    pub fn admin(&self) -> Option<&Credential> {
        self.admin.as_ref()
    }

    /// Why the node's certificate must be made anew now: it ends soon, its authority no longer signs, or `subject`
    /// says something else. `None` where it will do.
    pub fn stale(&self, subject: &Subject, lifetimes: &Lifetimes, now: Timestamp) -> Option<String> {
        let signing = self.bundle.authorities().first()?.pem();
        stored::will_do(&self.node, &Leaf::node(subject), signing, lifetimes, now).err()
    }

    /// Makes the founder's own certificate anew.
    pub fn reissue(&mut self, subject: &Subject, lifetimes: &Lifetimes, now: Timestamp) -> Result<(), Error> {
        let authority = self.authority.as_ref().ok_or(Error::NoAuthority)?;
        self.renew(authority.issue_node(subject, lifetimes.node, now)?)
    }

    /// Keeps a new certificate of the node.
    pub fn renew(&mut self, node: Credential) -> Result<(), Error> {
        stored::check_node(&node, &self.name, &self.bundle).map_err(Error::Credential)?;
        stored::write_node(&self.directory, &node)?;
        self.node = node;
        Ok(())
    }

    /// Keeps a new certificate of the administrator.
    pub fn keep_admin(&mut self, admin: Credential) -> Result<(), Error> {
        stored::store(&self.directory, "admin", &admin)?;
        self.admin = Some(admin);
        Ok(())
    }

    /// Keeps another bundle. A founder's must have its authority in front: which one signs is decided by the founder's
    /// files, and what is published follows.
    pub fn trust(&mut self, bundle: Bundle) -> Result<(), Error> {
        if self.authority.as_ref().is_some_and(|authority| bundle.signing() != authority.fingerprint()) {
            return Err(Error::Credential("the bundle does not begin with this node's authority".into()));
        }
        files::write_private(&self.directory.join(AUTHORITIES), bundle.pem().as_bytes())?;
        self.bundle = bundle;
        Ok(())
    }

    /// Makes the authority's successor and trusts it; it does not sign yet. One that is there already stays.
    pub fn generate_successor(&mut self, now: Timestamp) -> Result<&Authority, Error> {
        if self.authority.is_none() {
            return Err(Error::NoAuthority);
        }
        let made = match &self.successor {
            Some(there) => there.clone(),
            None => Authority::generate(now)?,
        };
        stored::store(&self.directory, "ca-next", made.credential())?;
        self.trust(self.bundle.with_trusted(made.certificate_pem())?)?;
        Ok(self.successor.insert(made))
    }

    /// The successor signs from now on, the old authority's key is gone, its certificate stays trusted. The node's and
    /// the administrator's certificates are made anew. A switch that is interrupted is finished at the next start.
    pub fn switch(&mut self, subject: &Subject, lifetimes: &Lifetimes, now: Timestamp) -> Result<(), Error> {
        let new = self.successor.clone().ok_or(Error::NoSuccessor)?;
        let bundle = self.bundle.with_signing(new.certificate_pem())?;
        files::rename(&self.directory, "ca-next.key", "ca.key")?;
        files::rename(&self.directory, "ca-next.crt", "ca.crt")?;
        (self.authority, self.successor) = (Some(new), None);
        self.trust(bundle)?;
        self.reissue(subject, lifetimes, now)?;
        let authority = self.authority.as_ref().ok_or(Error::NoAuthority)?;
        let user = stored::admin_user(&self.directory, &self.name)?;
        let admin = authority.issue_client(&user, ADMINS_GROUP, lifetimes.admin, now)?;
        self.keep_admin(admin)
    }

    fn write_bundle(&self) -> Result<(), Error> {
        let (path, text) = (self.directory.join(AUTHORITIES), self.bundle.pem());
        if files::read(&path)?.as_ref() == Some(&text) {
            return Ok(());
        }
        files::write_private(&path, text.as_bytes())
    }

    fn write_node(&self) -> Result<(), Error> {
        stored::write_node(&self.directory, &self.node)
    }
}

impl From<SignError> for Error {
    fn from(error: SignError) -> Self {
        Self::Credential(error.to_string())
    }
}
