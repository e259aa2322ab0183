//! One run: start, watch, wait for the logs, end.

use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, Instant};

use rustix::process::Signal;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use super::logs::Logs;
use super::proc_files::{self, Process, Sockets};
use super::process::Started;
use super::{end_descendants, reap_orphans};
use crate::submission::plan::{Exceeded, Plan, RunEnd, RunRecord};

/// How often everything is looked at.
const TICK: Duration = Duration::from_millis(20);
/// Logs that have not changed for so long are final.
const SETTLE: Duration = Duration::from_millis(100);
/// How long a hanging program may take to say where it hangs.
const SAY_WHERE: Duration = Duration::from_secs(1);
/// Where it cannot be seen who listens, the tracker gets so long before the clients start.
const BLIND: Duration = Duration::from_secs(1);
/// A process that has been there for so long is no helper that comes and goes.
const STAYS: Duration = Duration::from_secs(1);
/// So many times as many processes as may stay may be there at once.
const AT_ONCE: usize = 8;
/// How long a client that is started by itself may take to listen, before the next is started.
const ONE_BY_ONE: Duration = Duration::from_secs(2);

/// Runs `plan` to its end. Nothing of it is left then.
pub(super) async fn run(
    plan: &Plan,
    stop: &CancellationToken,
    progress: &mut (dyn FnMut(usize) + Send),
) -> RunRecord {
    let now = Instant::now();
    let mut run = Run {
        plan,
        since: now,
        alive_at: now,
        ticks: 0,
        said: 0,
        observed: proc_files::available(),
        logs: Logs::new(plan),
        started: Vec::new(),
        readers: JoinSet::new(),
        extra: BTreeMap::new(),
    };
    let end = tokio::select! {
        () = stop.cancelled() => RunEnd::Stopped,
        end = run.play(progress) => end,
    };
    run.finish(end).await
}

struct Run<'a> {
    plan: &'a Plan,
    since: Instant,
    /// When there was a sign of life.
    alive_at: Instant,
    ticks: u64,
    said: u64,
    observed: bool,
    logs: Logs,
    started: Vec<Started>,
    readers: JoinSet<()>,
    /// Processes beside those that were started, and when they were first seen.
    extra: BTreeMap<i32, Instant>,
}

