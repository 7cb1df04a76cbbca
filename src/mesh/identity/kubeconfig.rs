//! Kubeconfig files: the authorities and a client's certificate, embedded.

use std::path::Path;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde_json::json;

use super::{ADMIN, Credential, Error, Identity, files};

/// Name of the cluster, and of the context that is current, in the files that are written.
pub const CONTEXT: &str = "shoal";

impl Identity {
    /// A kubeconfig that reaches `server` (a URL) as the holder of `credential`; it trusts the whole bundle.
    pub fn kubeconfig(&self, server: &str, user: &str, credential: &Credential) -> String {
        let encode = |text: &str| STANDARD.encode(text);
        let document = json!({
            "apiVersion": "v1",
            "kind": "Config",
            "clusters": [{"name": CONTEXT, "cluster": {
                "server": server,
                "certificate-authority-data": encode(&self.bundle().pem()),
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

    /// Writes the administrator's kubeconfig (mode 0600), where it does not say this already. Says whether there is an
    /// administrator's certificate to write it with; a joined node may have none.
    ///
    /// # Errors
    /// Where the file system refuses.
    pub fn write_admin_kubeconfig(&self, path: &Path, server: &str) -> Result<bool, Error> {
        let Some(admin) = self.admin() else { return Ok(false) };
        let text = self.kubeconfig(server, ADMIN, admin);
        if std::fs::read_to_string(path).is_ok_and(|found| found == text) && files::read(path).is_ok() {
            return Ok(true);
        }
        files::write_private(path, text.as_bytes()).map(|()| true)
    }
}
