// SPDX-License-Identifier: Apache-2.0 OR MIT
//! Names in a Nix store.

/// Length of the hash part of a store path's name.
const HASH_LEN: usize = 32;
/// Longest name that Nix allows (`StorePath::MaxPathLen` and the hash before it).
const MAX_LEN: usize = 211 + HASH_LEN + 1;

/// Nix's base 32 has no e, o, u, t.
const fn is_base32(byte: u8) -> bool {
    byte.is_ascii_digit()
        || (byte.is_ascii_lowercase() && !matches!(byte, b'e' | b'o' | b'u' | b't'))
}

const fn is_name_byte(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || matches!(byte, b'+' | b'-' | b'.' | b'_' | b'?' | b'=')
}

/// Whether this is the name of a store path, `<hash>-<name>` (Nix manual, "Store Path").
pub(in crate::store) fn is_store_path(name: &[u8]) -> bool {
    name.len() <= MAX_LEN
        && name.len() > HASH_LEN + 1
        && name[..HASH_LEN].iter().copied().all(is_base32)
        && name[HASH_LEN] == b'-'
        && name[HASH_LEN + 1..].iter().copied().all(is_name_byte)
        && !is_build_directory(name)
}

/// Names that only exist while Nix works on a path: the root of a build's sandbox, and what
/// `--repair-path` moved aside (`<path>.old-<pid>-<random>`).
fn is_build_directory(name: &[u8]) -> bool {
    name.ends_with(b".drv.chroot")
        || name.ends_with(b".chroot")
        || name.windows(5).any(|w| w == b".old-")
            && name
                .iter()
                .rev()
                .take_while(|b| b.is_ascii_digit() || **b == b'-')
                .count()
                >= 3
}

/// Whether this may be a lock, which stands beside the path it locks: `<hash>-<name>.lock`. A
/// store path can have such a name too (`...-Cargo.lock`), so a settled one is none.
pub(in crate::store) fn may_be_lock(name: &[u8]) -> bool {
    name.ends_with(b".lock")
}

/// Names that Nix itself keeps beside store paths.
pub(in crate::store) fn is_nix_internal(name: &[u8]) -> bool {
    name.starts_with(b".")
        || name.starts_with(b"tmp-")
        || name.starts_with(b"add-")
        || name.ends_with(b".lock")
        || name.ends_with(b".chroot")
        || name == b"trash"
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn store_paths_and_nothing_else() {
        let hash = "0c5b8vw40d1178xlpddw65q9gf1h2186";
        for good in [
            "hello-2.12.1",
            "x",
            "Cargo.lock",
            "a+b?c=d_e.f-g",
            "gtk+3.0",
            "x.old-school",
        ] {
            assert!(is_store_path(format!("{hash}-{good}").as_bytes()), "{good}");
        }
        assert!(is_store_path(
            format!("{hash}-{}", "x".repeat(211)).as_bytes()
        ));
        for bad in [
            "".to_owned(),
            ".links".to_owned(),
            hash.to_owned(),
            format!("{hash}-"),
            format!("{hash}_hello"),
            format!("{}-hello", &hash[1..]),
            format!("e{}-hello", &hash[1..]),
            format!("{hash}-hello world"),
            format!("{hash}-caf\u{e9}"),
            format!("{hash}-{}", "x".repeat(212)),
            format!(".tmp-link-{hash}"),
            "tmp-1234-5".to_owned(),
            format!("{hash}-hello.drv.chroot"),
            format!("{hash}-hello.old-1234-99812"),
        ] {
            assert!(!is_store_path(bad.as_bytes()), "{bad}");
        }
    }
}
