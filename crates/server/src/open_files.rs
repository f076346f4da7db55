//! How many files this process may have open: every connection is one.

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

/// Number of files for everything but connections: data files, listeners, pipes and plain HTTP
/// requests.
pub(crate) const RESERVED: u64 = 32;

/// Raises the limit of open files for `wanted` connections. Returns how many connections fit.
///
/// Beyond that, connecting would not be refused but hang: nothing can be accepted without a file.
pub(crate) fn connections(wanted: usize) -> usize {
    let limit = getrlimit(Resource::Nofile);
    let needed = wanted as u64 + RESERVED;
    let files = match limit.current {
        Some(files) if files < needed => {
            let raised = limit.maximum.map_or(needed, |most| most.min(needed));
            match setrlimit(
                Resource::Nofile,
                Rlimit { current: Some(raised), maximum: limit.maximum },
            ) {
                Ok(()) => raised,
                Err(_) => files,
            }
        }
        Some(_) | None => needed,
    };
    let fitting =
        usize::try_from(files.saturating_sub(RESERVED)).unwrap_or(wanted).clamp(1, wanted.max(1));
    if fitting < wanted {
        tracing::info!(
            "at most {fitting} connections can be open at once, not {wanted}: this process may \
             have {files} files open; raise `ulimit -n`"
        );
    }
    fitting
}
