//! How much memory is held: an allocator that counts, where it is told to.

use std::alloc::{GlobalAlloc, Layout};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering::Relaxed};

use mimalloc::MiMalloc;

static COUNTING: AtomicBool = AtomicBool::new(false);
static HELD: AtomicUsize = AtomicUsize::new(0);

/// The node's allocator.
pub struct Counted;

/// Begins or ends counting; while it does not count it costs nothing worth measuring.
pub fn count(on: bool) {
    COUNTING.store(on, Relaxed);
}

/// Bytes that were asked for and are not given back. Only differences mean something.
pub fn held() -> usize {
    HELD.load(Relaxed)
}

fn change(more: usize, less: usize) {
    if COUNTING.load(Relaxed) {
        HELD.fetch_add(more.wrapping_sub(less), Relaxed);
    }
}

// SAFETY: all of it is the other allocator's work.
unsafe impl GlobalAlloc for Counted {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        change(layout.size(), 0);
        unsafe { MiMalloc.alloc(layout) }
    }

    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        change(0, layout.size());
        unsafe { MiMalloc.dealloc(pointer, layout) }
    }

    unsafe fn alloc_zeroed(&self, layout: Layout) -> *mut u8 {
        change(layout.size(), 0);
        unsafe { MiMalloc.alloc_zeroed(layout) }
    }

    unsafe fn realloc(&self, pointer: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        change(size, layout.size());
        unsafe { MiMalloc.realloc(pointer, layout, size) }
    }
}
