//! Kernel settings of the calling thread's network namespace.

use std::path::Path;

use crate::runtime::Error;

/// Gives a setting (`net/ipv4/ip_forward`) a value, where it does not have it.
///
/// # Errors
/// Where there is no such setting or the kernel refuses.
pub fn set(name: &str, value: &str) -> Result<(), Error> {
    let path = Path::new("/proc/sys").join(name);
    if std::fs::read_to_string(&path).is_ok_and(|text| text.trim() == value) {
        return Ok(());
    }
    std::fs::write(&path, value)
        .map_err(|error| Error::System(format!("cannot set {}={value}: {error}", name.replace('/', "."))))
}
