//! Kubeconfig files: the authority and a client's certificate, embedded.

use std::path::Path;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde_json::json;

use super::{Credential, Error, Identity, files};

/// Name of the cluster, and of the context that is current, in the files that are written.
pub const CONTEXT: &str = "shoal";

impl Identity {
    /// A kubeconfig that reaches `server` (a URL) as the holder of `credential`.
    pub fn kubeconfig(&self, server: &str, user: &str, credential: &Credential) -> String {
        let encode = |text: &str| STANDARD.encode(text);
        let document = json!({
            "apiVersion": "v1",
            "kind": "Config",
            "clusters": [{"name": CONTEXT, "cluster": {
                "server": server,
                "certificate-authority-data": encode(self.authority_pem()),
            }}],
            "users": [{"name": user, "user": {
                "client-certificate-data": encode(&credential.certificate_pem),
                "client-key-data": encode(&credential.key_pem),
            }}],
            "contexts": [{"name": CONTEXT, "context": {"cluster": CONTEXT, "user": user}}],
            "current-context": CONTEXT,
            "preferences": {},
        });
        serde_saphyr::to_string(&document).unwrap_or_else(|_| document.to_string())
    }

    /// Writes the administrator's kubeconfig (mode 0600), where it does not say this already.
    ///
    /// # Errors
    /// Where the file system refuses.
    pub fn write_admin_kubeconfig(&self, path: &Path, server: &str) -> Result<(), Error> {
        let text = self.kubeconfig(server, "kubernetes-admin", &self.admin);
        if std::fs::read_to_string(path).is_ok_and(|found| found == text) && files::read(path).is_ok() {
            return Ok(());
        }
        files::write_private(path, text.as_bytes())
    }
}
