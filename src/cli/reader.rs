//! Whoever reads what a command prints may go away: `shoal get pods | head` ends as other programs do, not with a panic.
//!
//! The signal that tells of it also comes from sockets, for vectored writes do not suppress it there: a node that dies
//! must be told as an error, not end the command. So the signal's handler looks who is gone.

use std::os::fd::BorrowedFd;

use nix::errno::Errno;
use nix::libc::c_int;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::signal::{SigHandler, Signal, raise, signal};

/// What a command prints to.
const OUTPUTS: [c_int; 2] = [1, 2];

/// From now on the process ends quietly when it writes to an output that nobody reads any more.
pub fn end_quietly_without() {
    // SAFETY: the handler only makes system calls that may be made in one.
    let _ = unsafe { signal(Signal::SIGPIPE, SigHandler::Handler(on_broken_pipe)) };
}

extern "C" fn on_broken_pipe(_: c_int) {
    let before = Errno::last();
    // SAFETY: whether they are open is what is asked; a number of a closed file is answered, too.
    let outputs = OUTPUTS.map(|number| unsafe { BorrowedFd::borrow_raw(number) });
    if outputs.into_iter().any(is_unread) {
        // SAFETY: the default handler runs no code of this process. It runs once this one has returned.
        let _ = unsafe { signal(Signal::SIGPIPE, SigHandler::SigDfl) };
        let _ = raise(Signal::SIGPIPE);
    }
    before.set();
}

/// Whether nobody can read what is written there.
fn is_unread(output: BorrowedFd<'_>) -> bool {
    let mut asked = [PollFd::new(output, PollFlags::empty())];
    let gone = PollFlags::POLLERR | PollFlags::POLLHUP;
    poll(&mut asked, PollTimeout::ZERO).is_ok()
        && asked.iter().any(|answer| answer.revents().is_some_and(|events| events.intersects(gone)))
}

#[cfg(test)]
mod tests {
    use std::io::Write as _;
    use std::os::fd::AsFd as _;
    use std::os::unix::net::UnixStream;

    use super::*;

    #[test]
    fn a_pipe_is_unread_once_its_reader_is_gone_and_a_file_never_is() {
        let (reader, writer) = std::io::pipe().unwrap();
        assert!(!is_unread(writer.as_fd()));
        drop(reader);
        assert!(is_unread(writer.as_fd()));
        assert!(!is_unread(tempfile::tempfile().unwrap().as_fd()));
    }

    #[test]
    fn a_socket_whose_peer_is_gone_is_an_error_and_not_the_end() {
        end_quietly_without();
        let (mut here, there) = UnixStream::pair().unwrap();
        drop(there);
        // Only vectored writes raise the signal.
        let error = here.write_vectored(&[std::io::IoSlice::new(b"a")]).unwrap_err();
        assert_eq!(error.kind(), std::io::ErrorKind::BrokenPipe);
    }
}
