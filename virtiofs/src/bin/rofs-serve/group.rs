// SPDX-License-Identifier: Apache-2.0 OR MIT
//! Group names.
#![allow(unsafe_code)]

use std::ffi::CString;

use crate::failure::{Failure, Outcome, fail};

#[derive(Debug)]
pub(crate) struct Group {
    pub(crate) name: String,
    pub(crate) gid: u32,
}

impl Group {
    /// Finds a group by name, or by number.
    pub(crate) fn find(name: &str) -> Outcome<Group> {
        let c_name = CString::new(name)
            .map_err(|_| Failure::new("--socket-group: a name cannot contain a NUL"))?;
        // SAFETY: `c_name` ends in NUL, and no other thread exists yet that could call getgrnam.
        let entry = unsafe { libc::getgrnam(c_name.as_ptr()) };
        let gid = if entry.is_null() {
            name.parse().ok()
        } else {
            // SAFETY: not null, so it points to a static that stays until the next call.
            Some(unsafe { (*entry).gr_gid })
        };
        match gid {
            Some(gid) => Ok(Group {
                name: name.to_owned(),
                gid,
            }),
            None => fail!("--socket-group {name}: there is no such group on this system"),
        }
    }
}
