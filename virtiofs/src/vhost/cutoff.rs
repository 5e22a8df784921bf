// SPDX-License-Identifier: Apache-2.0 OR MIT
//! Guest memory that is cut off below us.
//!
//! Whoever gave us a file as guest memory can make it shorter. Touching what is gone then is SIGBUS,
//! which would end the process, and with it the shares of everybody else. So the handler puts zeros
//! there, to the end of the region: nothing behind that address is left. The rings in it then say
//! nonsense, for which their device is stopped as for any other.
#![allow(unsafe_code)]

use std::io;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, TryLockError, Weak};

use vm_memory::{GuestMemoryRegion, GuestRegionMmap};

/// A region as long as it is mapped. Nobody touches guest memory without holding it, so at a fault
/// in a region its weak reference is alive; where one is not, the addresses may be anything's.
struct Watched {
    start: usize,
    end: usize,
    /// The size of its pages.
    page: usize,
    region: Weak<GuestRegionMmap>,
}

static WATCHED: Mutex<Vec<Watched>> = Mutex::new(Vec::new());

/// Lets this process outlive that a VMM cuts off the memory of its guest, by a handler of SIGBUS for
/// the whole process. Any other SIGBUS ends it, as ever.
///
/// # Errors
/// If the handler cannot be installed.
pub fn outlive_cut_off_memory() -> io::Result<()> {
    // SAFETY: all zeros is a valid `sigaction`, to be filled in.
    let mut action: libc::sigaction = unsafe { std::mem::zeroed() };
    action.sa_sigaction = on_bus_error as *const () as libc::sighandler_t;
    action.sa_flags = libc::SA_SIGINFO | libc::SA_ONSTACK | libc::SA_RESTART;
    // SAFETY: the handler has the signature that SA_SIGINFO asks for, and does nothing that may not
    // be done in one: see there.
    match unsafe { libc::sigaction(libc::SIGBUS, &raw const action, std::ptr::null_mut()) } {
        0 => Ok(()),
        _ => Err(io::Error::last_os_error()),
    }
}

/// From now on the region may be cut off.
pub(super) fn watch(region: &Arc<GuestRegionMmap>, page: usize) {
    let start = region.as_ptr().addr();
    let Ok(len) = usize::try_from(region.len()) else {
        return;
    };
    let mut watched = WATCHED.lock().unwrap_or_else(PoisonError::into_inner);
    watched.retain(|old| old.region.strong_count() > 0);
    watched.push(Watched {
        start,
        end: start + len,
        page,
        region: Arc::downgrade(region),
    });
}

/// Called in the thread that has touched the address, in the middle of whatever it does: only system
/// calls and atomics here, nothing that allocates.
extern "C" fn on_bus_error(
    signal: libc::c_int,
    info: *mut libc::siginfo_t,
    _context: *mut libc::c_void,
) {
    // SAFETY: the kernel hands over what it says of the signal, or nothing.
    let info = unsafe { info.as_ref() };
    if let Some(info) = info
        && info.si_code == libc::BUS_ADRERR
        // SAFETY: for this signal there is an address.
        && replace(unsafe { info.si_addr() }.addr())
    {
        return;
    }
    // SAFETY: back to the default; whatever touched the address does so again, and ends the process.
    unsafe { libc::signal(signal, libc::SIG_DFL) };
}

/// Puts zeros in the place of a region from the page of `address` on.
fn replace(address: usize) -> bool {
    let watched = lock();
    let found = watched.iter().find(|region| {
        (region.start..region.end).contains(&address) && region.region.strong_count() > 0
    });
    let Some(region) = found else {
        return false;
    };
    let from = (address - address % region.page).max(region.start);
    let flags = libc::MAP_PRIVATE | libc::MAP_ANONYMOUS | libc::MAP_FIXED | libc::MAP_NORESERVE;
    // SAFETY: part of a mapping that is of no use any more and that nobody takes for anything but
    // memory which somebody else changes all the time.
    let at = unsafe {
        libc::mmap(
            std::ptr::with_exposed_provenance_mut(from),
            region.end - from,
            libc::PROT_READ | libc::PROT_WRITE,
            flags,
            -1,
            0,
        )
    };
    at != libc::MAP_FAILED
}

/// The lock, without sleeping for it. Who holds it touches no guest memory, so it is never this
/// thread; and soon lets go.
fn lock() -> MutexGuard<'static, Vec<Watched>> {
    loop {
        match WATCHED.try_lock() {
            Ok(watched) => return watched,
            Err(TryLockError::Poisoned(watched)) => return watched.into_inner(),
            Err(TryLockError::WouldBlock) => std::hint::spin_loop(),
        }
    }
}
