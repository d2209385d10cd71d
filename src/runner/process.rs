//! Setters: what belongs to the process. setrlimit(2), umask(2), sched(7), the parent-death
//! signal.

use core::ffi::c_int;

use super::{Rlimit, Runner, Scheduler};
use crate::error::{Error, Result};
use crate::mem;

/// RLIMIT_RTTIME, the last one.
const RLIMIT_LAST: c_int = 15;
/// SIGRTMAX, the last one.
const SIGNAL_LAST: c_int = 64;
/// More CPUs than any kernel has (NR_CPUS is at most 8192), in bytes.
pub const CPU_MASK_MAX: usize = 64 << 10;

/// A signal's number.
pub fn check_signal(name: &str, signal: c_int) -> Result<()> {
    if !(1..=SIGNAL_LAST).contains(&signal) {
        return Err(Error::invalid(format_args!("{name}: there is no signal {signal}")));
    }
    Ok(())
}

impl Runner {
    /// Adds a resource limit; each resource once.
    pub fn add_rlimit(&mut self, resource: c_int, soft: u64, hard: u64) -> Result<()> {
        let number = match u32::try_from(resource) {
            Ok(number) if resource <= RLIMIT_LAST => number,
            _ => {
                return Err(Error::invalid(format_args!(
                    "rlimit: there is no resource {resource}"
                )));
            }
        };
        if soft > hard {
            return Err(Error::invalid(format_args!("rlimit: soft {soft} is above hard {hard}")));
        }
        if self.rlimits.iter().any(|limit| limit.resource == number) {
            return Err(Error::invalid(format_args!("rlimit: resource {resource} is set twice")));
        }
        Ok(mem::push(&mut self.rlimits, Rlimit { resource: number, soft, hard })?)
    }

    /// umask.
    pub fn set_umask(&mut self, mask: u32) -> Result<()> {
        if mask & !0o777 != 0 {
            return Err(Error::invalid(format_args!("umask: {mask:#o} has more than 0777")));
        }
        self.umask = Some(mask);
        Ok(())
    }

    /// The CPUs, as the bytes of a cpu_set_t of any size.
    pub fn set_cpu_affinity(&mut self, mask: &[u8]) -> Result<()> {
        if mask.len() > CPU_MASK_MAX {
            return Err(Error::invalid(format_args!(
                "cpu_affinity: longer than {CPU_MASK_MAX} bytes"
            )));
        }
        if mask.iter().all(|&byte| byte == 0) {
            return Err(Error::invalid(format_args!("cpu_affinity: no CPU is in the mask")));
        }
        self.affinity = Some(mem::copy(mask)?);
        Ok(())
    }

    /// Nice value.
    pub fn set_nice(&mut self, nice: c_int) -> Result<()> {
        if !(-20..=19).contains(&nice) {
            return Err(Error::invalid(format_args!("nice: {nice} is not between -20 and 19")));
        }
        self.nice = Some(nice);
        Ok(())
    }

    /// Scheduling policy. SCHED_DEADLINE takes more than a priority and is not offered.
    pub fn set_scheduler(&mut self, policy: c_int, priority: c_int) -> Result<()> {
        let priorities = match policy {
            libc::SCHED_OTHER | libc::SCHED_BATCH | libc::SCHED_IDLE => 0..=0,
            libc::SCHED_FIFO | libc::SCHED_RR => 1..=99,
            _ => {
                return Err(Error::invalid(format_args!(
                    "scheduler: policy {policy} is not known"
                )));
            }
        };
        if !priorities.contains(&priority) {
            return Err(Error::invalid(format_args!(
                "scheduler: priority {priority} is not between {} and {} for policy {policy}",
                priorities.start(),
                priorities.end()
            )));
        }
        self.scheduler = Some(Scheduler { policy, priority });
        Ok(())
    }

    /// How gladly the kernel kills the program when memory is short.
    pub fn set_oom_score_adj(&mut self, adj: c_int) -> Result<()> {
        if !(-1000..=1000).contains(&adj) {
            return Err(Error::invalid(format_args!(
                "oom_score_adj: {adj} is not between -1000 and 1000"
            )));
        }
        self.oom_score_adj = Some(adj);
        Ok(())
    }

    /// The signal the program gets when its parent dies; 0: none.
    pub fn set_pdeathsig(&mut self, signal: c_int) -> Result<()> {
        if signal != 0 {
            check_signal("pdeathsig", signal)?;
        }
        self.pdeathsig = (signal != 0).then_some(signal);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::super::valid::tests::refused;
    use super::*;

    #[test]
    fn rlimits() {
        let mut runner = Runner::default();
        runner.add_rlimit(0, 1, 1).unwrap();
        runner.add_rlimit(15, 0, u64::MAX).unwrap();
        for (resource, soft, hard) in
            [(-1, 0, 0), (16, 0, 0), (c_int::MAX, 0, 0), (1, 2, 1), (1, u64::MAX, 1), (0, 2, 2)]
        {
            refused(runner.add_rlimit(resource, soft, hard), libc::EINVAL, "rlimit");
        }
        assert_eq!(runner.rlimits.len(), 2);
    }

    #[test]
    fn scheduling() {
        let mut runner = Runner::default();
        for (policy, priority) in [(0, 0), (3, 0), (5, 0), (1, 1), (1, 99), (2, 50)] {
            runner.set_scheduler(policy, priority).unwrap();
        }
        for (policy, priority) in
            [(0, 1), (3, -1), (5, 1), (1, 0), (2, 100), (4, 0), (6, 0), (-1, 0)]
        {
            refused(runner.set_scheduler(policy, priority), libc::EINVAL, "scheduler");
        }
        runner.set_nice(-20).unwrap();
        runner.set_nice(19).unwrap();
        refused(runner.set_nice(20), libc::EINVAL, "nice");
        refused(runner.set_nice(c_int::MIN), libc::EINVAL, "nice");
        assert_eq!(runner.nice, Some(19));
        runner.set_cpu_affinity(&[0, 1]).unwrap();
        for mask in [&[][..], &[0; 128], &[1; CPU_MASK_MAX + 1]] {
            refused(runner.set_cpu_affinity(mask), libc::EINVAL, "cpu_affinity");
        }
        assert_eq!(runner.affinity.as_deref(), Some(&[0, 1][..]));
    }

    #[test]
    fn the_rest() {
        let mut runner = Runner::default();
        runner.set_umask(0o777).unwrap();
        refused(runner.set_umask(0o1000), libc::EINVAL, "umask");
        assert_eq!(runner.umask, Some(0o777));
        runner.set_oom_score_adj(-1000).unwrap();
        refused(runner.set_oom_score_adj(1001), libc::EINVAL, "oom_score_adj");
        refused(runner.set_oom_score_adj(-1001), libc::EINVAL, "oom_score_adj");
        runner.set_pdeathsig(64).unwrap();
        refused(runner.set_pdeathsig(65), libc::EINVAL, "pdeathsig");
        refused(runner.set_pdeathsig(-1), libc::EINVAL, "pdeathsig");
        assert_eq!(runner.pdeathsig, Some(64));
        runner.set_pdeathsig(0).unwrap();
        assert_eq!(runner.pdeathsig, None);
    }
}