impl Run<'_> {
    async fn play(&mut self, progress: &mut (dyn FnMut(usize) + Send)) -> RunEnd {
        let plan = self.plan;
        self.start(&plan.tracker);
        match self.wait_for_listener(plan.limits.start).await {
            Ok(true) => {}
            Ok(false) => return RunEnd::NoTracker,
            Err(end) => return end,
        }
        for client in &plan.clients {
            self.start(client);
            if plan.one_by_one
                && let Err(end) = self.wait_for_listener(ONE_BY_ONE).await
            {
                return end;
            }
        }
        let mut complete = 0;
        let mut complete_since = None;
        loop {
            if let Some(end) = self.look() {
                return end;
            }
            if self.logs.complete() != complete {
                complete = self.logs.complete();
                progress(complete);
            }
            let all_exited = self.started.iter().all(|process| !process.is_running());
            if self.logs.all_complete() {
                let since = complete_since.get_or_insert_with(Instant::now);
                if all_exited || since.elapsed() >= plan.limits.grace.max(SETTLE) {
                    return RunEnd::Complete;
                }
            } else {
                complete_since = None;
                if all_exited {
                    return RunEnd::AllExited;
                }
            }
            tokio::time::sleep(TICK).await;
        }
    }

    fn start(&mut self, node: &crate::submission::plan::Node) {
        let started = Started::start(node, &self.plan.folder, &mut self.readers);
        self.started.push(started);
    }

    /// Waits until the process that was started last listens. False if it ends before, or not in
    /// time. `Err` if the run is over by now.
    async fn wait_for_listener(&mut self, patience: Duration) -> Result<bool, RunEnd> {
        let begun = Instant::now();
        loop {
            // Who only waits to listen does not hang yet.
            if let Some(end) = self.look().filter(|end| *end != RunEnd::Stalled) {
                return Err(end);
            }
            let Some(last) = self.started.last() else { return Ok(false) };
            if last.listened_on.is_some() {
                return Ok(true);
            }
            if !last.is_running() || begun.elapsed() > patience {
                return Ok(false);
            }
            if !self.observed && begun.elapsed() > BLIND {
                return Ok(true);
            }
            tokio::time::sleep(TICK).await;
        }
    }

    /// Looks at everything. The end, if this is one.
    fn look(&mut self) -> Option<RunEnd> {
        let limits = &self.plan.limits;
        // Before the logs: whoever is seen to have exited has written all that it will.
        self.started.iter_mut().for_each(|process| process.reap(self.since));
        let mut alive = self.logs.look();
        let me = rustix::process::getpid().as_raw_nonzero().get();
        let all = proc_files::descendants(me);
        let pids: Vec<i32> = self.started.iter().filter_map(Started::pid).collect();
        reap_orphans(&all, &pids);
        let ticks = all.iter().map(|process| process.ticks).sum();
        let said = self.started.iter().map(Started::said).sum();
        // Who waits for a processor or a disk cannot show a sign of life.
        let waits = all.iter().any(|process| matches!(process.state, 'R' | 'D'));
        alive |= waits || ticks != self.ticks || said != self.said;
        (self.ticks, self.said) = (ticks, said);
        if alive {
            self.alive_at = Instant::now();
        }
        self.observe_sockets(&all);
        for process in &mut self.started {
            if process.said() > limits.output {
                process.end_for(Exceeded::Output);
            } else if process.family(&all).iter().any(|member| member.memory > limits.memory) {
                process.end_for(Exceeded::Memory);
            }
        }
        // Who was waited for, by us in the end, counts as written by whoever waited.
        let written = all.iter().map(|process| process.pid).chain([me]).map(proc_files::written);
        if self.too_many(&all, &pids) {
            Some(RunEnd::TooManyProcesses)
        } else if written.sum::<u64>() > limits.written {
            Some(RunEnd::TooMuchWritten)
        } else if self.since.elapsed() > limits.time {
            Some(RunEnd::OutOfTime)
        } else if self.alive_at.elapsed() > limits.stall {
            Some(RunEnd::Stalled)
        } else {
            None
        }
    }

    /// Whether there are too many processes beside those that were `started`: so many that have
    /// stayed, or far more than that at once.
    fn too_many(&mut self, all: &[Process], started: &[i32]) -> bool {
        let now = Instant::now();
        let most = self.plan.limits.extra_processes;
        let extra: BTreeSet<i32> =
            all.iter().map(|process| process.pid).filter(|pid| !started.contains(pid)).collect();
        self.extra.retain(|pid, _| extra.contains(pid));
        for pid in &extra {
            self.extra.entry(*pid).or_insert(now);
        }
        let stayed = self.extra.values().filter(|since| now.duration_since(**since) >= STAYS).count();
        stayed > most || extra.len() > most.saturating_mul(AT_ONCE)
    }

    fn observe_sockets(&mut self, all: &[Process]) {
        if self.started.iter().all(|process| process.listened_on.is_some() || !process.is_running()) {
            return;
        }
        let sockets = Sockets::read();
        for process in self.started.iter_mut().filter(|p| p.listened_on.is_none() && p.is_running()) {
            let pids: Vec<i32> = process.family(all).iter().map(|member| member.pid).collect();
            process.observe(&sockets.of(&pids), self.plan.tracker_port);
        }
    }

    /// Has those `of` whom no complete log has come say where they are. They die of it.
    async fn ask_where(&mut self, of: impl Fn(&Started) -> bool) {
        let logs = &self.logs;
        let asked = |process: &Started| of(process) && !logs.is_complete(&process.node.log);
        self.started.iter_mut().filter(|process| asked(process)).for_each(Started::ask_where);
        let give_up = Instant::now() + SAY_WHERE;
        while Instant::now() < give_up {
            self.started.iter_mut().for_each(|process| process.reap(self.since));
            if !self.started.iter().any(|process| process.is_running() && asked(process)) {
                break;
            }
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    }

    /// Ends everything, and tells what happened.
    async fn finish(mut self, end: RunEnd) -> RunRecord {
        // Who belongs to whom is seen only as long as both are there.
        let pids: Vec<i32> = self.started.iter().filter_map(Started::pid).collect();
        let all = proc_files::descendants(rustix::process::getpid().as_raw_nonzero().get());
        let families = self.started.iter().flat_map(|process| process.family(&all));
        let of_running: Vec<i32> = families.map(|member| member.pid).collect();
        let known: Vec<i32> = pids.iter().chain(&of_running).copied().collect();
        // At once, so that nobody does something else because another has ended.
        self.started.iter_mut().for_each(|process| process.reap(self.since));
        self.started.iter_mut().for_each(|process| process.signal(Signal::STOP));
        if matches!(end, RunEnd::Stalled | RunEnd::OutOfTime | RunEnd::NoTracker) {
            // The tracker last: without it, clients could still write something.
            self.ask_where(|process| process.node.id.is_some()).await;
            self.ask_where(|process| process.node.id.is_none()).await;
        }
        self.started.iter_mut().for_each(|process| process.signal(Signal::KILL));
        let left_behind = end_descendants(&known).await;
        let give_up = Instant::now() + super::END;
        while self.started.iter().any(Started::is_running) && Instant::now() < give_up {
            self.started.iter_mut().for_each(|process| process.reap(self.since));
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
        // All writers are gone, so all readers come to the end.
        let _ = tokio::time::timeout(super::END, async { while self.readers.join_next().await.is_some() {} })
            .await;
        let folder = self.plan.folder.as_path();
        let mut processes: Vec<_> = self.started.into_iter().map(|p| p.into_record(folder)).collect();
        for node in &self.plan.clients {
            if processes.iter().all(|record| record.id != node.id) {
                processes.push(Started::not_started(node));
            }
        }
        processes.sort_by_key(|record| record.id);
        RunRecord {
            end,
            seconds: self.since.elapsed().as_secs_f64(),
            processes,
            left_behind,
            observed: self.observed,
        }
    }
}
