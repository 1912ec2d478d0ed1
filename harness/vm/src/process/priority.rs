//! The share of the host's CPUs that a process has beside others.

use std::io;

use rustix::io::Errno;
use rustix::process::{Pid, getpriority_process, setpriority_process};

use crate::process::usage::process;

/// Gives all threads of a process that nice value, unless they have a higher one. What they start later inherits it.
pub(crate) fn set_nice(pid: u32, nice: u8) -> io::Result<()> {
    let nice = i32::from(nice);
    // A thread that has the old one may start another between the list and its turn.
    while lower(&threads(pid)?, nice)? {}
    Ok(())
}

/// Whether any thread had a lower nice value.
fn lower(threads: &[Pid], nice: i32) -> io::Result<bool> {
    let mut any = false;
    for thread in threads {
        let set = getpriority_process(Some(*thread)).and_then(|now| {
            if now < nice {
                setpriority_process(Some(*thread), nice)?;
            }
            Ok(now < nice)
        });
        match set {
            Ok(lowered) => any |= lowered,
            // It has ended.
            Err(Errno::SRCH) => {}
            Err(error) => return Err(error.into()),
        }
    }
    Ok(any)
}

/// Those of a process that has been reaped are none.
fn threads(pid: u32) -> io::Result<Vec<Pid>> {
    let Some(process) = process(pid) else {
        return Ok(Vec::new());
    };
    let tasks = process.tasks().map_err(io::Error::other)?;
    let ids = tasks.filter_map(|task| Pid::from_raw(task.ok()?.tid));
    Ok(ids.collect())
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc::channel;

    use super::*;

    #[test]
    fn threads_get_a_higher_nice_value_and_keep_it() {
        let (tell, told) = channel();
        let (end, ended) = channel::<()>();
        let thread = std::thread::spawn(move || {
            tell.send(rustix::thread::gettid()).unwrap();
            ended.recv().unwrap_err();
        });
        let thread_id = told.recv().unwrap();
        let before = getpriority_process(Some(thread_id)).unwrap();
        let wanted = before.max(0) + 1;
        assert!(lower(&[thread_id], wanted).unwrap());
        assert_eq!(getpriority_process(Some(thread_id)).unwrap(), wanted);
        assert!(!lower(&[thread_id], wanted - 1).unwrap());
        assert_eq!(getpriority_process(Some(thread_id)).unwrap(), wanted);
        drop(end);
        thread.join().unwrap();
        assert!(
            threads(std::process::id())
                .unwrap()
                .contains(&rustix::thread::gettid())
        );
        assert!(threads(u32::MAX >> 1).unwrap().is_empty());
    }
}
