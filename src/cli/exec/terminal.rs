//! The terminal in front of a person: raw mode and size.

use std::io::{IsTerminal, stdin};
use std::mem::MaybeUninit;

use nix::libc;
use nix::sys::termios::{SetArg, Termios, cfmakeraw, tcgetattr, tcsetattr};

use crate::cli::failure::Failure;

/// Whether standard input is a terminal.
pub fn is_one() -> bool {
    stdin().is_terminal()
}

/// Raw mode; the terminal is as before when this is dropped.
pub struct Raw(Termios);

impl Raw {
    /// Hands every key to the program.
    ///
    /// # Errors
    /// Where the terminal refuses.
    pub fn enter() -> Result<Self, Failure> {
        let before = tcgetattr(stdin())?;
        let mut raw = before.clone();
        cfmakeraw(&mut raw);
        tcsetattr(stdin(), SetArg::TCSANOW, &raw)?;
        Ok(Self(before))
    }
}

impl Drop for Raw {
    fn drop(&mut self) {
        let _ = tcsetattr(stdin(), SetArg::TCSADRAIN, &self.0);
    }
}

/// Columns and rows.
pub fn size() -> Option<(u16, u16)> {
    let mut size = MaybeUninit::<libc::winsize>::zeroed();
    // SAFETY: the call fills a `winsize`, which this is; all its values are valid numbers.
    let answer = unsafe { libc::ioctl(libc::STDIN_FILENO, libc::TIOCGWINSZ, size.as_mut_ptr()) };
    if answer != 0 {
        return None;
    }
    // SAFETY: zeroed, and filled in by the call.
    let size = unsafe { size.assume_init() };
    Some((size.ws_col, size.ws_row))
}
